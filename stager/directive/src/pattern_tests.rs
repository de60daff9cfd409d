use proptest::prelude::*;

use super::*;

#[test]
fn stars_stop_at_slashes() {
    for (pattern, path, want) in [
        ("*.jpg", "a.jpg", true),
        ("*.jpg", "x/y/a.jpg", true),
        ("*.jpg", "a.jpeg", false),
        ("x/*.jpg", "x/a.jpg", true),
        ("x/*.jpg", "x/y/a.jpg", false),
        ("x/**.jpg", "x/y/a.jpg", true),
        ("**/val/*", "a/b/val/1", true),
        ("train/**", "train/a/b", true),
        ("train/**", "val/a/b", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("", "", true),
        ("", "a", false),
        ("é*", "éa", true),
    ] {
        assert_eq!(matches(pattern, path), want, "{pattern} {path}");
    }
}

proptest! {
    #[test]
    fn any_pattern_is_answered(pattern in "[a*?/é]{0,20}", path in "[a/é]{0,40}") {
        let _ = matches(&pattern, &path);
    }

    #[test]
    fn everything_matches_two_stars(path in ".{0,40}") {
        let slash = format!("**{}", if path.contains('/') { "/**" } else { "" });
        prop_assert!(matches(&slash, &path));
    }
}
