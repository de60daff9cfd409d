use std::os::unix::fs::{PermissionsExt, symlink};

use forebay_wire::cluster::TierCredentials;
use futures::stream::{self, StreamExt};

use crate::{PutMode, Tier};

use super::*;

fn tier() -> (tempfile::TempDir, Tier) {
    let dir = tempfile::tempdir().unwrap();
    let tier = Tier::open(&format!("file://{}", dir.path().display()), "", "", &TierCredentials::default()).unwrap();
    (dir, tier)
}

async fn put(tier: &Tier, key: &str, data: &str, mode: PutMode) -> Result<ObjectMeta, TierError> {
    let chunks: Vec<_> = data.as_bytes().chunks(3).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    tier.put(key, stream::iter(chunks), None, mode, None).await
}

async fn list(tier: &Tier, prefix: &str, user: Option<&TierUser>) -> Vec<Result<String, TierError>> {
    let mut keys: Vec<_> = tier.list(prefix, user).map(|found| found.map(|meta| meta.key)).collect().await;
    keys.sort_by_key(|key| format!("{key:?}"));
    keys
}

fn ok(keys: &[&str]) -> Vec<Result<String, TierError>> {
    keys.iter().map(|key| Ok((*key).to_owned())).collect()
}

/// A user who owns nothing in these tests and is in no group of theirs.
fn stranger() -> TierUser {
    TierUser { uid: 54_321, gid: 54_321, groups: vec![54_322] }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_is_put_can_be_looked_at_read_listed_and_deleted() {
    let (dir, tier) = tier();
    let meta = put(&tier, "a b/ü%20/c", "hello world", PutMode::Create).await.unwrap();
    assert_eq!((meta.key.as_str(), meta.size_bytes), ("a b/ü%20/c", 11));
    assert_eq!(std::fs::read(dir.path().join("a b/ü%20/c")).unwrap(), b"hello world");
    assert_eq!(tier.head(&meta.key).await.unwrap(), meta);
    let read = |offset, len| tier.get_range(&meta.key, &meta.etag, ByteRange::new(offset, len));
    assert_eq!(read(6, 5).await.unwrap(), "world");
    assert_eq!(read(11, 0).await.unwrap(), "");
    assert!(matches!(read(6, 6).await, Err(TierError::Invalid { .. })));
    put(&tier, "empty", "", PutMode::Create).await.unwrap();
    assert_eq!(list(&tier, "", None).await, ok(&["a b/ü%20/c", "empty"]));
    assert_eq!(list(&tier, "a b", None).await, ok(&["a b/ü%20/c"]));
    tier.delete(vec![meta.key.clone(), "never/was".into()]).await.unwrap();
    assert!(matches!(tier.head(&meta.key).await, Err(TierError::Missing { url }) if url.ends_with("a b/ü%20/c")));
    assert_eq!(list(&tier, "", None).await, ok(&["empty"]));
    assert!(matches!(&list(&tier, "nowhere", None).await[..], [Err(TierError::Missing { .. })]));
}

#[tokio::test]
async fn create_does_not_replace_and_overwrite_does() {
    let (dir, tier) = tier();
    let first = put(&tier, "d/k", "one", PutMode::Create).await.unwrap();
    assert!(matches!(put(&tier, "d/k", "two", PutMode::Create).await, Err(TierError::Exists { .. })));
    assert_eq!(tier.get_range("d/k", &first.etag, ByteRange::new(0, 3)).await.unwrap(), "one");
    let second = put(&tier, "d/k", "two", PutMode::Overwrite).await.unwrap();
    assert_ne!(first.etag, second.etag);
    let error = tier.get_range("d/k", &first.etag, ByteRange::new(0, 3)).await.unwrap_err();
    assert!(
        matches!(error, TierError::Changed { expected, found, .. } if (&expected, &found) == (&first.etag, &second.etag))
    );
    assert_eq!(std::fs::read_dir(dir.path().join("d")).unwrap().count(), 1, "nothing hidden is left");
}

#[tokio::test]
async fn a_write_that_fails_halfway_leaves_nothing() {
    let (dir, tier) = tier();
    let broken = TierError::Invalid { reason: "the source broke".into() };
    let data = stream::iter([Ok(Bytes::from_static(b"half")), Err(broken.clone())]);
    assert_eq!(tier.put("k", data, None, PutMode::Overwrite, None).await, Err(broken));
    // The same for one that nobody waits for any more.
    let never = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
    let put = tier.put("k", never, None, PutMode::Overwrite, None);
    assert!(tokio::time::timeout(Duration::from_millis(50), put).await.is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn links_odd_files_and_parts_are_not_there() {
    let (dir, tier) = tier();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("file")).unwrap();
    std::fs::write(dir.path().join(format!("{TEMP_PREFIX}1")), "x").unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(list(&tier, "", None).await, []);
    for key in ["out/secret", "file", "fifo", ".forebay-part.1", "../x", "a//b", "a/", "/a", "./a"] {
        assert!(tier.head(key).await.is_err(), "{key}");
    }
    for key in ["out/new", "../new", "a/../../new", ".forebay-part.2", ""] {
        assert!(put(&tier, key, "x", PutMode::Overwrite).await.is_err(), "{key}");
    }
    // Put in the place of a link, not through it.
    put(&tier, "file", "mine", PutMode::Overwrite).await.unwrap();
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"x");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_name_that_is_not_text_is_an_error_in_its_place() {
    use std::os::unix::ffi::OsStrExt;
    let (dir, tier) = tier();
    std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "x").unwrap();
    std::fs::write(dir.path().join("fine"), "x").unwrap();
    let found = list(&tier, "", None).await;
    assert!(matches!(&found[..], [Err(TierError::BadName { .. }), Ok(key)] if key == "fine"), "{found:?}");
}

#[tokio::test]
async fn many_objects_are_listed_as_they_are_read() {
    let (dir, tier) = tier();
    for i in 0..3000 {
        std::fs::write(dir.path().join(i.to_string()), "").unwrap();
    }
    assert_eq!(tier.list("", None).take(10).count().await, 10);
    assert_eq!(tier.list("", None).count().await, 3000);
}

#[tokio::test]
async fn users_read_what_modes_let_them() {
    let (dir, tier) = tier();
    let user = stranger();
    for key in ["open/a", "open/secret", "closed/b", "blind/c"] {
        put(&tier, key, "x", PutMode::Create).await.unwrap();
    }
    chmod(dir.path(), 0o755);
    for (path, mode) in
        [("open", 0o755), ("open/a", 0o644), ("open/secret", 0o600), ("closed", 0o700), ("blind", 0o711)]
    {
        chmod(&dir.path().join(path), mode);
    }
    let may = |prefix, write| tier.check_access(&user, prefix, write);
    for prefix in ["", "open", "open/a", "blind/c"] {
        assert_eq!(may(prefix, false).await, Ok(()), "{prefix}");
    }
    for prefix in ["open/secret", "closed", "closed/b", "blind"] {
        assert!(matches!(may(prefix, false).await, Err(TierError::Forbidden { .. })), "{prefix}");
    }
    assert!(matches!(may("open/nothing", false).await, Err(TierError::Missing { .. })));
    let found = list(&tier, "open", Some(&user)).await;
    assert!(matches!(&found[..], [Err(TierError::Forbidden { reason, .. }), Ok(_)] if reason.contains("mode 0600")));
    let member = TierUser { groups: vec![std::fs::metadata(dir.path()).unwrap().gid()], ..stranger() };
    chmod(&dir.path().join("closed"), 0o750);
    assert_eq!(tier.check_access(&member, "closed", false).await, Ok(()));
    chmod(&dir.path().join("closed"), 0o705);
    assert!(tier.check_access(&member, "closed", false).await.is_err(), "the group's bits count, not the others'");
}

#[tokio::test]
async fn users_write_where_modes_let_them() {
    let (dir, tier) = tier();
    let user = stranger();
    chmod(dir.path(), 0o755);
    for (name, mode) in [("mine", 0o777), ("shared", 0o1777), ("theirs", 0o755)] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        chmod(&dir.path().join(name), mode);
    }
    std::fs::write(dir.path().join("shared/kept"), "x").unwrap();
    assert_eq!(tier.check_access(&user, "mine/new/dirs", true).await, Ok(()));
    for prefix in ["theirs", "theirs/new", "", "new"] {
        assert!(matches!(tier.check_access(&user, prefix, true).await, Err(TierError::Forbidden { .. })), "{prefix}");
    }
    for key in ["theirs/new/k", "new", "shared/kept"] {
        let data = stream::iter([Ok(Bytes::from_static(b"x"))]);
        let refused = tier.put(key, data, None, PutMode::Overwrite, Some(&user)).await;
        assert!(matches!(refused, Err(TierError::Forbidden { .. })), "{key}: {refused:?}");
    }
}

#[tokio::test]
async fn what_is_written_for_a_user_is_the_users() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root can give files away.
    }
    let (dir, tier) = tier();
    let user = stranger();
    chmod(dir.path(), 0o777);
    let data = stream::iter([Ok(Bytes::from_static(b"x"))]);
    tier.put("new/dir/k", data, None, PutMode::Create, Some(&user)).await.unwrap();
    for path in ["new", "new/dir", "new/dir/k"] {
        let meta = std::fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (user.uid, user.gid), "{path}");
    }
}

#[test]
fn urls_that_are_no_tiers_are_refused() {
    for url in ["file://relative", "http://x", "s3://", "/dir", "s3://b/../c"] {
        let error = Tier::open(url, "", "", &TierCredentials::default()).unwrap_err();
        assert!(matches!(error, TierError::Invalid { .. }), "{url}");
    }
    let tier = Tier::open("file:///data/cold/", "", "", &TierCredentials::default()).unwrap();
    assert_eq!((tier.url("a/b"), tier.url("")), ("file:///data/cold/a/b".into(), "file:///data/cold".into()));
    let credentials = TierCredentials { access_key: "key".into(), secret_key: "hush".into() };
    let tier = Tier::open("s3://bucket/pre/fix", "http://127.0.0.1:1", "", &credentials).unwrap();
    assert_eq!(tier.url("a"), "s3://bucket/pre/fix/a");
    assert!(!format!("{tier:?}").contains("hush"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_of_a_user_below_one_new_directory_do_not_stand_in_each_others_way() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (dir, tier) = tier();
    chmod(dir.path(), 0o1777);
    for round in 0..20 {
        let keys: Vec<String> = (0..16).map(|n| format!("{round}/new/{n}")).collect();
        let user = stranger();
        let put = |key: &String| {
            let data = stream::iter([Ok(Bytes::from_static(b"x"))]);
            let (tier, key, user) = (tier.clone(), key.clone(), user.clone());
            tokio::spawn(async move { tier.put(&key, data, None, PutMode::Create, Some(&user)).await })
        };
        let puts: Vec<_> = keys.iter().map(put).collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
    }
    assert_eq!(list(&tier, "", None).await.len(), 20 * 16);
}
