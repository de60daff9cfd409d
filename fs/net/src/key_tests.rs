use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn saved_key_loads_and_is_its_owners() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.key");
    let key = ClusterKey::generate().unwrap();
    key.save(&path).unwrap();
    assert_eq!(ClusterKey::load(&path).unwrap(), key);
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len()), (0o600, 65));
    assert!(matches!(key.save(&path), Err(KeyError::Exists { .. })));
}

#[test]
fn open_or_damaged_files_are_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.key");
    assert!(matches!(ClusterKey::load(&path), Err(KeyError::Io { .. })));
    ClusterKey::generate().unwrap().save(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = ClusterKey::load(&path).unwrap_err();
    assert!(matches!(error, KeyError::Mode { mode: 0o644, .. }));
    assert!(error.to_string().contains("chmod 600"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "abc\n", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &format!("{}\n\n", "0".repeat(64))] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(ClusterKey::load(&path), Err(KeyError::Format { .. })), "{text:?}");
    }
}

#[test]
fn purposes_have_keys_of_their_own_and_nothing_is_printed() {
    let key = ClusterKey::from_bytes([0xab; 32]);
    assert_ne!(key.derive("one purpose"), key.derive("another purpose"));
    assert_eq!(format!("{key:?}"), "ClusterKey(hidden)");
}
