//! Sharing a quota out over the shards.
//!
//! The rule that is never broken: what all shards may have together is at most the limit, but for what they had already
//! when it was set. So a budget is raised only by what is not given out, and what one shard gives back counts from the
//! moment at which it has done so, which is the next round.
//!
//! What is free is shared out among all shards, most of it among those whose use grew since the last round, so that one
//! busy shard gets near the limit in a few rounds and the others can begin without asking. A shard in which somebody
//! wants more than its budget gets that first. One that wants more than there is at all gets what there is, and is told that
//! this is the last.

use std::collections::BTreeMap;

use forebay_types::{Limits, ShardId, Space};
use forebay_wire::meta::{Allowance, Budget, OwnerUsage};

/// How much more a shard that grows counts than one that does not, all growing shards together.
const GROWING_WEIGHT: u128 = 15;
/// A budget is changed where it would by at least this part of what is free for each shard.
const WORTH_CHANGING: u64 = 4;
/// A shard that was told that there is no more is told otherwise when this part of the limit is free again.
const ROOM_AGAIN: u64 = 256;

/// A budget to be decided, for [`QuotaChange::Share`](forebay_wire::meta::QuotaChange::Share).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The shard.
    pub shard: ShardId,
    /// The number of the decision that it follows.
    pub after: u64,
    /// What it may have; none to take the quota away.
    pub budget: Option<Budget>,
}

/// One of the two things that are limited, in one shard.
#[derive(Clone, Copy)]
struct Part {
    used: u64,
    grown: u64,
    /// What it has to have more than now for what somebody wants.
    need: u64,
    now: Option<Allowance>,
}

impl Part {
    fn new(used: u64, before: u64, wanted: u64, now: Option<Allowance>) -> Self {
        Self { used, grown: used.saturating_sub(before), need: wanted.saturating_sub(used), now }
    }

    fn up_to(&self) -> u64 {
        self.now.map_or(self.used, |now| now.up_to)
    }
}

/// What to tell shards, given what every one of them has of the owner, and had (`before`) the last time. `limits`: those
/// in force; none where the owner has no quota any more. Every shard must be in `usage`.
#[must_use]
pub fn decide(
    limits: Option<Limits>,
    usage: &BTreeMap<ShardId, OwnerUsage>,
    before: &BTreeMap<ShardId, Space>,
) -> Vec<Decision> {
    let after = |usage: &OwnerUsage| usage.budget.map_or(0, |(number, _)| number);
    let Some(limits) = limits else {
        let given = usage.iter().filter(|(_, usage)| usage.budget.is_some());
        return given.map(|(shard, usage)| Decision { shard: *shard, after: after(usage), budget: None }).collect();
    };
    let parts = |of: fn(Space) -> u64, allowance: fn(&Budget) -> Option<Allowance>| {
        let part = |(shard, usage): (&ShardId, &OwnerUsage)| {
            let used = of(usage.used);
            let before = before.get(shard).map_or(used, |space| of(*space));
            let now = usage.budget.as_ref().and_then(|(_, budget)| allowance(budget));
            Part::new(used, before, of(usage.wanted), now)
        };
        usage.iter().map(part).collect::<Vec<Part>>()
    };
    let bytes = allot(limits.bytes, &parts(|space| space.bytes, |budget| budget.bytes));
    let inodes = allot(limits.inodes, &parts(|space| space.inodes, |budget| budget.inodes));
    let decisions = usage.iter().zip(bytes.into_iter().zip(inodes)).map(|((shard, usage), (bytes, inodes))| {
        let budget = Budget { bytes, inodes };
        let changes = usage.budget.is_none_or(|(_, now)| now != budget);
        changes.then_some(Decision { shard: *shard, after: after(usage), budget: Some(budget) })
    });
    decisions.flatten().collect()
}

/// The allowance of each part from now on.
fn allot(limit: Option<u64>, parts: &[Part]) -> Vec<Option<Allowance>> {
    let Some(limit) = limit else { return vec![None; parts.len()] };
    let sum = |of: fn(&Part) -> u64| parts.iter().map(of).fold(0, u64::saturating_add);
    let free = limit.saturating_sub(sum(|part| part.used));
    let met = |part: &Part| part.need.min(free);
    let spare = free.saturating_sub(parts.iter().map(met).fold(0, u64::saturating_add));
    let share = {
        // In 128 bits: limits go up to 2^64 bytes.
        let grown = u128::from(sum(|part| part.grown));
        let even = grown.max(1);
        let all = parts.len() as u128 * even + GROWING_WEIGHT * grown;
        move |part: &Part| (u128::from(spare) * (even + GROWING_WEIGHT * u128::from(part.grown)) / all) as u64
    };
    // Where somebody waits, everything that is not needed elsewhere counts.
    let waits = parts.iter().any(|part| part.need > 0);
    let worth = if waits { 0 } else { spare / (parts.len().max(1) as u64 * WORTH_CHANGING) };
    let unused = |part: &Part| if part.need > 0 { 0 } else { part.up_to().saturating_sub(part.used) };
    let all_unused = parts.iter().map(unused).fold(0, u64::saturating_add);
    // What is given out stays so until its shard has heard of less.
    let given = parts.iter().map(|part| part.up_to().max(part.used)).fold(0, u64::saturating_add);
    let mut left = limit.saturating_sub(given);
    let allow = |part: &Part| {
        let (now, wish) = (part.up_to(), part.used.saturating_add(met(part)).saturating_add(share(part)));
        let up_to = if wish > now {
            // What it has beyond its budget is given already.
            let has = now.max(part.used);
            let more = wish.saturating_sub(has).min(left);
            let asked = part.need > 0 || part.now.is_none();
            let more = if asked || more > worth { more } else { 0 };
            left -= more;
            has + more
        } else if now - wish > worth {
            wish
        } else {
            now
        };
        let was_last = part.now.is_some_and(|now| now.is_last);
        let is_last = match part.need {
            0 => was_last && free <= limit / ROOM_AGAIN,
            // Not while others have something that can be taken back.
            need => need > free && all_unused == 0,
        };
        Some(Allowance { up_to, is_last })
    };
    parts.iter().map(allow).collect()
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
