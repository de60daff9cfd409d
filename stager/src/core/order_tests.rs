//! Any order of effects, lost and doubled answers, restarts: the invariants of the contract hold, and once the world
//! is calm every job comes to its end.

use forebay_wire::stager::JobPhase;
use proptest::prelude::*;

use super::world::{SCRIPT, World};
use super::*;

#[derive(Clone, Debug)]
enum Event {
    List,
    Perform { pick: usize, lost: bool, again: bool },
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

fn event() -> impl Strategy<Value = Event> {
    let ends = vec![SlurmState::Completed, SlurmState::Failed, SlurmState::Timeout, SlurmState::Cancelled];
    prop_oneof![
        8 => (any::<usize>(), prop::bool::weighted(0.15), prop::bool::weighted(0.15))
            .prop_map(|(pick, lost, again)| Event::Perform { pick, lost, again }),
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
        Event::Perform { pick, lost, again } if !world.pending.is_empty() => {
            // An answer that is lost comes only with the daemon's death.
            world.perform(pick % world.pending.len(), lost, again && !lost);
            if lost {
                world.restart();
            }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

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
