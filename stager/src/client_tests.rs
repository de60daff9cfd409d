use super::*;

#[test]
fn a_stager_that_is_away_is_exit_code_8_and_names_the_socket() {
    let error = StagerClient::new("/nowhere/stagerd.sock").status(None).unwrap_err();
    assert_eq!(error.exit_code(), 8);
    assert!(error.to_string().contains("/nowhere/stagerd.sock"), "{error}");
}

#[test]
fn problems_decide_the_exit_code_of_a_check() {
    let report = |code: &str, class| CheckReport {
        inputs: vec![],
        outputs: vec![],
        scratch_bytes: 0,
        problems: vec![Problem { code: code.into(), class, text: "t".into(), remedy: "r".into(), line: 3, column: 7 }],
    };
    let code = |code: &str, class| print(&StagerReply::Checked(report(code, class)), None).exit_code;
    assert_eq!(code("E-DIR-KEY", FaultClass::User), 2);
    assert_eq!(code("E-IN-404", FaultClass::User), 3);
    assert_eq!(code("E-OUT-QUOTA", FaultClass::User), 4);
    assert_eq!(code("E-INFRA-STORE", FaultClass::Infra), 8);
    let shown = print(&StagerReply::Checked(report("E-IN-404", FaultClass::User)), None).text;
    assert_eq!(shown, "line 3, column 7: t; r (E-IN-404)\n");
}
