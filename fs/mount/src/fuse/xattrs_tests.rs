use super::*;

#[test]
fn sizes_are_probed_and_checked() {
    let value = Bytes::from_static(b"value");
    assert_eq!(fit(value.clone(), 0), Ok(Sized::Size(5)));
    assert_eq!(fit(value.clone(), 4), Err(Errno::Range));
    assert_eq!(fit(value.clone(), 5), Ok(Sized::Data(value)));
    assert_eq!(fit(Bytes::new(), 0), Ok(Sized::Size(0)));
}

#[test]
fn namespaces() {
    for name in ["user.a", "trusted.a", "security.selinux"] {
        assert!(is_stored(name.as_bytes()), "{name}");
    }
    for name in ["user.", "system.posix_acl_access", "security.capability", "other.a", ""] {
        assert!(!is_stored(name.as_bytes()), "{name}");
    }
}
