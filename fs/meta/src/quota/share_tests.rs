use proptest::prelude::*;

use super::*;

const SHARDS: u16 = 8;

/// Shards that somebody adds to, and what they were told.
#[derive(Default)]
struct Shards {
    usage: BTreeMap<ShardId, OwnerUsage>,
    before: BTreeMap<ShardId, Space>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    Done,
    Wait,
    Refused,
}

impl Shards {
    fn new() -> Self {
        let usage = (0..SHARDS).map(|n| (ShardId(n), OwnerUsage::default())).collect();
        Self { usage, before: BTreeMap::new() }
    }

    fn add(&mut self, shard: u16, bytes: u64) -> Answer {
        let usage = self.usage.get_mut(&ShardId(shard)).unwrap();
        let after = usage.used.bytes + bytes;
        if let Some((_, Budget { bytes: Some(allowance), .. })) = usage.budget
            && after > allowance.up_to
        {
            usage.wanted.bytes = usage.wanted.bytes.max(after);
            return if allowance.is_last { Answer::Refused } else { Answer::Wait };
        }
        usage.used.bytes = after;
        Answer::Done
    }

    fn remove(&mut self, shard: u16, bytes: u64) {
        let used = &mut self.usage.get_mut(&ShardId(shard)).unwrap().used;
        used.bytes = used.bytes.saturating_sub(bytes);
    }

    /// What is decided, told to every second shard only where `some`, as when a host does not answer.
    fn round(&mut self, limit: u64, some: bool) {
        let limits = Limits { bytes: Some(limit), inodes: None };
        let decisions = decide(Some(limits), &self.usage, &self.before);
        self.before = self.usage.iter().map(|(shard, usage)| (*shard, usage.used)).collect();
        for Decision { shard, after, budget } in decisions {
            if !some || shard.0 % 2 == 0 {
                let usage = self.usage.get_mut(&shard).unwrap();
                assert_eq!(usage.budget.map_or(0, |(number, _)| number), after);
                usage.budget = budget.map(|budget| (after + 1, budget));
            }
        }
        self.usage.values_mut().for_each(|usage| usage.wanted = Space::default());
    }

    fn used(&self) -> u64 {
        self.usage.values().map(|usage| usage.used.bytes).sum()
    }

    fn given(&self) -> u64 {
        let up_to = |usage: &OwnerUsage| {
            let allowance = usage.budget.and_then(|(_, budget)| budget.bytes);
            allowance.map_or(usage.used.bytes, |a| a.up_to.max(usage.used.bytes))
        };
        self.usage.values().map(up_to).sum()
    }
}

proptest! {
    #[test]
    fn budgets_together_are_never_more_than_the_limit(
        limit in 0_u64..10_000,
        steps in proptest::collection::vec((0..SHARDS, 0_u64..3_000, 0_u8..5), 1..200),
    ) {
        let mut shards = Shards::new();
        shards.round(limit, false);
        for (shard, bytes, what) in steps {
            match what {
                0 => shards.round(limit, false),
                1 => shards.round(limit, true),
                2 => shards.remove(shard, bytes),
                _ => drop(shards.add(shard, bytes)),
            }
            prop_assert!(shards.given() <= limit, "{} of {limit}", shards.given());
        }
    }

    #[test]
    fn who_wants_what_there_is_gets_it_and_who_wants_more_is_refused(
        limit in 1_u64..1_000_000,
        adds in proptest::collection::vec((0..SHARDS, 1_u64..100_000), 1..60),
    ) {
        let mut shards = Shards::new();
        shards.round(limit, false);
        for (shard, bytes) in adds {
            let fits = shards.used() + bytes <= limit;
            let mut rounds = 0;
            let answer = loop {
                match shards.add(shard, bytes) {
                    Answer::Wait => {}
                    // What was refused once may be there again.
                    Answer::Refused if fits && rounds < 4 => {}
                    answer => break answer,
                }
                rounds += 1;
                prop_assert!(rounds < 8, "{bytes} of {limit} in {shard}: {:?}", shards.usage);
                shards.round(limit, false);
            };
            prop_assert_eq!(answer, if fits { Answer::Done } else { Answer::Refused });
        }
    }

    #[test]
    fn at_rest_nothing_is_decided_again(used in proptest::collection::vec(0_u64..1_000, usize::from(SHARDS))) {
        let mut shards = Shards::new();
        for (n, bytes) in (0..).zip(used) {
            shards.add(n, bytes);
        }
        for _ in 0..4 {
            shards.round(1 << 30, false);
        }
        let limits = Limits { bytes: Some(1 << 30), inodes: None };
        prop_assert_eq!(decide(Some(limits), &shards.usage, &shards.before), vec![]);
    }
}

#[test]
fn one_busy_shard_gets_most_of_what_is_free() {
    let mut shards = Shards::new();
    shards.round(1 << 30, false);
    for _ in 0..2 {
        shards.add(3, 1 << 20);
        shards.round(1 << 30, false);
    }
    let (_, budget) = shards.usage[&ShardId(3)].budget.unwrap();
    assert!(budget.bytes.unwrap().up_to > 1 << 29, "{budget:?}");
}

#[test]
fn who_uses_more_than_a_new_limit_keeps_it_and_gets_nothing() {
    let mut shards = Shards::new();
    shards.add(0, 500);
    shards.round(100, false);
    assert_eq!(shards.add(0, 1), Answer::Wait);
    shards.round(100, false);
    assert_eq!(shards.add(0, 1), Answer::Refused);
    assert_eq!(shards.add(1, 1), Answer::Wait);
}

#[test]
fn what_a_log_has_passed_the_limit_by_does_not_count_against_more() {
    let mut shards = Shards::new();
    shards.round(1000, false);
    shards.usage.get_mut(&ShardId(2)).unwrap().used.bytes = 5000;
    shards.round(1000, false);
    assert_eq!(shards.add(2, 1), Answer::Wait);
    shards.round(5010, false);
    shards.round(5010, false);
    assert_eq!(shards.add(2, 1), Answer::Done, "{:?}", shards.usage);
}

#[test]
fn a_quota_that_was_removed_is_taken_from_every_shard() {
    let mut shards = Shards::new();
    shards.round(100, false);
    let decisions = decide(None, &shards.usage, &shards.before);
    assert_eq!(decisions.len(), usize::from(SHARDS));
    assert!(decisions.iter().all(|decision| decision.budget.is_none() && decision.after == 1));
    shards.usage.values_mut().for_each(|usage| usage.budget = None);
    assert_eq!(decide(None, &shards.usage, &shards.before), vec![]);
}
