use serde_json::json;

use super::*;

#[test]
fn a_job_is_found_alone_and_in_a_list() {
    let one = json!({ "job": 7, "phase": "READY" });
    assert_eq!(find_job(&one, 7), Some(&one));
    assert_eq!(find_job(&json!([{ "job": 6 }, one]), 7), Some(&one));
    assert_eq!(find_job(&json!({ "jobs": [one] }), 7), Some(&one));
    assert_eq!(find_job(&one, 8), None);
}

#[test]
fn scheduler_parameters_are_merged_and_other_lines_kept() {
    let text = merged("Prolog=/x\nSchedulerParameters=nohold_on_prolog_fail\n");
    assert!(text.starts_with("Prolog=/x\nSchedulerParameters=nohold_on_prolog_fail,bf_interval=2"), "{text}");
}
