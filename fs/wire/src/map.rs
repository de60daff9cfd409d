//! The cluster map: who the hosts are, what drives they have, and where everything lives.
//!
//! Held by the cluster group, cached by everyone else, versioned by its epoch. It is data only; the rules that change
//! it are the cluster core's.

use forebay_types::{DriveId, Epoch, FsId, Geometry, HostId, PgId, ShardId, TierId, Uuid};
use serde::{Deserialize, Serialize};

/// One version of the cluster map.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ClusterMap {
    /// The cluster's identity, drawn when it was created.
    pub cluster: Uuid,
    /// The cluster's name.
    pub name: String,
    /// This version.
    pub epoch: Epoch,
    /// The erasure code that stripes have while every host is up.
    pub geometry: Geometry,
    /// Hosts, by id.
    pub hosts: Vec<HostEntry>,
    /// Drives, by id.
    pub drives: Vec<DriveEntry>,
    /// Placement groups, by id. Groups are never removed while a stripe may name them.
    pub groups: Vec<PlacementGroup>,
    /// Metadata shards: entry n is shard n.
    pub shards: Vec<ShardEntry>,
    /// Filesystems, by id.
    pub filesystems: Vec<FsEntry>,
    /// Cold tiers, by id.
    pub tiers: Vec<TierEntry>,
}

/// A storage host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct HostEntry {
    /// Its id.
    pub id: HostId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where it listens, `ip:port`.
    pub address: String,
    /// Whether it answers.
    pub state: HostState,
    /// Whether it is being drained: nothing new goes onto it, and its replicas move away. What is on its drives is read.
    pub draining: bool,
    /// Whether it takes much longer than the other hosts: it should not lead.
    pub slow: bool,
}

/// Whether a host takes part.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum HostState {
    /// Answers.
    Up,
    /// Has not been heard of for the detector's limit.
    Down,
}

/// A drive.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DriveEntry {
    /// Its id.
    pub id: DriveId,
    /// The host it is in.
    pub host: HostId,
    /// What its superblock says it is.
    pub uuid: Uuid,
    /// Size in bytes.
    pub capacity_bytes: u64,
    /// Whether it is used.
    pub state: DriveState,
}

/// Whether a drive takes part.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum DriveState {
    /// Reads and writes.
    Active,
    /// Reported broken by its host: nothing is written to it.
    Failed,
}

/// An ordered list of drives in distinct hosts; chunk i of a stripe of the group is on drive i.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PlacementGroup {
    /// Its id.
    pub id: PgId,
    /// Data and parity chunks.
    pub geometry: Geometry,
    /// k+m drives.
    pub drives: Vec<DriveId>,
    /// Whether new stripes may be allocated in it.
    pub writable: bool,
    /// The layout it is of. Groups that were laid out together share their load evenly.
    pub layout: u32,
}

/// Where a metadata shard is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ShardEntry {
    /// The shard.
    pub id: ShardId,
    /// The hosts that should have a replica, the one that should lead first. Never empty, never the same host twice.
    pub replicas: Vec<HostId>,
}

/// A filesystem.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct FsEntry {
    /// Its id.
    pub id: FsId,
    /// Its name, unique in the cluster.
    pub name: String,
}

/// A cold tier attached to a filesystem. Credentials are not part of the map: only hosts can ask for them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct TierEntry {
    /// Its id.
    pub id: TierId,
    /// The filesystem it is attached to.
    pub fs: FsId,
    /// Its name, unique in the filesystem.
    pub name: String,
    /// Its root: `file:///absolute/dir` or `s3://bucket/prefix`.
    pub url: String,
    /// For `s3`: the endpoint's URL; empty means the region's own.
    pub endpoint: String,
    /// For `s3`: the region.
    pub region: String,
}

impl ClusterMap {
    /// The host of an id.
    #[must_use]
    pub fn host(&self, id: HostId) -> Option<&HostEntry> {
        self.hosts.iter().find(|h| h.id == id)
    }

    /// The drive of an id.
    #[must_use]
    pub fn drive(&self, id: DriveId) -> Option<&DriveEntry> {
        self.drives.iter().find(|d| d.id == id)
    }

    /// The placement group of an id.
    #[must_use]
    pub fn group(&self, id: PgId) -> Option<&PlacementGroup> {
        self.groups.iter().find(|g| g.id == id)
    }

    /// The hosts that have a replica of a metadata shard, the one that should lead first; none for no such shard.
    pub fn replicas(&self, id: ShardId) -> impl Iterator<Item = &HostEntry> {
        let replicas = self.shards.get(usize::from(id.0)).map_or(&[][..], |shard| shard.replicas.as_slice());
        replicas.iter().filter_map(|host| self.host(*host))
    }

    /// The filesystem of a name.
    #[must_use]
    pub fn filesystem(&self, name: &str) -> Option<&FsEntry> {
        self.filesystems.iter().find(|f| f.name == name)
    }

    /// The host of a name.
    #[must_use]
    pub fn host_named(&self, name: &str) -> Option<&HostEntry> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// Whether new stripes may be put on a drive: it takes part, and its host is not being drained.
    #[must_use]
    pub fn drive_takes_new(&self, id: DriveId) -> bool {
        self.drive_is_up(id) && self.drive(id).and_then(|d| self.host(d.host)).is_some_and(|host| !host.draining)
    }

    /// Whether a drive and its host take part.
    #[must_use]
    pub fn drive_is_up(&self, id: DriveId) -> bool {
        self.drive(id).is_some_and(|d| {
            d.state == DriveState::Active && self.host(d.host).is_some_and(|h| h.state == HostState::Up)
        })
    }
}
