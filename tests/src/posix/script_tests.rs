use super::*;

#[test]
fn a_line_is_who_what_and_what_is_wanted() {
    let steps = parse("# told\n\n  alice mkdir d/{ab*3}c 0755 -> EACCES\nroot stat d\n");
    assert_eq!(steps.len(), 2);
    assert_eq!((steps[0].who.as_str(), steps[0].words.join(" ")), ("alice", "mkdir d/abababc 0755".to_owned()));
    assert_eq!((steps[0].wanted.len(), steps[0].wanted[0].as_str(), steps[1].wanted.len()), (1, "EACCES", 0));
}

#[test]
fn words_carry_any_bytes() {
    for sample in [&b""[..], b"a b\n\\\xff", b"plain", b"\x00\\x41"] {
        assert_eq!(bytes(&word(sample)), sample);
    }
    assert_eq!(bytes("a\\xzz"), b"a\\xzz");
}
