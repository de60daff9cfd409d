use super::*;

#[test]
fn another_version_is_told_apart_before_anything_else() {
    let reply = *read_call(br#"{"version":99,"request":{"something_new":{}}}"#).unwrap_err();
    let StagerReply::Refused(refusal) = reply else { panic!("not refused") };
    assert_eq!((refusal.exit_code, refusal.code.as_str()), (9, "E-CALL-VERSION"));
    assert!(refusal.text.contains("99"));
}

#[test]
fn what_is_not_a_call_is_refused() {
    for line in [&b"hello\n"[..], br#"{"version":1}"#, br#"{"version":1,"request":{"nonsense":{}}}"#] {
        assert!(matches!(*read_call(line).unwrap_err(), StagerReply::Refused(Refusal { exit_code: 2, .. })));
    }
}
