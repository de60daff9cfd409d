use forebay_wire::tier::TierError;
use proptest::prelude::*;

use super::*;

fn error(text: &str) -> TierError {
    TierError::Unavailable { url: "s3://b".into(), reason: text.into() }
}

#[test]
fn retrying_lasts_until_the_last_of_several_is_over() {
    let mut account = Account::new(0);
    account.begin_retry(error("a"));
    account.begin_retry(error("b"));
    account.end_retry();
    assert_eq!(account.progress().state, TaskState::Retrying(error("b")));
    account.end_retry();
    assert_eq!(account.progress().state, TaskState::Running);
}

#[test]
fn the_first_file_that_failed_is_what_a_finished_task_reports() {
    let mut account = Account::new(0);
    account.file_failed(error("first"));
    account.file_failed(error("second"));
    account.end(Outcome::Finished);
    assert_eq!(account.progress().state, TaskState::Failed(error("first")));
    let mut account = Account::new(0);
    account.end(Outcome::Finished);
    assert_eq!(account.progress().state, TaskState::Done);
    account.end(Outcome::Cancelled);
    assert_eq!(account.progress().state, TaskState::Done, "an ended task stays as it is");
}

#[test]
fn versions_go_on_where_the_last_run_stopped() {
    let mut account = Account::new(41);
    assert_eq!(account.progress().version, 42);
    account.found(5);
    assert_eq!(account.progress().version, 43);
}

proptest! {
    #[test]
    fn every_change_is_news_and_an_ended_task_has_none(steps in prop::collection::vec(0u8..9, 1..60)) {
        let mut account = Account::new(0);
        for step in steps {
            let before = account.clone();
            match step {
                0 => account.found(10),
                1 if before.progress().done_files < before.progress().files => account.file_done(),
                2 if before.progress().done_bytes + 3 <= before.progress().bytes => account.file_at(0, 3),
                3 => account.moved(1),
                4 => account.begin_retry(error("x")),
                5 => account.end_retry(),
                6 => account.start_over(),
                7 => account.file_failed(error("y")),
                8 => account.end(Outcome::Cancelled),
                _ => {}
            }
            if before.has_ended() {
                prop_assert_eq!(&account, &before);
            } else if account != before {
                prop_assert!(account.progress().version > before.progress().version);
            }
        }
    }
}
