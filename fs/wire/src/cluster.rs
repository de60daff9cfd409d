//! Service *cluster*: everyone to a host, for the map, sessions, filesystems and tiers.
//!
//! Any host answers [`ClusterRequest::Identify`] and [`ClusterRequest::GetMap`]; the rest is for the host that leads
//! shard 0, the cluster group's, and others answer [`ClusterError::NotHere`] naming it.

use forebay_types::{DriveId, Epoch, FsId, Geometry, HostId, SessionId, ShardId, TierId, Uuid};
use serde::{Deserialize, Serialize};

use crate::chunk::DriveStats;
use crate::map::ClusterMap;

/// What can be asked of the cluster service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ClusterRequest {
    /// Who are you, and what drives have you?
    Identify,
    /// Give me the map if yours is newer than this.
    GetMap {
        /// Epoch the caller has; 0 for none.
        newer_than: Epoch,
    },
    /// Become part of this new cluster (sent by `forebay cluster create` to every host; idempotent for one map).
    Form {
        /// The first map.
        map: Box<ClusterMap>,
        /// Which host of it the receiver is.
        you: HostId,
    },
    /// A host is alive.
    Heartbeat(Heartbeat),
    /// Start a session for a client.
    OpenSession {
        /// The client's host name, for people.
        client: String,
        /// The filesystem it mounts.
        fs: String,
    },
    /// A client is alive.
    RenewSession {
        /// Its session.
        session: SessionId,
    },
    /// A client has finished.
    CloseSession {
        /// Its session.
        session: SessionId,
    },
    /// What an administrator asks for.
    Admin {
        /// Its name, drawn by whoever asks and the same in every attempt: asked again, the first answer is given.
        id: Uuid,
        /// What.
        request: AdminRequest,
    },
    /// Credentials of a tier; only hosts may ask.
    TierCredentials {
        /// The tier.
        tier: TierId,
    },
    /// Health of the cluster.
    Status,
    /// Become part of this cluster, which is there already (sent by `forebay cluster host add` to the host; idempotent).
    Join {
        /// A map that has the receiver.
        map: Box<ClusterMap>,
        /// Which host of it the receiver is.
        you: HostId,
    },
    /// Give me the map as it is now. Answered by the cluster group only, after everything that was changed before.
    CurrentMap,
}

/// Changes of the cluster that an administrator asks for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum AdminRequest {
    /// Make a filesystem.
    CreateFs {
        /// Its name.
        name: String,
    },
    /// Attach a cold tier to a filesystem.
    AttachTier(AttachTier),
    /// Take a cold tier off a filesystem that has no extent in it.
    DetachTier {
        /// The filesystem's name.
        fs: String,
        /// The tier's name.
        name: String,
    },
    /// Take a host into the map. It takes part once it has been told ([`ClusterRequest::Join`]) and sends signs of life.
    /// For a host that is in the map already, with the same address and drives, the answer is the same.
    AddHost(FormingHost),
    /// Put nothing new on a host and move its replicas of metadata shards away, or stop doing so.
    DrainHost {
        /// The host's name.
        name: String,
        /// Whether to drain it.
        drain: bool,
    },
    /// Take a host on which nothing is left out of the map.
    RemoveHost {
        /// The host's name.
        name: String,
        /// Also where its drives hold chunks, or cannot be asked, as long as every byte can be had without them.
        force: bool,
    },
}

/// A host's sign of life.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Heartbeat {
    /// The host.
    pub host: HostId,
    /// Map epoch it has.
    pub epoch: Epoch,
    /// Its drives.
    pub drives: Vec<DriveStats>,
    /// Sessions that the shards it leads remember.
    pub sessions: Vec<SessionId>,
    /// The shards it has replicas of.
    pub replicas: Vec<ReplicaStatus>,
    /// How long its metadata store took of late to make a batch durable, in microseconds; 0 where it had none.
    pub flush_us: u32,
    /// How long other hosts took of late to answer it, in microseconds.
    pub answers_us: Vec<(HostId, u32)>,
}

/// A host's replica of a metadata shard.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReplicaStatus {
    /// The shard.
    pub shard: ShardId,
    /// Whether this replica leads it.
    pub leads: bool,
    /// The term it is in.
    pub term: u64,
    /// Index of the last entry it has applied.
    pub applied: u64,
    /// Index of the last entry in its log.
    pub last: u64,
    /// The hosts that have a vote, as far as this replica knows.
    pub voters: Vec<HostId>,
    /// The hosts that are catching up.
    pub learners: Vec<HostId>,
}

/// A tier to attach.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct AttachTier {
    /// The filesystem's name.
    pub fs: String,
    /// The tier's name.
    pub name: String,
    /// Its root.
    pub url: String,
    /// For `s3`: the endpoint's URL.
    pub endpoint: String,
    /// For `s3`: the region.
    pub region: String,
    /// For `s3`: credentials.
    pub credentials: TierCredentials,
}

/// Credentials of an object store. Shown to nobody: `Debug` hides them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TierCredentials {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
}

impl std::fmt::Debug for TierCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TierCredentials(hidden)")
    }
}

/// What the cluster service answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ClusterReply {
    /// Answer to [`ClusterRequest::Identify`].
    Identity(Identity),
    /// Answer to [`ClusterRequest::GetMap`]; absent where the caller's is as new, or the host is in no
    /// cluster. Answer to [`ClusterRequest::CurrentMap`].
    Map(Option<Box<ClusterMap>>),
    /// Done.
    Done {
        /// Map epoch after it.
        epoch: Epoch,
    },
    /// Answer to [`ClusterRequest::Heartbeat`].
    Heartbeat {
        /// Current map epoch; fetch the map if yours is older.
        epoch: Epoch,
        /// Of the sessions named, those that have ended.
        ended: Vec<SessionId>,
        /// Of the replicas named, those that their groups have no more.
        unwanted: Vec<UnwantedReplica>,
    },
    /// A session.
    Session {
        /// Its id.
        session: SessionId,
        /// It ends this long after the last renewal, in milliseconds.
        timeout_ms: u64,
    },
    /// A filesystem was made or found.
    Filesystem {
        /// Its id.
        fs: FsId,
        /// Map epoch after it.
        epoch: Epoch,
    },
    /// A tier was attached.
    Tier {
        /// Its id.
        tier: TierId,
        /// Map epoch after it.
        epoch: Epoch,
    },
    /// Answer to [`ClusterRequest::TierCredentials`].
    Credentials(TierCredentials),
    /// Answer to [`ClusterRequest::Status`].
    Status(Box<ClusterStatus>),
    /// Refused.
    Error(ClusterError),
    /// A host is in the map.
    Host {
        /// Its id.
        host: HostId,
        /// Map epoch in which it is.
        epoch: Epoch,
    },
}

/// A replica that is no member of its group any more: what its leader has applied says so, and that was committed. The
/// other members know.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct UnwantedReplica {
    /// The shard.
    pub shard: ShardId,
    /// The term of the leader that said so.
    pub term: u64,
    /// Index of the last entry it had applied.
    pub applied: u64,
}

/// What a host says of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Version of `forebayd`.
    pub version: String,
    /// The cluster it is in; [`Uuid::NIL`] for none.
    pub cluster: Uuid,
    /// Its id in the cluster; 0 for none.
    pub host: HostId,
    /// Its drives: identity and size in bytes.
    pub drives: Vec<(Uuid, u64)>,
}

/// Health of the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ClusterStatus {
    /// The map.
    pub map: ClusterMap,
    /// Last known state of every drive heard of.
    pub drives: Vec<DriveStats>,
    /// Client sessions: id, client's host name, filesystem, milliseconds since the last renewal.
    pub sessions: Vec<(SessionId, String, String, u64)>,
    /// Replicas of metadata shards, by host, as last heard.
    pub replicas: Vec<(HostId, Vec<ReplicaStatus>)>,
}

/// Why the cluster service refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum ClusterError {
    /// The host is not in a cluster yet.
    #[error("host {name} is in no cluster yet: run 'forebay cluster create' first")]
    NotFormed {
        /// The host.
        name: String,
    },
    /// The host already belongs to another cluster.
    #[error("host {name} already belongs to cluster {cluster}: use an empty data directory")]
    OtherCluster {
        /// The host.
        name: String,
        /// The cluster it is in.
        cluster: Uuid,
    },
    /// Another host leads the cluster group, or none does at present.
    #[error("the cluster group is led by another host")]
    NotHere {
        /// That host, if this one knows.
        leader: Option<HostId>,
    },
    /// No filesystem of that name.
    #[error("there is no filesystem '{name}'; there are: {have}")]
    NoFilesystem {
        /// The name asked for.
        name: String,
        /// The names there are.
        have: String,
    },
    /// Something is still on the host.
    #[error("host {name} cannot be removed: {reason}")]
    InUse {
        /// The host.
        name: String,
        /// What is on it, and what to do.
        reason: String,
    },
    /// The host that asks has been removed from the cluster.
    #[error("{host} is in this cluster no more: it has been removed")]
    Removed {
        /// The host.
        host: HostId,
    },
    /// The name is taken by something else.
    #[error("{what} '{name}' exists already")]
    Exists {
        /// Kind of thing.
        what: String,
        /// The name.
        name: String,
    },
    /// No such thing.
    #[error("there is no {what} '{name}'")]
    NotFound {
        /// Kind of thing.
        what: String,
        /// The name.
        name: String,
    },
    /// The session has ended.
    #[error("{session} has ended: mount again")]
    SessionEnded {
        /// The session.
        session: SessionId,
    },
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What is wrong and how to mend it.
        reason: String,
    },
    /// Only hosts may ask this.
    #[error("only storage hosts may ask for this")]
    HostsOnly,
    /// The map could not be stored.
    #[error("the cluster map could not be stored: {reason}")]
    Storage {
        /// What storage said.
        reason: String,
    },
}

/// A cluster to be: what `forebay cluster create` asks the cluster core for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Formation {
    /// The cluster's name.
    pub name: String,
    /// Its identity, freshly drawn.
    pub cluster: Uuid,
    /// The erasure code.
    pub geometry: Geometry,
    /// Number of metadata shards.
    pub shards: u16,
    /// Hosts, in order.
    pub hosts: Vec<FormingHost>,
}

/// A host that a cluster is formed of, or that joins one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct FormingHost {
    /// Its name.
    pub name: String,
    /// Where it listens, `ip:port`.
    pub address: String,
    /// Its drives: identity and size in bytes.
    pub drives: Vec<(Uuid, u64)>,
}

/// A drive that a host reports as broken.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DriveFailure {
    /// The drive.
    pub drive: DriveId,
    /// What the operating system said.
    pub reason: String,
}
