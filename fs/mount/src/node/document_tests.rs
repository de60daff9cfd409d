use super::*;

const TEXT: &str = r#"{
    "restart": 1, "uid": 2001, "ready": true, "phase": "ready", "view": "/mnt/forebay/job/47",
    "env": {
        "FOREBAY_WORK": "/mnt/forebay/job/47/work", "FOREBAY_VIEW": "/mnt/forebay/job/47",
        "FOREBAY_JOB": "c1/47", "FOREBAY_ODD": "/mnt/forebay/job/471/x"
    },
    "added_later": [1]
}"#;

fn asked() -> Attach {
    Attach { job: 47, restart: 1, uid: 2001, gid: 2001, node: "n1".into(), nodes: vec!["n1".into()], budget_ms: 1000 }
}

#[test]
fn a_ready_document() {
    let document = Document::parse(TEXT.as_bytes()).unwrap();
    assert_eq!(document.judge(&asked()), Judgement::Ready);
    assert!(Document::parse(b"{\"restart\": 1").is_err());
}

#[test]
fn another_attempt_or_an_unready_one_waits() {
    let document = Document::parse(TEXT.as_bytes()).unwrap();
    assert!(matches!(document.judge(&Attach { restart: 2, ..asked() }), Judgement::Behind(_)));
    assert!(matches!(document.judge(&Attach { restart: 0, ..asked() }), Judgement::NotYet(_)));
    let unready = Document { ready: false, phase: "staging".into(), ..document };
    assert_eq!(unready.judge(&asked()), Judgement::NotYet("its data is not ready (phase staging)".into()));
}

#[test]
fn a_stranger_is_refused() {
    let document = Document::parse(TEXT.as_bytes()).unwrap();
    let Judgement::Refused(fault) = document.judge(&Attach { uid: 7, ..asked() }) else { panic!("not refused") };
    assert_eq!((fault.class, fault.code.as_str()), (FaultClass::User, "E-JOB-OWNER"));
}

#[test]
fn paths_of_the_view_are_moved_and_nothing_else() {
    let env = Document::parse(TEXT.as_bytes()).unwrap().env_at("/scratch/job/47");
    assert_eq!(env["FOREBAY_WORK"], "/scratch/job/47/work");
    assert_eq!(env["FOREBAY_VIEW"], "/scratch/job/47");
    assert_eq!(env["FOREBAY_JOB"], "c1/47");
    assert_eq!(env["FOREBAY_ODD"], "/mnt/forebay/job/471/x");
}
