use forebay_types::{FsId, InodeId};
use proptest::prelude::*;

use super::*;

#[test]
fn keys_that_cannot_be_paths_are_refused_with_their_url() {
    for bad in ["", "a//b", "/a", "a/", "./a", "a/../b", "..", "a\0", &"x".repeat(256)] {
        let error = components(bad, "s3://b/k").unwrap_err();
        assert!(matches!(error, TierError::BadName { ref url, .. } if url == "s3://b/k"), "{bad:?}: {error}");
    }
    assert_eq!(components("a/%2F/…", "").unwrap(), ["a", "%2F", "…"]);
    assert_eq!(components(&"x".repeat(255), "").unwrap().len(), 1);
}

#[test]
fn below_takes_the_prefix_as_a_directory() {
    assert_eq!(below("a/b", "a/b/c"), Some("c"));
    assert_eq!(below("a/b/", "a/b/c/d"), Some("c/d"));
    assert_eq!(below("", "c"), Some("c"));
    assert_eq!(below("a/b", "a/bc"), None);
    assert_eq!(below("a/b", "a/b"), None);
    let evicted = evicted_key(FsId(1), InodeId(2), 3, 4, 5);
    assert_eq!(evicted, ".forebay-evicted/1/2/3-4-0000000000000005");
    assert_eq!(below("", &evicted), None);
    assert_eq!(below("", ".forebay-evicted-by-me"), Some(".forebay-evicted-by-me"));
}

proptest! {
    #[test]
    fn a_key_comes_back_from_its_parts(parts in prop::collection::vec("[a-z%. ]{1,8}", 1..6), prefix in "[a-z]{0,4}/?") {
        let relative = parts.join("/");
        let key = join(&prefix, &relative);
        prop_assert_eq!(below(&prefix, &key), Some(relative.as_str()));
        if let Ok(found) = components(&relative, "") {
            prop_assert_eq!(&found, &parts);
            prop_assert!(!found.iter().any(|part| matches!(*part, "." | "..")));
        }
        prop_assert_eq!(split(&key).1, parts.last().unwrap().as_str());
    }
}
