use super::*;

fn status(pending: &[i32], shared: &[i32], blocked: &[i32], ignored: &[i32], caught: &[i32]) -> Urgency {
    let line = |key: &str, signals: &[i32]| format!("{key}:\t{:016x}\n", set(signals));
    let text = format!(
        "Name:\tcat\nState:\tS (sleeping)\n{}{}{}{}{}CapInh:\t0000000000000000\n",
        line("SigPnd", pending),
        line("ShdPnd", shared),
        line("SigBlk", blocked),
        line("SigIgn", ignored),
        line("SigCgt", caught)
    );
    Signals::parse(&text).urgency()
}

#[test]
fn deadly_signals_are_urgent() {
    use nix::libc::{SIGKILL, SIGPIPE, SIGSEGV, SIGTERM, SIGUSR1};
    for deadly in [SIGKILL, SIGTERM, SIGSEGV, SIGUSR1, SIGPIPE, 40] {
        assert_eq!(status(&[deadly], &[], &[], &[], &[]), Urgency::Now, "{deadly}");
        assert_eq!(status(&[], &[deadly], &[], &[], &[]), Urgency::Now, "{deadly}");
    }
}

#[test]
fn asking_to_end_is_urgent_even_where_it_is_handled() {
    for asks in ASKS_TO_END {
        assert_eq!(status(&[], &[asks], &[], &[], &[asks]), Urgency::Now, "{asks}");
    }
}

#[test]
fn what_is_handled_blocked_ignored_or_harmless_can_wait() {
    use nix::libc::{SIGALRM, SIGCHLD, SIGINT, SIGPROF, SIGURG, SIGUSR1};
    assert_eq!(status(&[], &[], &[], &[], &[]), Urgency::Later);
    assert_eq!(status(&[], &[SIGALRM], &[], &[], &[SIGALRM]), Urgency::Later);
    assert_eq!(status(&[SIGPROF, SIGURG], &[], &[], &[], &[SIGPROF]), Urgency::Later);
    assert_eq!(status(&[], &[SIGCHLD], &[], &[], &[]), Urgency::Later);
    assert_eq!(status(&[], &[SIGUSR1], &[SIGUSR1], &[], &[]), Urgency::Later);
    assert_eq!(status(&[], &[SIGINT], &[], &[SIGINT], &[]), Urgency::Later);
}

#[test]
fn this_process_lives_and_is_in_no_hurry() {
    assert!(!is_ending(std::process::id()));
    assert_eq!(urgency(std::process::id()), Urgency::Later);
    assert_eq!((urgency(u32::MAX), is_ending(u32::MAX)), (Urgency::Later, false));
}

#[test]
fn flags_stand_after_a_name_that_can_hold_anything() {
    assert_eq!(flags("12 (a) b (c) S 1 2 3 4 5 4194308 0 0"), Some(4_194_308));
    assert_eq!(flags("12 (a"), None);
    assert_eq!(flags(""), None);
}
