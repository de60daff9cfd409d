use forebay_wire::stager::JobPhase;

use super::world::{SCRIPT, Then, World};
use super::*;

fn ready_world(script: &str) -> World {
    let mut world = World::new();
    world.submit(7, script);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Ready);
    world
}

#[test]
fn a_job_goes_all_the_way_and_its_results_arrive() {
    let mut world = ready_world(SCRIPT);
    assert_eq!(world.released, [7]);
    let document = world.attach[&7].clone();
    assert!(document.ready);
    assert_eq!(document.env["FOREBAY_IN_DATA"], "/mnt/forebay/job/7/in/data");
    assert_eq!(document.env["FOREBAY_WORK"], "/mnt/forebay/job/7/work");
    assert_eq!(world.holds.len(), 1);
    world.start(7);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Running);
    world.end(7, SlurmState::Completed);
    world.settle();
    assert_eq!(world.exported, [(7, "work/res".to_owned())]);
    assert_eq!(world.phase(7), JobPhase::Closed);
    assert!(world.views.is_empty() && world.holds.is_empty());
    assert!(world.comment(7).starts_with("forebay:v1 in=1000B"), "{}", world.comment(7));
    let report = world.core.report(world.core.find(7).unwrap(), world.now);
    assert_eq!(report.nodes, ["n1", "n2"]);
    assert!(report.text.contains("COMMITTED"), "{}", report.text);
}

#[test]
fn a_missing_source_waits_for_the_user_and_a_retry_goes_on() {
    let mut world = World::new();
    world.sources.clear();
    world.submit(7, SCRIPT);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::WaitUser);
    let comment = world.comment(7);
    assert!(comment.contains("E-IN-404") && comment.contains("forebay job retry 7"), "{comment}");
    assert!(world.released.is_empty());
    world.sources.insert("s3://b/data/".into());
    let key = world.core.find(7).unwrap().key.clone();
    world.input(Input::Retry(key));
    world.settle();
    assert_eq!((world.phase(7), world.released.as_slice()), (JobPhase::Ready, &[7][..]));
}

#[test]
fn a_store_that_is_down_is_waited_for_and_never_reported_to_slurm() {
    let mut world = World::new();
    world.store_down = true;
    world.submit(7, SCRIPT);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::WaitInfra);
    assert!(world.comment(7).starts_with("forebay: waiting since"), "{}", world.comment(7));
    world.store_down = false;
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Ready);
}

#[test]
fn a_store_that_stays_down_is_given_up_to_the_user() {
    let mut world = World::new();
    world.store_down = true;
    world.submit(7, SCRIPT);
    world.settle();
    world.now += world.policy.give_up_ms;
    world.settle();
    assert_eq!(world.phase(7), JobPhase::WaitUser);
    assert!(world.comment(7).contains("E-STAGE-GIVEUP"), "{}", world.comment(7));
}

#[test]
fn a_pending_job_that_is_cancelled_leaves_nothing() {
    let mut world = ready_world(SCRIPT);
    world.end(7, SlurmState::Cancelled);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Closed);
    assert!(world.views.is_empty() && world.holds.is_empty() && world.exported.is_empty());
}

#[test]
fn a_failed_job_keeps_its_scratch_and_exports_no_success_output() {
    let mut world = ready_world(SCRIPT);
    world.start(7);
    world.end(7, SlurmState::Failed);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Done);
    assert!(world.exported.is_empty() && world.views.contains(&7) && world.holds.is_empty());
    world.now += 24 * 3_600_000;
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Closed);
}

#[test]
fn a_requeued_job_finds_its_scratch_and_its_inputs_are_not_staged_again() {
    let mut world = ready_world(SCRIPT);
    world.start(7);
    world.settle();
    world.requeue(7);
    world.settle();
    let document = world.attach[&7].clone();
    assert_eq!((document.restart, document.ready), (1, true));
    assert_eq!(document.env["FOREBAY_RESUMED"], "1");
    assert!(world.exported.is_empty());
    assert_eq!(world.core.records().count(), 1, "a requeue is the same job though Slurm changes its submit time");
    world.start(7);
    world.end(7, SlurmState::Completed);
    world.settle();
    assert_eq!(world.exported.len(), 1);
}

#[test]
fn outputs_for_requeue_are_out_before_the_next_attempt_starts() {
    let script = format!("{SCRIPT}#FOREBAY out work:ckpt/ s3://b/ckpt/%j/ when=requeue\n");
    let mut world = ready_world(&script);
    world.start(7);
    world.settle();
    world.store_down = true;
    world.requeue(7);
    world.settle();
    assert!(!world.attach[&7].ready, "the next attempt may not attach while the checkpoint is copied");
    assert!(world.jobs[&7].held);
    world.store_down = false;
    world.now += 3_600_000 / 2;
    world.settle();
    assert_eq!(world.exported, [(7, "work/ckpt".to_owned())]);
    assert!(world.attach[&7].ready && !world.jobs[&7].held);
}

#[test]
fn a_job_released_too_early_by_its_user_ends_without_outputs_of_success() {
    let mut world = World::new();
    world.store_down = true;
    world.submit(7, SCRIPT);
    world.settle();
    world.start(7);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::WaitInfra);
    world.end(7, SlurmState::Failed);
    world.store_down = false;
    world.settle();
    assert!(matches!(world.phase(7), JobPhase::Done | JobPhase::Closed));
    assert!(world.exported.is_empty() && world.holds.is_empty());
}

#[test]
fn a_running_job_slurm_forgets_is_never_taken_for_a_success() {
    let script = format!("{SCRIPT}#FOREBAY out work:log/ s3://b/log/%j/ when=always\n");
    let mut world = ready_world(&script);
    world.start(7);
    world.settle();
    world.jobs.clear();
    world.detach(7);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Running, "not before the time is over");
    world.now += world.policy.unknown_after_ms;
    world.settle();
    assert_eq!(world.exported, [(7, "work/log".to_owned())]);
    assert!(world.views.contains(&7), "its scratch is kept");
}

#[test]
fn an_output_that_cannot_be_delivered_is_parked_and_a_retry_delivers_it() {
    let mut world = ready_world(SCRIPT);
    world.start(7);
    world.store_down = true;
    world.end(7, SlurmState::Completed);
    world.settle();
    world.now += world.policy.park_after_ms;
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Parked);
    assert!(world.comment(7).contains("OUT=PARKED") && world.views.contains(&7), "{}", world.comment(7));
    world.store_down = false;
    let key = world.core.find(7).unwrap().key.clone();
    world.input(Input::Retry(key));
    world.settle();
    assert_eq!((world.phase(7), world.exported.len()), (JobPhase::Closed, 1));
}

#[test]
fn steps_are_tried_as_often_as_the_site_says() {
    let mut world = World::with(Policy { tries: 3, out_tries: 2, ..super::world::policy() });
    world.store_down = true;
    world.submit(7, SCRIPT);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::WaitUser);
    let comment = world.comment(7);
    assert!(comment.contains("E-STAGE-GIVEUP") && comment.contains("tried 3 times"), "{comment}");
    world.store_down = false;
    let key = world.core.find(7).unwrap().key.clone();
    world.input(Input::Retry(key));
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Ready);
    world.start(7);
    world.store_down = true;
    world.end(7, SlurmState::Completed);
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Parked);
}

#[test]
fn outputs_are_tried_again_after_pauses_of_their_own() {
    let mut world = World::with(Policy { out_backoff_ms: (200_000, 200_000), ..super::world::policy() });
    world.submit(7, SCRIPT);
    world.settle();
    world.start(7);
    world.store_down = true;
    world.end(7, SlurmState::Completed);
    // 500 s.
    world.settle();
    let record = world.core.find(7).unwrap();
    let tries: Vec<u32> = record.retries.iter().map(|retry| retry.tries).collect();
    assert_eq!((world.phase(7), tries.as_slice()), (JobPhase::Outgoing, [3].as_slice()), "{:?}", record.retries);
}

#[test]
fn an_output_that_is_not_there_is_a_warning() {
    let mut world = ready_world(SCRIPT);
    world.start(7);
    world.nothing_written = true;
    world.end(7, SlurmState::Completed);
    world.settle();
    let status = world.core.status(world.core.find(7).unwrap(), world.now);
    assert_eq!(status.outputs[0].problem.as_ref().unwrap().code, "E-OUT-NOPATH");
}

#[test]
fn a_lazy_job_is_ready_without_a_recall() {
    let mut world = World::new();
    world.submit(7, &format!("{SCRIPT}#FOREBAY opt gate=lazy\n"));
    world.settle();
    assert_eq!(world.phase(7), JobPhase::Ready);
    assert_eq!(world.attach[&7].env["FOREBAY_IN_DATA_READY"], "0");
}

#[test]
fn a_syntax_error_waits_for_the_user() {
    let mut world = World::new();
    world.submit(7, "#!/bin/sh\n#FOREBAY inn s3://b/x\n");
    world.settle();
    assert_eq!(world.phase(7), JobPhase::WaitUser);
    assert!(world.core.may_retry(world.core.find(7).unwrap()).is_err());
}

#[test]
fn a_job_without_directives_is_left_alone() {
    let mut world = World::new();
    world.submit(7, "#!/bin/sh\ntrue\n");
    world.settle();
    assert!(world.core.find(7).is_none() && world.journal.is_empty() && world.comments.is_empty());
}

#[test]
fn what_its_user_held_is_not_released() {
    let mut world = World::new();
    world.submit(7, SCRIPT);
    world.jobs.get_mut(&7).unwrap().admin_comment = forebay_directive::mark::COMMENT_USER_HOLD.into();
    world.settle();
    assert_eq!((world.phase(7), world.released.len()), (JobPhase::Ready, 0));
}

#[test]
fn transfers_take_turns_between_users() {
    let mut world = World::new();
    for job in [2, 4, 6, 8, 1] {
        world.submit(job, SCRIPT);
    }
    world.list();
    let mut order = vec![];
    for _ in 0..500 {
        let recall = |(_, action): &(EffectId, Action)| matches!(action, Action::Run { work: Work::Recall { .. }, .. });
        let Some(at) = world.pending.iter().position(|effect| !recall(effect)) else { break };
        world.perform(at, Then::Answered);
    }
    order.extend(world.pending.iter().map(|(id, _)| id.key.job));
    assert_eq!(order.len(), 2, "at most max_transfers: {order:?}");
    assert!(order.contains(&1), "the other user's only job goes before the second of one user: {order:?}");
    world.settle();
    assert_eq!(world.released.len(), 5);
}

#[test]
fn a_user_stops_staging_and_goes_on_later() {
    let mut world = World::new();
    world.store_down = true;
    world.submit(7, SCRIPT);
    world.settle();
    let key = world.core.find(7).unwrap().key.clone();
    world.input(Input::Cancel(key.clone()));
    world.store_down = false;
    world.settle();
    assert_eq!((world.phase(7), world.holds.len()), (JobPhase::WaitUser, 0));
    world.input(Input::Retry(key));
    world.settle();
    assert_eq!((world.phase(7), world.holds.len()), (JobPhase::Ready, 1));
}

#[test]
fn comments_keep_what_others_wrote_and_stay_short() {
    assert_eq!(merge_comment("forebay: a | site note", "forebay: b"), "forebay: b | site note");
    assert_eq!(merge_comment("", "forebay: b"), "forebay: b");
    assert_eq!(short_size(1_319_413_953_331), "1.1T");
    assert_eq!(short_size(512 << 30), "512G");
}

#[test]
fn names_are_the_same_after_a_restart_and_differ_between_attempts() {
    let key = JobKey { cluster: "lab".into(), job: 7, submit_s: 1 };
    let id = |attempt, round| task_id(&key, attempt, TaskKind::Recall, 0, round);
    assert_eq!(id(0, 0), id(0, 0));
    assert!(id(0, 0) != id(1, 0) && id(0, 0) != id(0, 1));
    let set = |uid, pin| dataset_id(uid, "s3://b/x/", &[], &[], pin);
    assert!(set(1, "p") != set(2, "p") && set(1, "p") != set(1, "q"));
}
