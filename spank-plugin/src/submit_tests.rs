use super::*;
use crate::task::tests::Fake;

fn chosen(spec: &str) -> Chosen {
    Chosen { spec: Some(spec.to_owned()), strict: false }
}

#[test]
fn good_directives_pass_and_old_variables_are_forgotten() {
    let mut host = Fake::new(Context::Allocator);
    assert_eq!(check(&mut host, &chosen("in s3://org/set/ as=set; scratch capacity=2GiB")), Ok(()));
    assert!(host.errors.is_empty());
    assert_eq!(host.forgotten, [OUR_ENV]);
    // A step keeps the variables of the job it runs in.
    let mut host = Fake::new(Context::Local);
    assert_eq!(check(&mut host, &Chosen::default()), Ok(()));
    assert!(host.forgotten.is_empty());
}

#[test]
fn wrong_directives_are_refused_with_the_column() {
    for (spec, column) in
        [("inn s3://org/set/ as=set", "column 1"), ("", "column 1"), ("in s3://org/set/ az=set", "column ")]
    {
        for context in [Context::Allocator, Context::Local] {
            let mut host = Fake::new(context);
            assert_eq!(check(&mut host, &chosen(spec)), Err(Refused), "{spec:?}");
            assert!(host.errors[0].contains("--forebay") && host.errors[0].contains(column), "{:?}", host.errors);
        }
    }
}
