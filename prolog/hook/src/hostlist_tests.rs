use super::*;
use proptest::prelude::*;

fn names(list: &str) -> Vec<String> {
    expand(list).unwrap()
}

#[test]
fn expands_what_slurm_writes() {
    assert_eq!(names("n[1-3,07-09],x5"), ["n1", "n2", "n3", "n07", "n08", "n09", "x5"]);
    assert_eq!(names("n1"), ["n1"]);
    assert_eq!(names("n[8-11]"), ["n8", "n9", "n10", "n11"]);
    assert_eq!(names("n[099-101]"), ["n099", "n100", "n101"]);
    assert_eq!(names("r[0-1]n[2-3]-ib"), ["r0n2-ib", "r0n3-ib", "r1n2-ib", "r1n3-ib"]);
    assert!(names("").is_empty());
}

#[test]
fn refuses_with_the_column() {
    for (list, column) in [
        ("n[1-3", 2),
        ("n1]", 3),
        ("n[1,[2]]", 5),
        ("n1,,n2", 4),
        ("a,n[3-1]", 5),
        ("n[a-b]", 3),
        ("n[]", 3),
        ("n[1-999999999]", 3),
        ("n[1-9999][1-9999]", 10),
        ("n[1-99999999999999999999]", 3),
    ] {
        assert_eq!(expand(list).unwrap_err().column, column, "{list}");
    }
}

#[test]
fn compresses_neighbours() {
    assert_eq!(compress(&["n1", "n2", "n3", "n07", "n08", "x5"]), "n[1-3,07-08],x5");
    assert_eq!(compress(&["n1"]), "n1");
    assert_eq!(compress(&["n09", "n10"]), "n[09-10]");
    assert_eq!(compress(&["login", "login"]), "login,login");
    assert_eq!(compress(&["n1", "n1"]), "n[1,1]");
    assert_eq!(compress::<&str>(&[]), "");
}

proptest! {
    #[test]
    fn what_is_compressed_expands_to_the_same(list in prop::collection::vec("[a-c]{1,2}-?[0-9]{0,3}", 0..40)) {
        prop_assert_eq!(expand(&compress(&list)).unwrap(), list);
    }

    #[test]
    fn counting_ranges_come_back(prefix in "[a-z]{1,4}", first in 0u64..2000, count in 1u64..300, width in 0usize..5) {
        let list: Vec<String> = (first..first + count).map(|i| format!("{prefix}{i:0width$}")).collect();
        let short = compress(&list);
        prop_assert!(short.len() <= prefix.len() + 16, "{}", short);
        prop_assert_eq!(expand(&short).unwrap(), list);
    }

    #[test]
    fn any_text_is_expanded_or_refused(list in "[n0-9,\\[\\]é-]{0,30}") {
        if let Ok(names) = expand(&list) {
            prop_assert!(names.len() <= MAX_NAMES);
        }
    }
}
