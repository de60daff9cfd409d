use super::*;

#[test]
fn only_what_a_user_can_mend_is_a_users_fault() {
    let url = || "s3://org/x".to_owned();
    let missing = problem_of(&TierError::Missing { url: url() }.into(), Doing::In);
    assert_eq!((missing.code.as_str(), missing.class), ("E-IN-404", FaultClass::User));
    assert!(missing.text.contains("s3://org/x"));
    let exists = problem_of(&TierError::Exists { url: url() }.into(), Doing::Out);
    assert_eq!((exists.code.as_str(), exists.class), ("E-OUT-EXISTS", FaultClass::User));
    let down = problem_of(&TierError::Unavailable { url: url(), reason: "503".into() }.into(), Doing::In);
    assert_eq!(down.class, FaultClass::Infra);
    let full = problem_of(&FsError::Namespace { path: "/job/1".into(), errno: Errno::NoSpace }, Doing::In);
    assert_eq!((full.code.as_str(), full.class), ("E-INFRA-SPACE", FaultClass::Infra));
}

#[test]
fn names_that_nodes_and_movers_share() {
    assert_eq!(node_mark(2, "n1", false), "nodes/2/n1.attached");
    assert_eq!(node_mark(0, "n1", true), "nodes/0/n1.detached");
    assert_eq!(hold_attribute(7), "trusted.forebay.hold.7");
}
