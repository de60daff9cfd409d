//! Any order of effects, lost and doubled answers, restarts: the invariants of the contract hold, and once the world
//! is calm every job comes to its end.

use forebay_wire::stager::JobPhase;
use proptest::prelude::*;

use super::world::{SCRIPT, Then, World};
use super::*;

#[derive(Clone, Debug)]
enum Event {
    List,
    Perform { pick: usize, then: Then },
    Restart,
    Pass(Millis),
    Start(u32),
    End(u32, SlurmState),
    Requeue(u32),
    Store(bool),
    Retry(u32),
    Cancel(u32),
}

const JOBS: [u32; 3] = [1, 2, 3];

fn job() -> impl Strategy<Value = u32> {
    prop::sample::select(JOBS.to_vec())
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![6 => Just(Then::Answered), 1 => Just(Then::AnsweredTwice), 1 => Just(Then::Again), 1 => Just(Then::Lost)]
}

fn event() -> impl Strategy<Value = Event> {
    let ends = vec![SlurmState::Completed, SlurmState::Failed, SlurmState::Timeout, SlurmState::Cancelled];
    prop_oneof![
        8 => (any::<usize>(), then()).prop_map(|(pick, then)| Event::Perform { pick, then }),
        4 => Just(Event::List),
        1 => Just(Event::Restart),
        2 => (1u64..120_000).prop_map(Event::Pass),
        2 => job().prop_map(Event::Start),
        1 => (job(), prop::sample::select(ends)).prop_map(|(job, state)| Event::End(job, state)),
        1 => job().prop_map(Event::Requeue),
        1 => any::<bool>().prop_map(Event::Store),
        1 => job().prop_map(Event::Retry),
        1 => job().prop_map(Event::Cancel),
    ]
}

fn apply(world: &mut World, event: Event) {
    match event {
        Event::List => world.list(),
        Event::Perform { pick, then } if !world.pending.is_empty() => {
            world.perform(pick % world.pending.len(), then);
        }
        Event::Restart => world.restart(),
        Event::Pass(ms) => {
            world.now += ms;
            world.input(Input::Tick);
        }
        Event::Start(job) => {
            let entry = &world.jobs[&job];
            if entry.state == SlurmState::Pending && !entry.held {
                world.start(job);
            }
        }
        Event::End(job, state) if world.jobs[&job].state.ending().is_none() => {
            let ran = world.jobs[&job].state == SlurmState::Running;
            world.end(job, if ran { state } else { SlurmState::Cancelled });
        }
        Event::Requeue(job) if world.jobs[&job].state == SlurmState::Running => world.requeue(job),
        Event::Store(down) => world.store_down = down,
        Event::Retry(job) | Event::Cancel(job) => {
            let key = world.core.find(job).map(|record| record.key.clone());
            if let Some(key) = key {
                let retry = matches!(event, Event::Retry(_));
                world.input(if retry { Input::Retry(key) } else { Input::Cancel(key) });
            }
        }
        _ => {}
    }
}

fn begin() -> World {
    let mut world = World::new();
    for job in JOBS {
        let more = if job == 2 { "#FOREBAY out work:ckpt/ s3://b/ckpt/%j/ when=requeue\n" } else { "" };
        world.submit(job, &format!("{SCRIPT}{more}"));
    }
    world
}

/// The store works, users retry, jobs start and end: everything must come to its end.
fn calm_down(world: &mut World) {
    world.store_down = false;
    for round in 0..4 {
        world.settle();
        for job in JOBS {
            if let Some(key) = world.core.find(job).map(|record| record.key.clone()) {
                world.input(Input::Retry(key));
            }
        }
        world.settle();
        for job in JOBS {
            let entry = &world.jobs[&job];
            match entry.state {
                SlurmState::Pending if !entry.held => world.start(job),
                SlurmState::Running if round > 1 => world.end(job, SlurmState::Completed),
                _ => {}
            }
        }
    }
    world.settle();
    world.now += 31 * 24 * 3_600_000;
    world.settle();
}

/// A failure becomes a test of its own, named after what went wrong, so seeds are not kept.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(64), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    // What each effect may do when is asserted by the model as it is performed.
    #[test]
    fn i1_i3_i9_any_order_of_effects_loses_nothing_and_comes_to_an_end(
        events in prop::collection::vec(event(), 1..120)
    ) {
        let mut world = begin();
        world.list();
        for event in events {
            apply(&mut world, event);
        }
        calm_down(&mut world);
        for job in JOBS {
            let entry = &world.jobs[&job];
            prop_assert!(entry.state.ending().is_some(), "job {} never ran: {:?} {:?}", job, entry, world.core.find(job));
            let closed = world.core.find(job).is_none_or(|record| record.phase() == JobPhase::Closed);
            prop_assert!(closed, "job {}: {:?}", job, world.core.find(job));
        }
        prop_assert!(world.views.is_empty() && world.holds.is_empty(), "{:?} {:?}", world.views, world.holds);
    }

    #[test]
    fn i9_the_journal_gives_the_same_state_at_any_point(events in prop::collection::vec(event(), 1..60)) {
        let mut world = begin();
        world.list();
        for event in events {
            apply(&mut world, event);
            let live: Vec<Record> = world.core.records().cloned().collect();
            let kept: Vec<Record> = world.journal.values().cloned().collect();
            prop_assert_eq!(live, kept);
        }
    }

    #[test]
    fn i3_a_job_list_seen_again_changes_nothing(events in prop::collection::vec(event(), 1..60)) {
        let mut world = begin();
        world.list();
        for event in events {
            apply(&mut world, event);
        }
        world.list();
        let before: Vec<Record> = world.core.records().cloned().collect();
        let pending = world.pending.len();
        world.list();
        world.list();
        prop_assert_eq!(before, world.core.records().cloned().collect::<Vec<_>>());
        prop_assert_eq!(pending, world.pending.len());
    }
}

/// A job, everything of which has happened but this effect and what came with it.
fn up_to(slot: Slot) -> World {
    let mut world = World::new();
    world.submit(7, SCRIPT);
    world.list();
    while !asks(&world, slot) {
        world.perform(0, Then::Answered);
    }
    world
}

fn asks(world: &World, slot: Slot) -> bool {
    world.pending.iter().any(|(id, _)| id.slot == slot)
}

fn perform(world: &mut World, slot: Slot, then: Then) {
    let at = world.pending.iter().position(|(id, _)| id.slot == slot).expect("it is asked for");
    world.perform(at, then);
}

#[test]
fn the_hold_of_a_cancelled_job_is_not_dropped_while_setting_it_is_under_way_and_may_happen_again() {
    let mut world = up_to(Slot::Dataset(0));
    perform(&mut world, Slot::Dataset(0), Then::Again);
    world.end(7, SlurmState::Cancelled);
    assert_eq!((world.phase(7), world.holds.len()), (JobPhase::Cancelling, 1));
    assert!(!asks(&world, Slot::DropHold(0)), "a hold that is set after its drop would stay for ever");
    perform(&mut world, Slot::Dataset(0), Then::Answered);
    perform(&mut world, Slot::DropHold(0), Then::Answered);
    assert!(world.holds.is_empty());
    world.settle();
    assert_eq!((world.phase(7), world.holds.len()), (JobPhase::Closed, 0));
}

#[test]
fn a_hold_whose_answer_died_with_the_daemon_is_dropped_when_the_job_is_cancelled() {
    let mut world = up_to(Slot::Dataset(0));
    perform(&mut world, Slot::Dataset(0), Then::Lost);
    world.end(7, SlurmState::Cancelled);
    world.settle();
    assert_eq!((world.phase(7), world.holds.len()), (JobPhase::Closed, 0));
}

#[test]
fn the_view_of_a_job_cancelled_while_its_release_is_under_way_stays_until_the_release_is_over() {
    let mut world = up_to(Slot::Release);
    world.end(7, SlurmState::Cancelled);
    while let Some(at) = world.pending.iter().position(|(id, _)| id.slot != Slot::Release) {
        world.perform(at, Then::Answered);
    }
    assert!(world.views.contains(&7) && world.holds.is_empty());
    perform(&mut world, Slot::Release, Then::Answered);
    world.settle();
    assert_eq!((world.phase(7), world.views.len()), (JobPhase::Closed, 0));
}

#[test]
fn a_job_requeued_while_its_release_is_under_way_is_staged_again_only_after_it() {
    let mut world = up_to(Slot::Release);
    world.end(7, SlurmState::Cancelled);
    world.requeue(7);
    while let Some(at) = world.pending.iter().position(|(id, _)| id.slot != Slot::Release) {
        world.perform(at, Then::Answered);
    }
    let round = |world: &World| world.core.find(7).unwrap().round;
    assert_eq!(round(&world), 0, "the release that is under way would set free what is held to be staged");
    assert!(!asks(&world, Slot::Hold) && !asks(&world, Slot::Probe(0)));
    perform(&mut world, Slot::Release, Then::Answered);
    world.list();
    assert_eq!(round(&world), 1);
    assert!(asks(&world, Slot::Hold), "what the release has set free is held again");
    world.settle();
    assert_eq!((world.phase(7), world.released.len()), (JobPhase::Ready, 2));
}
