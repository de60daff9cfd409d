use proptest::prelude::*;

use super::*;
use crate::world::{World, content, key, put};

#[derive(Clone, Debug)]
enum Action {
    Put { key: u64, version: u8, blocks: usize },
    Delete { first: u64, count: u64 },
    Advance { picks: Vec<usize> },
    Drain,
    Check,
    Crash { seed: u64 },
    ShutDown,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0u64..60, 0u8..3, prop_oneof![1usize..6, Just(64usize)])
            .prop_map(|(key, version, blocks)| Action::Put { key, version, blocks }),
        3 => (0u64..60, 1u64..20).prop_map(|(first, count)| Action::Delete { first, count }),
        6 => proptest::collection::vec(any::<usize>(), 1..12).prop_map(|picks| Action::Advance { picks }),
        1 => Just(Action::Drain),
        1 => Just(Action::Check),
        1 => any::<u64>().prop_map(|seed| Action::Crash { seed }),
        1 => Just(Action::ShutDown),
    ]
}

fn play(actions: Vec<Action>) {
    let mut world = World::new();
    for action in actions {
        match action {
            Action::Put { key: n, version, blocks } => {
                world.put(put(key(n), version, blocks));
            }
            Action::Delete { first, count } => {
                world.delete((first..first + count).map(key).collect());
            }
            Action::Advance { picks } => picks.into_iter().for_each(|pick| {
                world.advance(pick);
            }),
            Action::Drain => world.drain(),
            Action::Check => world.check(),
            Action::Crash { seed } => world = world.crash(seed),
            Action::ShutDown => {
                world.drain();
                world.shut_down();
                world = world.crash(0);
                assert_eq!(world.report.torn_records, 0, "nothing is torn after a clean end");
            }
        }
        world.core.check_invariants();
    }
    world.drain();
    world.check();
    let mut world = world.crash(1);
    world.delete((0..100).map(key).collect());
    world.drain();
    world.check();
    let stats = world.core.stats();
    assert_eq!((stats.chunks, stats.live_bytes, stats.free_bytes), (0, 0, stats.capacity_bytes));
    assert!(stats.segments - stats.free_segments <= 4, "only open segments are in use: {stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_is_there_and_what_was_deleted_is_not(actions in proptest::collection::vec(action(), 1..120)) {
        play(actions);
    }
}

#[test]
fn puts_that_arrive_during_a_flush_share_the_next_one() {
    let mut world = World::new();
    for n in 0..32 {
        world.put(put(key(n), 0, 1));
    }
    world.drain();
    assert!(world.core.stats().flushes < 32, "{:?}", world.core.stats());
    assert_eq!(world.core.stats().puts, 32);
}

#[test]
fn the_same_chunk_twice_is_stored_once() {
    let mut world = World::new();
    world.put(put(key(1), 0, 2));
    world.put(put(key(1), 0, 2));
    world.drain();
    world.put(put(key(1), 0, 2));
    world.drain();
    assert_eq!((world.core.stats().puts, world.refused.len()), (1, 0));
}

#[test]
fn other_content_replaces_unless_its_map_is_older() {
    let mut world = World::new();
    world.put(ChunkPut { epoch: Epoch(5), ..put(key(1), 0, 2) });
    world.drain();
    let older = world.put(ChunkPut { epoch: Epoch(4), ..put(key(1), 1, 2) });
    assert_eq!(world.refused, [(older, Refusal::StaleEpoch { held: Epoch(5) })]);
    world.put(ChunkPut { epoch: Epoch(5), ..put(key(1), 2, 3) });
    world.drain();
    assert_eq!(world.get(key(1)), Some(Ok(content(key(1), 2, 3))));
}

#[test]
fn a_full_drive_says_so_keeps_what_it_has_and_can_be_emptied() {
    let mut world = World::new();
    let mut n = 0;
    while world.refused.is_empty() {
        world.put(put(key(n), 0, 64));
        world.drain();
        n += 1;
    }
    assert_eq!(world.refused[0].1, Refusal::NoSpace);
    world.check();
    let mut world = world.crash(3);
    for k in (0..n).step_by(2) {
        world.delete(vec![key(k)]);
        world.drain();
    }
    let before = world.core.stats().chunks;
    for k in 1000..1000 + n / 3 {
        world.put(put(key(k), 1, 64));
        world.drain();
    }
    assert_eq!(world.refused, [], "half of it was deleted, so a third more fits after cleaning");
    assert!(world.core.stats().cleaned_bytes > 0);
    assert!(world.core.stats().chunks > before);
    world.check();
    world.crash(9);
}

#[test]
fn dropping_a_class_frees_its_segments_without_a_copy() {
    let mut world = World::new();
    for n in 0..36 {
        world.put(put(key(n), 0, 64));
    }
    world.drain();
    let used = world.core.stats();
    world.delete((0..36).filter(|n| n % 3 == 0).map(key).collect());
    world.drain();
    let stats = world.core.stats();
    assert!(stats.free_segments > used.free_segments, "{used:?} {stats:?}");
    assert_eq!(stats.cleaned_bytes, 0);
}

#[test]
fn a_damaged_chunk_is_counted_once_and_the_same_content_repairs_it() {
    let mut world = World::new();
    world.put(put(key(1), 0, 2));
    world.drain();
    let marker = [key(1).0.to_bytes().as_slice(), &[key(1).1, 1]].concat();
    let medium = world.medium();
    let found = medium.windows(marker.len()).position(|window| window == marker).unwrap();
    medium[found + 99] ^= 4;
    assert_eq!(world.get(key(1)), Some(Err(())));
    assert_eq!(world.get(key(1)), Some(Err(())));
    assert_eq!(world.core.stats().corrupt_chunks, 1);
    world.put(put(key(1), 0, 2));
    world.drain();
    assert_eq!(world.get(key(1)), Some(Ok(content(key(1), 0, 2))));
}

#[test]
fn a_failed_flush_ends_writing_and_not_reading() {
    let mut world = World::new();
    world.put(put(key(1), 0, 1));
    world.drain();
    let mut effects = Vec::new();
    world.core.step(Input::Put(900, put(key(2), 0, 1)), &mut effects);
    let number = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Write { number, .. } => Some(*number),
            _ => None,
        })
        .unwrap();
    effects.clear();
    world.core.step(Input::WriteDone { number, ok: false }, &mut effects);
    assert_eq!(effects, [Effect::Done(900, Err(Refusal::Failed))]);
    world.put(put(key(3), 0, 1));
    assert_eq!(world.refused.last().map(|(_, refusal)| *refusal), Some(Refusal::Failed));
    assert_eq!(world.get(key(1)), Some(Ok(content(key(1), 0, 1))));
}

#[test]
fn a_chunk_that_breaks_a_limit_is_refused() {
    let mut world = World::new();
    let good = put(key(1), 0, 2);
    let bad = [
        ChunkPut { payload: good.payload.slice(1..), ..good.clone() },
        ChunkPut { payload: Bytes::new(), crcs: Vec::new(), ..good.clone() },
        ChunkPut { crcs: good.crcs[..1].to_vec(), ..good.clone() },
        ChunkPut { key: (good.key.0, 6), ..good.clone() },
        put(key(1), 0, 65),
    ];
    for chunk in bad {
        world.put(chunk);
    }
    assert!(world.refused.iter().all(|(_, refusal)| *refusal == Refusal::Invalid));
    assert_eq!(world.refused.len(), 5);
}

#[test]
fn keys_are_listed_in_order_page_by_page() {
    let mut world = World::new();
    for n in 0..10 {
        world.put(put(key(n), 0, 1));
    }
    world.drain();
    let (first, end) = world.core.list(None, 7);
    assert_eq!((first.len(), end), (7, false));
    let (rest, end) = world.core.list(first.last().copied(), 7);
    assert_eq!((rest.len(), end), (3, true));
    assert!(first.iter().chain(&rest).is_sorted());
}
