use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, key: &str) -> bool {
    Glob::parse(pattern).unwrap().matches(key)
}

#[test]
fn patterns_mean_what_the_module_says() {
    for (pattern, yes, no) in [
        ("*.tar", &["a.tar", "x/y/a.tar", ".tar"][..], &["a.tar.gz", "a.tar/b"][..]),
        ("train/*.jpg", &["train/1.jpg"], &["train/a/1.jpg", "x/train/1.jpg", "1.jpg"]),
        ("**/val/*", &["val/1", "a/b/val/1"], &["val", "xval/1", "val/1/2"]),
        ("train/**", &["train/1", "train/a/b"], &["train", "trains/1"]),
        ("train/", &["train/1", "train/a/b"], &["train", "x/train/1"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
        ("/top", &["top"], &["a/top"]),
        ("[a-c]?[!x]", &["a1y", "c-b"], &["d1y", "a1x", "a/y"]),
        ("[]]", &["]"], &["["]),
        ("100%", &["100%"], &["100"]),
        ("README", &["README", "a/README"], &["readme"]),
    ] {
        yes.iter().for_each(|key| assert!(matches(pattern, key), "{pattern} should match {key}"));
        no.iter().for_each(|key| assert!(!matches(pattern, key), "{pattern} should not match {key}"));
    }
}

#[test]
fn broken_patterns_are_refused_by_name() {
    for pattern in ["", "[abc", "[", "[!", "x[a-", &"x".repeat(1025)] {
        let TierError::Invalid { reason } = Glob::parse(pattern).unwrap_err() else { panic!("{pattern}") };
        assert!(reason.contains(&format!("'{pattern}'")), "{reason}");
    }
}

#[test]
fn a_hostile_pattern_is_not_slow() {
    assert!(!matches(&"*a".repeat(400), &"a".repeat(255).replace("aa", "ab")));
}

/// The obvious exponential matcher.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|i| naive(rest, &text[i..])),
        [b'*', rest @ ..] => {
            (0..=text.len()).take_while(|i| !text[..*i].contains(&b'/')).any(|i| naive(rest, &text[i..]))
        }
        [b'?', rest @ ..] => text.first().is_some_and(|c| *c != b'/') && naive(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_the_obvious_matcher(pattern in "[ab?*]{0,4}x?/[ab*]{1,4}", text in "[abx/]{0,8}") {
        // `**/` also matches no directory at all, which the obvious matcher does not know, and a leading slash anchors.
        prop_assume!(!pattern.contains("**/") && !pattern.starts_with('/'));
        prop_assert_eq!(matches(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn no_text_makes_it_panic(pattern in "\\PC{0,20}", text in "\\PC{0,20}") {
        if let Ok(glob) = Glob::parse(&pattern) {
            let _ = glob.matches(&text);
        }
    }
}
