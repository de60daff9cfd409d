//! Who leads a metadata shard, as far as this process knows.
//!
//! Wrong guesses cost a round trip: whoever is asked and does not lead says who does, and where nobody answers the next
//! replica is asked.

use forebay_types::{HostId, ShardId};
use forebay_wire::map::{ClusterMap, HostEntry, HostState};

use crate::Cluster;

impl Cluster {
    /// The host to ask about a shard; `None` where the map has no such shard.
    #[must_use]
    pub fn leader(&self, map: &ClusterMap, shard: ShardId) -> Option<HostEntry> {
        let known = self.leaders().get(&shard).copied();
        let replicas = || map.replicas(shard);
        let known = known.and_then(|host| replicas().find(|replica| replica.id == host));
        let up = || replicas().find(|replica| replica.state == HostState::Up);
        known.or_else(up).or_else(|| replicas().next()).cloned()
    }

    /// `asked` does not lead the shard, or does not answer; `hint` is who leads according to it.
    pub fn not_leader(&self, map: &ClusterMap, shard: ShardId, asked: HostId, hint: Option<HostId>) {
        let replicas: Vec<&HostEntry> = map.replicas(shard).collect();
        let next = hint.filter(|hint| *hint != asked && replicas.iter().any(|r| r.id == *hint)).or_else(|| {
            let at = replicas.iter().position(|replica| replica.id == asked)?;
            let others = replicas.iter().cycle().skip(at + 1).take(replicas.len().saturating_sub(1));
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
