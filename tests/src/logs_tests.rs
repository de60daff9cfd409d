use super::*;

#[test]
fn errors_warnings_and_panics_are_found_and_the_rest_is_not() {
    let text = "2026-11-20T13:00:00Z  INFO forebayd: an ERROR in prose\n\
                2026-11-20T13:00:01Z \u{1b}[31mERROR\u{1b}[0m forebayd: drive lost\n\
                2026-11-20T13:00:02Z  WARN forebayd: slow drive d1\n\
                {\"level\":\"WARN\",\"message\":\"x\"}\n\
                thread 'main' panicked at src/main.rs:1:1:\n";
    let lines: Vec<usize> = in_text(text, &[]).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    let lines: Vec<usize> = in_text(text, &["slow drive", "panicked"]).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [2, 4]);
}

#[test]
fn a_star_in_what_is_expected_stands_for_anything_between_and_nothing_else() {
    let line = "t  WARN c: request failed op=\"Read\" ino=ino-7 error=no success within 4000 ms";
    for text in ["op=\"Read\" * error=no success", "request failed", "WARN*4000 ms", "*"] {
        assert!(holds(line, text), "{text}");
    }
    for text in ["op=\"Read\" * error=no host", "error=*op=", "op=\"Write\" * error=no success", "4000 ms*4000 ms"] {
        assert!(!holds(line, text), "{text}");
    }
}

#[test]
fn complaints_of_our_daemons_are_found_unless_expected() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s1-forebayd.log"), "t  INFO x: fine\nt ERROR x: drive lost\n").unwrap();
    std::fs::write(dir.path().join("n1-slurmd.log"), "t ERROR x: not ours\n").unwrap();
    let expected = Expected::default();
    assert_eq!(expected.complaints(dir.path()).unwrap(), "s1-forebayd.log:2: t ERROR x: drive lost\n");
    expected.add(&["drive lost"]);
    assert_eq!(expected.complaints(dir.path()).unwrap(), "");
    let expected = Expected::default();
    expected.add_everything();
    assert_eq!(expected.complaints(dir.path()).unwrap(), "");
}

#[test]
fn colours_are_taken_off() {
    assert_eq!(plain("\u{1b}[2m12:00\u{1b}[0m \u{1b}[33mWARN\u{1b}[0m x"), "12:00 WARN x");
}
