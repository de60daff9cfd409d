//! Hosts come and go: added, drained, removed; and the replicas that have to move for it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_env::{Batch, Kv, KvError};
use forebay_types::{DriveId, HostId, ShardId};
use forebay_wire::cluster::{ClusterError, ClusterReply, FormingHost, ReplicaStatus, UnwantedReplica};
use forebay_wire::map::{ClusterMap, DriveEntry, DriveState, HostEntry, HostState, PlacementGroup};

use crate::Cluster;
use crate::form::check_name;
use crate::placement::{geometry_for, regroup};
use crate::replicas::{Standing, next_move};

/// Groups that change their members at once.
pub(crate) const MOVES_AT_ONCE: usize = 2;

const NEXT_HOST_KEY: &[u8] = b"c/next-host";
const NEXT_DRIVE_KEY: &[u8] = b"c/next-drive";

/// The ids that come next. Those of hosts and drives that were removed are in the names of old placement groups.
#[derive(Debug)]
pub(crate) struct Ids {
    host: u32,
    drive: u32,
}

impl Ids {
    /// As stored, or those after the ones in use where no host was added yet.
    pub fn load(kv: &dyn Kv, map: &ClusterMap) -> Result<Self, KvError> {
        let stored = |key| -> Result<u32, KvError> {
            Ok(kv.get(key)?.and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_be_bytes))
        };
        let hosts = map.hosts.iter().map(|host| host.id.0 + 1).max().unwrap_or(1);
        let drives = map.drives.iter().map(|drive| drive.id.0 + 1).max().unwrap_or(1);
        Ok(Self { host: stored(NEXT_HOST_KEY)?.max(hosts), drive: stored(NEXT_DRIVE_KEY)?.max(drives) })
    }

    fn next_host(&mut self) -> HostId {
        self.host += 1;
        HostId(self.host - 1)
    }

    fn next_drive(&mut self) -> DriveId {
        self.drive += 1;
        DriveId(self.drive - 1)
    }

    fn store(&self, stores: &mut Batch) {
        stores.put(NEXT_HOST_KEY, self.host.to_be_bytes());
        stores.put(NEXT_DRIVE_KEY, self.drive.to_be_bytes());
    }
}

/// What the leader of each shard last said of it.
type Leaders<'a> = BTreeMap<ShardId, (HostId, &'a ReplicaStatus)>;

impl Cluster {
    /// Takes a host into the map. It is down until it is heard of.
    pub(crate) fn add_host(&mut self, new: FormingHost, stores: &mut Batch) -> Result<ClusterReply, ClusterError> {
        let FormingHost { name, address, drives } = new;
        let invalid = |reason: String| Err(ClusterError::Invalid { reason });
        check_name("host", &name)?;
        if drives.is_empty() {
            return invalid(format!("host {name} has no drive: start its forebayd with --drive"));
        }
        if let Some(known) = self.map.host_named(&name) {
            let mine = self.map.drives.iter().filter(|drive| drive.host == known.id).map(|drive| &drive.uuid);
            if known.address == address && mine.eq(drives.iter().map(|(uuid, _)| uuid)) {
                return Ok(ClusterReply::Host { host: known.id, epoch: self.map.epoch });
            }
            return Err(ClusterError::Exists { what: "host".into(), name });
        }
        if let Some(other) = self.map.hosts.iter().find(|host| host.address == address) {
            return invalid(format!("{address} is host {} of this cluster already", other.name));
        }
        if let Some((uuid, _)) = drives.iter().find(|(uuid, _)| self.map.drives.iter().any(|d| d.uuid == *uuid)) {
            return invalid(format!("drive {uuid} of host {name} is in this cluster already"));
        }
        let id = self.ids.next_host();
        self.map.hosts.push(HostEntry { id, name, address, state: HostState::Down, draining: false, slow: false });
        for (uuid, capacity_bytes) in drives {
            let drive = self.ids.next_drive();
            self.map.drives.push(DriveEntry { id: drive, host: id, uuid, capacity_bytes, state: DriveState::Active });
        }
        self.ids.store(stores);
        self.store_map(stores);
        Ok(ClusterReply::Host { host: id, epoch: self.map.epoch })
    }

    fn host_id(&self, name: &str) -> Result<HostId, ClusterError> {
        let missing = || ClusterError::NotFound { what: "host".into(), name: name.into() };
        Ok(self.map.host_named(name).ok_or_else(missing)?.id)
    }

    /// Begins to drain a host, or ends it.
    pub(crate) fn drain_host(
        &mut self,
        name: &str,
        drain: bool,
        stores: &mut Batch,
    ) -> Result<ClusterReply, ClusterError> {
        let id = self.host_id(name)?;
        let others = self.map.hosts.iter().filter(|host| host.id != id && !host.draining);
        let up = others.filter(|host| host.state == HostState::Up).count();
        if drain && geometry_for(self.map.geometry, up).is_none() {
            return Err(ClusterError::InUse {
                name: name.into(),
                reason: format!("without it {up} hosts would be left to write to, which is too few to write safely"),
            });
        }
        let host = self.map.hosts.iter_mut().find(|host| host.id == id && host.draining != drain);
        if let Some(host) = host {
            host.draining = drain;
            regroup(&mut self.map);
            self.store_map(stores);
        }
        Ok(ClusterReply::Done { epoch: self.map.epoch })
    }

    /// Takes a host out of the map, if nothing is on it.
    pub(crate) fn remove_host(
        &mut self,
        name: &str,
        force: bool,
        stores: &mut Batch,
    ) -> Result<ClusterReply, ClusterError> {
        let id = self.host_id(name)?;
        let refused = |reason| Err(ClusterError::InUse { name: name.into(), reason });
        if let Some(reason) = self.metadata_on(id).or_else(|| self.stripes_on(id, force)) {
            return refused(reason);
        }
        self.map.hosts.retain(|host| host.id != id);
        self.map.drives.retain(|drive| drive.host != id);
        self.heard_ms.remove(&id);
        self.drives.remove(&id);
        self.replicas.remove(&id);
        self.slow.forget(id);
        regroup(&mut self.map);
        self.store_map(stores);
        Ok(ClusterReply::Done { epoch: self.map.epoch })
    }

    /// Why a host cannot do without being drained, as far as metadata shards go.
    fn metadata_on(&self, id: HostId) -> Option<String> {
        let drain = "drain it ('forebay cluster host drain') and wait until 'forebay status -v' calls it drained";
        let wanted = self.map.shards.iter().filter(|shard| shard.replicas.contains(&id)).count();
        let host = self.map.host(id)?;
        if wanted > 0 {
            let state = if host.draining { "are still to be moved: wait" } else { drain };
            return Some(format!("{wanted} metadata shards should have a replica on it; {state}"));
        }
        let leaders = self.leaders();
        for shard in &self.map.shards {
            if self.gone(&leaders, id, shard.id).is_none() {
                return Some(format!("hosts of {} still count it as a member: wait", shard.id));
            }
        }
        let left = self.replicas.get(&id).map_or(0, Vec::len);
        if host.state == HostState::Up && left > 0 {
            return Some(format!("{left} replicas on it are still being erased: wait"));
        }
        let used = self.groups_on(id).next().is_some();
        (used && !host.draining).then(|| format!("stripes may be written to its drives; {drain}"))
    }

    fn groups_on(&self, id: HostId) -> impl Iterator<Item = &PlacementGroup> {
        let mine: BTreeSet<DriveId> = self.map.drives.iter().filter(|d| d.host == id).map(|d| d.id).collect();
        self.map.groups.iter().filter(move |group| group.drives.iter().any(|drive| mine.contains(drive)))
    }

    /// Why the drives of a host cannot go.
    fn stripes_on(&self, id: HostId, force: bool) -> Option<String> {
        self.groups_on(id).next()?;
        let host = self.map.host(id)?;
        let stats = self.drives.get(&id).filter(|_| host.state == HostState::Up);
        let mut drives = self.map.drives.iter().filter(|drive| drive.host == id);
        let counts = stats.and_then(|stats| {
            let of = |drive: &DriveEntry| stats.iter().find(|s| s.drive == drive.id && s.failure.is_empty());
            drives.try_fold(0, |sum, drive| Some(sum + of(drive)?.chunks))
        });
        match counts {
            Some(0) => None,
            _ if force => self.lost_without(id),
            Some(chunks) => Some(format!(
                "{chunks} chunks are on its drives, which nothing moves away yet (that comes with rebuilding); they go \
                 as their files are deleted or rewritten. --force gives them up where every byte can be had without them"
            )),
            None => Some(
                "what is on its drives is not known: it is down, or a drive of it has failed. Start it, or use --force, \
                 which gives its chunks up where every byte can be had without them"
                    .into(),
            ),
        }
    }

    /// Why bytes could be lost with a host's drives. A committed stripe has at least k+1 chunks that were durable, so k
    /// are left elsewhere if all other drives of its group work.
    fn lost_without(&self, id: HostId) -> Option<String> {
        for group in self.groups_on(id) {
            if group.geometry.parity == 0 {
                return Some(format!("stripes written {} have no parity: they would be lost", group.geometry));
            }
            for &drive in &group.drives {
                let mine = self.map.drive(drive).is_some_and(|entry| entry.host == id);
                let damaged = self.drives.values().flatten().any(|s| s.drive == drive && s.corrupt_chunks > 0);
                if !mine && (damaged || !self.map.drive_is_up(drive)) {
                    let what = if damaged { "has damaged chunks" } else { "is missing" };
                    return Some(format!(
                        "{drive} {what}, which has stripes in common with it: without both, bytes could be lost"
                    ));
                }
            }
        }
        None
    }

    /// What the leaders of shards last said, each of the latest term that anybody claims to lead in.
    fn leaders(&self) -> Leaders<'_> {
        let mut leaders: Leaders<'_> = BTreeMap::new();
        for (host, replicas) in &self.replicas {
            for replica in replicas.iter().filter(|replica| replica.leads) {
                let known = leaders.entry(replica.shard).or_insert((*host, replica));
                if known.1.term < replica.term {
                    *known = (*host, replica);
                }
            }
        }
        leaders
    }

    /// Takes the next step towards where replicas should be, if few are on their way; whether there was one.
    pub(crate) fn move_replicas(&mut self) -> bool {
        let leaders = self.leaders();
        let standing = |shard: ShardId| {
            let Some((_, said)) = leaders.get(&shard) else { return Standing::Moving { members: Vec::new() } };
            let wanted: BTreeSet<HostId> = self.map.shards[usize::from(shard.0)].replicas.iter().copied().collect();
            match said.learners.is_empty() && wanted == said.voters.iter().copied().collect() {
                true => Standing::Settled,
                false => Standing::Moving { members: said.voters.clone() },
            }
        };
        let all: Vec<Standing> = self.map.shards.iter().map(|shard| standing(shard.id)).collect();
        let moving = all.iter().filter(|standing| **standing != Standing::Settled).count();
        let next = next_move(&self.map, &|shard| match &all[usize::from(shard.0)] {
            Standing::Settled if moving >= MOVES_AT_ONCE => {
                Standing::Moving { members: self.map.shards[usize::from(shard.0)].replicas.clone() }
            }
            standing => standing.clone(),
        });
        let found = next.is_some();
        if let Some(next) = next {
            next.apply(&mut self.map);
        }
        found
    }

    /// Of a host's replicas, those that should not be there and that are no members of their groups any more.
    pub(crate) fn unwanted(&self, host: HostId, replicas: &[ReplicaStatus]) -> Vec<UnwantedReplica> {
        let wanted = |shard: ShardId| {
            self.map.shards.get(usize::from(shard.0)).is_none_or(|entry| entry.replicas.contains(&host))
        };
        let stray: Vec<ShardId> = replicas.iter().map(|replica| replica.shard).filter(|id| !wanted(*id)).collect();
        if stray.is_empty() {
            return Vec::new();
        }
        let leaders = self.leaders();
        stray.into_iter().filter_map(|shard| self.gone(&leaders, host, shard)).collect()
    }

    /// Whether a host is no member of a shard's group any more, by what the leader has applied, and all the other members
    /// know that, but those that are down: who does not know would wait for its vote.
    fn gone(&self, leaders: &Leaders<'_>, host: HostId, shard: ShardId) -> Option<UnwantedReplica> {
        let (_, said) = leaders.get(&shard)?;
        let without = |replica: &ReplicaStatus| {
            !replica.voters.is_empty() && !replica.voters.contains(&host) && !replica.learners.contains(&host)
        };
        let knows = |voter: &HostId| {
            let mut replicas = self.replicas.get(voter).into_iter().flatten();
            replicas.any(|replica| replica.shard == shard && without(replica))
        };
        let is_up = |voter: &HostId| self.map.host(*voter).is_some_and(|entry| entry.state == HostState::Up);
        let most = said.voters.iter().filter(|voter| knows(voter)).count() * 2 > said.voters.len();
        let all = said.voters.iter().all(|voter| knows(voter) || !is_up(voter));
        (without(said) && most && all).then_some(UnwantedReplica { shard, term: said.term, applied: said.applied })
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
