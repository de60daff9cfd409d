//! Where the replicas of metadata shards should be, and the next step towards it.
//!
//! Every shard should have [`replica_count`] replicas, on hosts that are not being drained, spread evenly, and every
//! host should lead about as many as any other. The map says for each shard where its replicas should be; its group
//! follows by itself, one member at a time. So that few states travel at once, [`next_move`] changes one shard's entry,
//! and the caller asks again only while few groups are on their way.
//!
//! A move never makes things worse: a shard that cannot have all the replicas it should have keeps those it has.

use std::collections::BTreeMap;

use forebay_types::{HostId, ShardId};
use forebay_wire::map::{ClusterMap, HostEntry, HostState, ShardEntry};

use crate::form::replica_count;

/// How a shard's group stands to what the map says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Its members are what the map says.
    Settled,
    /// It is on its way; these hosts are members now, or were when that was last said. Nobody, where nothing was.
    Moving {
        /// The members.
        members: Vec<HostId>,
    },
}

/// A new entry of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub shard: ShardId,
    pub replicas: Vec<HostId>,
}

impl Move {
    /// Makes it so.
    pub fn apply(self, map: &mut ClusterMap) {
        if let Some(entry) = map.shards.get_mut(usize::from(self.shard.0)) {
            entry.replicas = self.replicas;
        }
    }
}

/// Replicas and preferred leads of each host that may have any.
struct Loads {
    replicas: BTreeMap<HostId, usize>,
    leads: BTreeMap<HostId, usize>,
}

impl Loads {
    fn of(map: &ClusterMap) -> Self {
        let count = |counted: &dyn Fn(&ShardEntry, HostId) -> bool| {
            let serving = map.hosts.iter().filter(|host| serves(map, host));
            serving.map(|host| (host.id, map.shards.iter().filter(|s| counted(s, host.id)).count())).collect()
        };
        Self {
            replicas: count(&|shard, host| shard.replicas.contains(&host)),
            leads: count(&|shard, host| shard.replicas.first() == Some(&host)),
        }
    }

    fn replicas(&self, host: HostId) -> usize {
        self.replicas.get(&host).copied().unwrap_or(0)
    }
}

/// Whether a host counts: it is not being drained, and has been heard of at least once.
fn serves(map: &ClusterMap, host: &HostEntry) -> bool {
    let holds = || map.shards.iter().any(|shard| shard.replicas.contains(&host.id));
    !host.draining && (host.state == HostState::Up || holds())
}

/// Whether a host may be given a replica now.
fn takes(map: &ClusterMap, host: HostId) -> bool {
    map.host(host).is_some_and(|host| host.state == HostState::Up && !host.draining)
}

/// The next change of the map, or `None` where nothing is to be done or everything waits for something.
pub(crate) fn next_move(map: &ClusterMap, standing: &dyn Fn(ShardId) -> Standing) -> Option<Move> {
    let loads = Loads::of(map);
    let count = replica_count(loads.replicas.len(), map.geometry);
    let mended = map.shards.iter().find_map(|shard| mend(map, &loads, count, shard, &standing(shard.id)));
    mended.or_else(|| balance(map, &loads, standing)).or_else(|| balance_leads(map, &loads))
}

/// A shard whose replicas are too few, too many, or where they should not be.
fn mend(map: &ClusterMap, loads: &Loads, count: usize, shard: &ShardEntry, standing: &Standing) -> Option<Move> {
    let stays = |host: &HostId| {
        let entry = map.host(*host);
        match standing {
            Standing::Settled => entry.is_some_and(|entry| !entry.draining),
            // What a group is on its way to is let be, but for a host that died before it had everything.
            Standing::Moving { members } => {
                members.is_empty()
                    || members.contains(host)
                    || entry.is_some_and(|entry| entry.state == HostState::Up && !entry.draining)
            }
        }
    };
    let mut replicas: Vec<HostId> = shard.replicas.iter().copied().filter(stays).collect();
    if *standing != Standing::Settled && replicas.len() == shard.replicas.len() {
        return None;
    }
    while replicas.len() > count {
        let is_up = |host: HostId| map.host(host).is_some_and(|entry| entry.state == HostState::Up);
        // The first one leads: it goes last.
        let surplus = (1..replicas.len()).min_by_key(|&at| {
            let host = replicas[at];
            (is_up(host), std::cmp::Reverse(loads.replicas(host)), host)
        });
        replicas.remove(surplus?);
    }
    while replicas.len() < count {
        let free = loads.replicas.keys().copied().filter(|host| takes(map, *host) && !replicas.contains(host));
        let host = free.min_by_key(|host| (loads.replicas(*host), *host))?;
        replicas.push(host);
    }
    (replicas != shard.replicas).then_some(Move { shard: shard.id, replicas })
}

/// One replica goes from the host that has most to the one that has least.
fn balance(map: &ClusterMap, loads: &Loads, standing: &dyn Fn(ShardId) -> Standing) -> Option<Move> {
    let (least, few) = loads
        .replicas
        .iter()
        .filter(|(host, _)| takes(map, **host))
        .map(|(host, count)| (*host, *count))
        .min_by_key(|(host, count)| (*count, *host))?;
    let mut crowded: Vec<(HostId, usize)> = loads.replicas.iter().map(|(host, count)| (*host, *count)).collect();
    crowded.retain(|(_, count)| *count >= few + 2);
    crowded.sort_by_key(|(host, count)| (std::cmp::Reverse(*count), *host));
    for (most, _) in crowded {
        let there = map.shards.iter().filter(|s| s.replicas.contains(&most) && !s.replicas.contains(&least));
        let movable = there.filter(|shard| standing(shard.id) == Standing::Settled);
        // Places are the order in which hosts are asked who leads: those of the last disturb least.
        let place = |shard: &ShardEntry| shard.replicas.iter().position(|host| *host == most);
        if let Some(shard) = movable.min_by_key(|shard| (std::cmp::Reverse(place(shard)), shard.id)) {
            let replicas = shard.replicas.iter().map(|host| if *host == most { least } else { *host }).collect();
            return Some(Move { shard: shard.id, replicas });
        }
    }
    None
}

/// One shard should be led by another of its hosts. No state moves.
fn balance_leads(map: &ClusterMap, loads: &Loads) -> Option<Move> {
    let few = |host: HostId| loads.leads.get(&host).copied();
    let better = |shard: &ShardEntry| {
        let now = few(*shard.replicas.first()?)?;
        let others = shard.replicas.iter().skip(1).copied();
        let (leads, host) = others.filter_map(|host| Some((few(host)?, host))).min()?;
        (now >= leads + 2).then_some((leads, shard.id, host))
    };
    let (_, shard, host) = map.shards.iter().filter_map(better).min()?;
    let mut replicas = map.shards[usize::from(shard.0)].replicas.clone();
    let at = replicas.iter().position(|other| *other == host)?;
    replicas.swap(0, at);
    Some(Move { shard, replicas })
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
