use super::*;
use crate::task::tests::Fake;

fn call(hook: Hook, host: &mut Fake) -> i32 {
    dispatch(hook, host, &["job_dir=/nonexistent/job".to_owned()])
}

#[test]
fn a_panic_fails_only_where_that_harms_nobody_else() {
    for (hook, context, answer) in [
        (Hook::Init, Context::Allocator, FAILED),
        (Hook::Init, Context::Remote, OK),
        (Hook::TaskInitPrivileged, Context::Remote, FAILED),
    ] {
        let mut host = Fake { panics: true, ..Fake::new(context) };
        assert_eq!(call(hook, &mut host), answer);
        assert_eq!(host.errors.len(), 1);
    }
}

#[test]
fn options_that_slurm_refuses_never_drain() {
    for (context, answer) in [(Context::Allocator, FAILED), (Context::Local, FAILED), (Context::Remote, OK)] {
        let mut host = Fake { registers: Err(3001), ..Fake::new(context) };
        assert_eq!(call(Hook::Init, &mut host), answer);
        assert!(host.errors[0].contains("3001"));
    }
}

#[test]
fn other_programs_are_left_alone() {
    for hook in [Hook::Init, Hook::InitPostOpt, Hook::TaskInitPrivileged] {
        let mut host = Fake { registers: Err(3001), panics: false, ..Fake::new(Context::Other) };
        assert_eq!(call(hook, &mut host), OK);
        assert!(host.errors.is_empty());
    }
}

#[test]
fn an_argument_that_is_not_understood_is_said() {
    let mut host = Fake::new(Context::Allocator);
    assert_eq!(dispatch(Hook::Init, &mut host, &["jobdir=/x".to_owned(), "job_dir=x".to_owned()]), OK);
    assert_eq!(host.errors.len(), 2);
}
