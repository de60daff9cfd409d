use super::takes_privilege_off;

#[test]
fn only_privilege_may_go_and_nothing_may_come() {
    assert!(takes_privilege_off(0o4755, 0o755));
    assert!(takes_privilege_off(0o6775, 0o775));
    assert!(takes_privilege_off(0o6775, 0o2775));
    assert!(!takes_privilege_off(0o755, 0o755));
    assert!(!takes_privilege_off(0o755, 0o4755));
    assert!(!takes_privilege_off(0o4755, 0o2755));
    assert!(!takes_privilege_off(0o4755, 0o777));
}
