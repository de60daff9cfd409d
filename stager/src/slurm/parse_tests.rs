use super::*;

#[test]
fn jobs_of_22_05_are_read() {
    let jobs = parse_jobs(include_bytes!("../../samples/squeue-22.05.json")).unwrap();
    let held = jobs.iter().find(|job| job.job == 1).unwrap();
    assert!(held.held && held.batch);
    assert_eq!(held.admin_comment, "forebay: hello there 100% \"x\"");
    assert_eq!((held.state, held.uid, held.user.as_str(), held.array_job), (SlurmState::Pending, 2001, "alice", None));
    let failed = jobs.iter().find(|job| job.job == 2).unwrap();
    assert_eq!((failed.state, failed.nodes.as_str(), failed.held), (SlurmState::Failed, "n1", false));
    let group = jobs.iter().find(|job| job.job == 3).unwrap();
    assert_eq!((group.array_job, group.array_task, group.array_pending.as_str()), (Some(3), None, "0-3%2"));
    let task = jobs.iter().find(|job| job.job == 6).unwrap();
    assert_eq!((task.array_job, task.array_task, task.array_pending.as_str()), (Some(3), Some(0), ""));
    assert_eq!(jobs.iter().find(|job| job.job == 5).unwrap().state, SlurmState::Cancelled);
}

#[test]
fn jobs_of_later_releases_are_read() {
    let jobs = parse_jobs(include_bytes!("../../samples/squeue-v0.0.43.json")).unwrap();
    assert!(jobs[0].held && jobs[0].batch && jobs[0].array_job.is_none() && jobs[0].het_leader.is_none());
    assert_eq!((jobs[1].array_job, jobs[1].array_task, jobs[1].restart), (Some(90), Some(7), 2));
    assert_eq!(jobs[1].state, SlurmState::Completing, "the flag says more than the base state");
    assert_eq!((jobs[2].het_leader, jobs[2].state), (Some(103), SlurmState::Configuring));
}

#[test]
fn an_entry_that_is_not_understood_spoils_the_list() {
    let text = br#"{"jobs":[{"job_id":1,"submit_time":1,"user_id":1,"group_id":1,"job_state":"NEW_WORD"}]}"#;
    assert_eq!(parse_jobs(text), Err(ParseError::Unread { unread: 1, all: 1 }));
}

#[test]
fn what_is_no_job_list_is_refused() {
    assert!(matches!(parse_jobs(b"slurm_load_jobs error"), Err(ParseError::Json { .. })));
    assert_eq!(parse_jobs(b"{}"), Err(ParseError::NoJobs));
    assert!(matches!(parse_jobs(br#"{"jobs":[],"errors":[{"error":"x"}]}"#), Err(ParseError::Reported { .. })));
}
