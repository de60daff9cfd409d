use super::*;

#[test]
fn nearest_is_the_word_that_was_meant() {
    let keys = ["capacity", "name", "keep"];
    for (typed, meant) in [("capcity", "capacity"), ("nmae", "name"), ("KEEP", "keep"), ("keeep", "keep")] {
        assert_eq!(nearest(typed, keys), Some(meant), "{typed}");
    }
    assert_eq!(nearest("zzzzzz", keys), None);
    assert_eq!(nearest("", keys), None);
}

#[test]
fn edits_are_counted() {
    let distance = |a: &str, b: &str| edit_distance(&a.chars().collect::<Vec<_>>(), b);
    for (a, b, want) in [("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
        assert_eq!(distance(a, b), want, "{a} {b}");
    }
}

#[test]
fn every_word_is_there_once() {
    for (i, verb) in VERBS.iter().enumerate() {
        assert!(VERBS[..i].iter().all(|other| other.name != verb.name));
        for (j, key) in verb.keys.iter().enumerate() {
            assert!(verb.keys[..j].iter().all(|other| other.name != key.name), "{} {}", verb.name, key.name);
        }
    }
}

#[test]
fn every_example_is_right() {
    for verb in VERBS.iter().filter(|verb| verb.supported) {
        let text = format!("scratch name=work; {}", verb.example.replace("scratch ", "scratch name=other "));
        assert!(crate::Directives::from_option(&text).is_ok(), "{text}");
    }
}
