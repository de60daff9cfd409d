//! Which repairs findings call for, and in what order.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{InodeId, ShardId, StripeId};
use forebay_wire::meta::{Finding, FsckHold, FsckRead, Held, Repair};

/// Whether something is damaged within a shard: what is wrong between shards waits until that is repaired, as it may be
/// nothing but its consequence.
pub(super) fn has_damage_within(found: &BTreeSet<Finding>) -> bool {
    found.iter().any(is_within)
}

fn is_within(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::Unreadable { .. }
            | Finding::LostHold(_)
            | Finding::NamesOfNothing { .. }
            | Finding::CookieMismatch { .. }
            | Finding::Count { .. }
            | Finding::BadExtent { .. }
            | Finding::StripeLive { .. }
            | Finding::StripeState { .. }
            | Finding::Usage { .. }
            | Finding::Owner { .. }
            | Finding::Counter { .. }
    )
}

/// The repairs of what was found, in the order in which they have to be made. `at_rest`: version of each inode that was
/// judged, and how many names it had.
pub(super) fn repairs(
    found: &BTreeSet<Finding>,
    at_rest: &BTreeMap<InodeId, (u64, u32)>,
    lost_and_found: Option<InodeId>,
) -> Vec<(ShardId, Repair)> {
    let within = has_damage_within(found);
    let mut all: Vec<(u32, ShardId, Repair)> = Vec::new();
    let mut stripes: BTreeMap<ShardId, BTreeSet<StripeId>> = BTreeMap::new();
    for finding in found.iter().filter(|finding| !within || is_within(finding)) {
        if let Finding::StripeLive { shard, stripe, .. } | Finding::StripeState { shard, stripe } = finding {
            stripes.entry(*shard).or_default().insert(*stripe);
        }
        all.extend(of_finding(finding, at_rest, lost_and_found));
    }
    for (shard, stripes) in stripes {
        let stripes = Vec::from_iter(stripes);
        for some in stripes.chunks(FsckRead::INODES_MAX) {
            all.push((3, shard, Repair::Stripes { stripes: some.to_vec() }));
        }
    }
    // Stable: equal ones stay in the order of their findings.
    all.sort_by_key(|(rank, _, _)| *rank);
    let mut repairs: Vec<(ShardId, Repair)> = Vec::new();
    for (_, shard, repair) in all {
        if repairs.last().is_none_or(|(of, last)| (*of, last) != (shard, &repair)) {
            repairs.push((shard, repair));
        }
    }
    repairs
}

/// Repairs of a finding, each with its rank and its shard.
fn of_finding(
    finding: &Finding,
    at_rest: &BTreeMap<InodeId, (u64, u32)>,
    lost_and_found: Option<InodeId>,
) -> Vec<(u32, ShardId, Repair)> {
    let version = |ino: &InodeId| at_rest.get(ino).map(|(version, _)| *version);
    let one = |rank, shard, repair| vec![(rank, shard, repair)];
    match finding {
        Finding::Unreadable { shard, key } => one(0, *shard, Repair::Row { key: key.clone() }),
        Finding::LostHold(hold) => one(1, holder_of(hold), Repair::Hold(hold.clone())),
        Finding::NamesOfNothing { dir: ino, .. }
        | Finding::CookieMismatch { dir: ino, .. }
        | Finding::Count { ino, .. }
        | Finding::BadExtent { ino, .. } => one(2, ino.shard(), Repair::Inode { ino: *ino }),
        Finding::DanglingName { dir, name, ino, .. } | Finding::ExtraName { dir, name, ino, .. } => {
            one(4, dir.shard(), Repair::Name { dir: *dir, name: name.clone(), ino: *ino, kind: None })
        }
        Finding::WrongKind { dir, name, ino, kind, .. } => {
            one(4, dir.shard(), Repair::Name { dir: *dir, name: name.clone(), ino: *ino, kind: Some(*kind) })
        }
        Finding::Links { ino, found, .. } => match version(ino) {
            Some(version) => one(5, ino.shard(), Repair::Links { ino: *ino, version, names: *found }),
            None => Vec::new(),
        },
        Finding::WrongParent { ino, found, .. } => match version(ino) {
            Some(version) => one(5, ino.shard(), Repair::Parent { ino: *ino, version, parent: *found }),
            None => Vec::new(),
        },
        Finding::Orphan { ino, listed: true, .. } => one(5, ino.shard(), Repair::Orphan { ino: *ino, version: 0 }),
        Finding::Orphan { ino, listed: false, .. } => match at_rest.get(ino) {
            Some((version, 0)) => one(5, ino.shard(), Repair::Orphan { ino: *ino, version: *version }),
            _ => Vec::new(),
        },
        Finding::Usage { shard, .. } | Finding::Owner { shard, .. } => one(3, *shard, Repair::Usage),
        Finding::Counter { shard, .. } => one(0, *shard, Repair::Counters),
        Finding::StripeLive { .. } | Finding::StripeState { .. } => Vec::new(),
        Finding::Unreachable { ino, kind, .. } => match lost_and_found {
            Some(dir) => one(7, dir.shard(), Repair::Attach { dir, ino: *ino, kind: *kind }),
            None => Vec::new(),
        },
        Finding::Cycle { ino, .. } => match (lost_and_found, version(ino)) {
            (Some(dir), Some(version)) => {
                let kind = forebay_types::FileKind::Directory;
                vec![
                    (7, dir.shard(), Repair::Attach { dir, ino: *ino, kind }),
                    (8, ino.shard(), Repair::Parent { ino: *ino, version, parent: dir }),
                ]
            }
            _ => Vec::new(),
        },
    }
}

pub(super) fn holder_of(hold: &FsckHold) -> ShardId {
    match &hold.what {
        Held::Name { dir: ino, .. } | Held::Directory { ino } => ino.shard(),
        Held::Moves => ShardId(0),
    }
}
