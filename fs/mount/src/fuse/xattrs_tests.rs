use super::*;

#[test]
fn namespaces() {
    for name in ["user.a", "trusted.a", "security.selinux"] {
        assert!(is_stored(name.as_bytes()), "{name}");
    }
    for name in ["user.", "system.posix_acl_access", "security.capability", "other.a", ""] {
        assert!(!is_stored(name.as_bytes()), "{name}");
    }
}
