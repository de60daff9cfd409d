//! Who leads a metadata shard, as far as this process knows.
//!
//! Wrong guesses cost a round trip: whoever is asked and does not lead says who does, and where nobody answers the next
//! replica is asked. A leader need not be among the replicas that the map names: while a shard moves, a host that should
//! not have it any more may lead it still.

use forebay_types::{HostId, ShardId};
use forebay_wire::map::{ClusterMap, HostEntry, HostState};

use crate::Cluster;

impl Cluster {
    /// The host to ask about a shard; `None` where the map has no such shard.
    #[must_use]
    pub fn leader(&self, map: &ClusterMap, shard: ShardId) -> Option<HostEntry> {
        let known = self.leaders().get(&shard).copied();
        let replicas = || map.replicas(shard);
        let shard_exists = replicas().next().is_some();
        let known = known.filter(|_| shard_exists).and_then(|host| map.host(host));
        let up = || replicas().find(|replica| replica.state == HostState::Up);
        known.or_else(up).or_else(|| replicas().next()).cloned()
    }

    /// `asked` does not lead the shard, or does not answer; `hint` is who leads according to it.
    pub fn not_leader(&self, map: &ClusterMap, shard: ShardId, asked: HostId, hint: Option<HostId>) {
        let replicas: Vec<&HostEntry> = map.replicas(shard).collect();
        let next = hint.filter(|hint| *hint != asked && map.host(*hint).is_some()).or_else(|| {
            // After one that is no replica comes the first.
            let at = replicas.iter().position(|replica| replica.id == asked);
            let count = if at.is_some() { replicas.len().saturating_sub(1) } else { replicas.len() };
            let others = replicas.iter().cycle().skip(at.map_or(0, |at| at + 1)).take(count);
            let up = others.clone().find(|replica| replica.state == HostState::Up);
            up.or(others.clone().next()).map(|replica| replica.id)
        });
        let mut leaders = self.leaders();
        // Somebody else may have found out in the meantime.
        if leaders.get(&shard).is_none_or(|known| *known == asked)
            && let Some(next) = next
        {
            leaders.insert(shard, next);
        }
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
