use forebay_wire::tier::TierError;

use super::*;

fn says(state: TaskState, done_bytes: u64) -> Progress {
    Progress { version: 1, state, files: 9, done_files: 0, bytes: 90, done_bytes, moved_bytes: done_bytes }
}

fn retrying() -> TaskState {
    TaskState::Retrying(TierError::Unavailable { url: "s3://b/k".into(), reason: "refused".into() })
}

#[test]
fn a_store_that_stays_away_ends_the_wait() {
    let (start, mut task) = (Instant::now(), Standstill::default());
    assert!(!task.is_reached(start, &says(retrying(), 10)));
    assert!(!task.is_reached(start + STANDSTILL_MAX - Duration::from_millis(1), &says(retrying(), 10)));
    assert!(task.is_reached(start + STANDSTILL_MAX, &says(retrying(), 10)));
}

#[test]
fn a_task_that_gets_something_done_goes_on() {
    let (start, mut task) = (Instant::now(), Standstill::default());
    assert!(!task.is_reached(start, &says(retrying(), 10)));
    assert!(!task.is_reached(start + STANDSTILL_MAX, &says(retrying(), 11)));
    assert!(!task.is_reached(start + STANDSTILL_MAX * 2, &says(TaskState::Running, 11)));
    assert!(!task.is_reached(start + STANDSTILL_MAX * 3, &says(retrying(), 11)));
    assert!(task.is_reached(start + STANDSTILL_MAX * 4, &says(retrying(), 11)));
}
