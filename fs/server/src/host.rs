//! A host's life: start, become a member of a cluster, serve, stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_client::{ClientOptions, Cluster as Client};
use forebay_env::{Durability, Kv, KvError};
use forebay_meta::{ReceiptKey, ShardError};
use forebay_net::{ClusterKey, KeyError, Role, Server};
use forebay_storage::drive::{self, NewDrive, OpenError};
use forebay_storage::kv::RocksKv;
use forebay_types::{DriveId, Epoch, HostId, ShardId, Uuid};
use forebay_wire::cluster::ClusterError;
use forebay_wire::map::ClusterMap;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::cluster_service::ClusterGroup;
use crate::drives::Drives;
use crate::identity::{self, DriveSpec, KnownDrive, Membership};
use crate::metadata::{self, Metadata, Setup};
use crate::mover::Mover;
use crate::peers::SharedMap;

/// How long requests under way may take when the host stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a host is started with.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Directory for metadata and identity; one host a directory.
    pub dir: PathBuf,
    /// The host's name, unique in its cluster.
    pub name: String,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// The cluster's key.
    pub key: ClusterKey,
    /// Its drives. Files that do not exist are made; they are remembered by path.
    pub drives: Vec<DriveSpec>,
}

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The metadata store.
    #[error(transparent)]
    Open(#[from] forebay_storage::kv::OpenError),
    /// The metadata store, later.
    #[error(transparent)]
    Store(#[from] KvError),
    /// A drive.
    #[error(transparent)]
    Drive(#[from] OpenError),
    /// A metadata shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// No randomness.
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What a host has from its start on.
pub(crate) struct Inner {
    pub config: HostConfig,
    pub known_drives: Vec<KnownDrive>,
    kv: Arc<dyn Kv>,
    clock: Arc<Clock>,
    member: OnceLock<Arc<Member>>,
    forming: tokio::sync::Mutex<()>,
    tasks: std::sync::Mutex<JoinSet<()>>,
}

/// What a host has once it is in a cluster.
pub(crate) struct Member {
    pub id: HostId,
    pub map: SharedMap,
    pub kv: Arc<dyn Kv>,
    pub client: Client,
    pub drives: Drives,
    pub metadata: Arc<Metadata>,
    pub group: Arc<ClusterGroup>,
    pub mover: Arc<Mover>,
}

/// A running host. Dropping it breaks everything off, as a crash would.
pub struct Host {
    inner: Arc<Inner>,
    server: Server,
}

impl Host {
    /// Starts a host: opens its store and its drives, and, if it is in a cluster, serves what the map gives it.
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        let io = |what: String| move |source| HostError::Io { what, source };
        std::fs::create_dir_all(&config.dir).map_err(io(format!("cannot make {}", config.dir.display())))?;
        let kv: Arc<dyn Kv> = Arc::new(RocksKv::open(&config.dir.join("meta"))?);
        let known_drives = prepare_drives(&*kv, &config.drives)?;
        let inner = Arc::new(Inner {
            known_drives,
            kv: kv.clone(),
            clock: Arc::new(Clock::new()),
            member: OnceLock::new(),
            forming: tokio::sync::Mutex::new(()),
            tasks: std::sync::Mutex::new(JoinSet::new()),
            config,
        });
        if let Some(membership) = identity::load_membership(&*kv)? {
            inner.become_member(membership).await?;
        }
        let (listen, key, name) = (inner.config.listen, inner.config.key.clone(), inner.config.name.clone());
        let server = Server::bind(listen, key, name, inner.clone())
            .await
            .map_err(io(format!("host {} cannot serve", inner.config.name)))?;
        Ok(Self { inner, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops: lets requests under way end, closes the drives.
    pub async fn stop(self) {
        if !self.server.shutdown(STOP_GRACE).await {
            tracing::warn!("requests under way did not end in time and were broken off");
        }
        self.inner.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).abort_all();
        if let Some(member) = self.inner.member.get() {
            member.mover.shutdown().await;
            member.drives.shutdown().await;
        }
    }
}

/// Makes the drives that are not there yet, and remembers all that were ever named.
fn prepare_drives(kv: &dyn Kv, specs: &[DriveSpec]) -> Result<Vec<KnownDrive>, HostError> {
    let mut known = identity::load_drives(kv)?;
    let mut changed = false;
    for spec in specs {
        if known.iter().any(|drive| drive.path == spec.path) {
            continue;
        }
        let mut uuid = [0; 16];
        getrandom::fill(&mut uuid).map_err(HostError::Random)?;
        let drive = KnownDrive { path: spec.path.clone(), size_bytes: spec.size_bytes, uuid: Uuid(uuid) };
        if let Some(folder) = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| HostError::Io { what: format!("cannot make {}", folder.display()), source })?;
        }
        let new = NewDrive {
            size_bytes: drive.size_bytes,
            segment_bytes: None,
            drive: drive.uuid,
            cluster: Uuid::NIL,
            drive_id: DriveId(0),
        };
        match drive::create(&drive.path, &new) {
            Ok(_) => known.push(drive),
            // Made by a start that died before it was remembered: taken over if it belongs to nobody.
            Err(error @ OpenError::Exists { .. }) => match drive::inspect(&drive.path) {
                Ok(found) if found.cluster == Uuid::NIL => known.push(KnownDrive { uuid: found.drive, ..drive }),
                _ => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
        changed = true;
    }
    if changed {
        identity::store_drives(kv, &known)?;
    }
    Ok(known)
}

impl Inner {
    /// The host's part in a cluster, if it has one.
    pub fn member(&self) -> Option<Arc<Member>> {
        self.member.get().cloned()
    }

    /// Becomes a member of a cluster; a second time with the same cluster does nothing. Its metadata shards begin with
    /// the cluster, if that is `new`, and are else sent by their leaders.
    pub async fn join(self: &Inner, map: ClusterMap, you: HostId, new: bool) -> Result<Epoch, ClusterError> {
        let _one_at_a_time = self.forming.lock().await;
        if let Some(member) = self.member() {
            let mine = member.map.get();
            if mine.cluster == map.cluster && member.id == you {
                return Ok(mine.epoch);
            }
            return Err(ClusterError::OtherCluster { name: self.config.name.clone(), cluster: mine.cluster });
        }
        let invalid = |reason: String| ClusterError::Invalid { reason };
        for entry in map.drives.iter().filter(|drive| drive.host == you) {
            let known = self.known_drives.iter().find(|known| known.uuid == entry.uuid);
            let known =
                known.ok_or_else(|| invalid(format!("host {} has no drive {}", self.config.name, entry.uuid)))?;
            drive::adopt(&known.path, map.cluster, entry.id).map_err(|error| invalid(error.to_string()))?;
        }
        let mut batch = identity::membership_batch(you, &map);
        if new {
            batch.writes.extend(metadata::first_batch(&map, you).writes);
        }
        let storage = |error: KvError| ClusterError::Storage { reason: error.reason };
        self.kv.write(batch, Durability::Flushed).map_err(storage)?;
        let epoch = map.epoch;
        self.become_member(Membership { host: you, map }).await.map_err(|error| invalid(error.to_string()))?;
        Ok(epoch)
    }

    async fn become_member(self: &Inner, membership: Membership) -> Result<(), HostError> {
        let Membership { host: id, map } = membership;
        let shared = SharedMap::new(map.clone());
        let receipt_key = ReceiptKey::derive(&self.config.key.derive("forebay receipts"));
        let seeds = map.hosts.iter().map(|host| host.address.clone()).collect();
        let (key, name) = (self.config.key.clone(), self.config.name.as_str());
        let client = Client::new(seeds, key, Role::Host, name, ClientOptions::default());
        client.learn((*shared.get()).clone());
        let mut drives = Drives::new(receipt_key.clone());
        for entry in map.drives.iter().filter(|drive| drive.host == id) {
            match self.known_drives.iter().find(|known| known.uuid == entry.uuid) {
                Some(known) => drives.open(entry.id, &known.path, map.cluster, entry.capacity_bytes)?,
                None => tracing::error!(drive = %entry.id, uuid = %entry.uuid, "drive of this host is not known here"),
            }
        }
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(HostError::Random)?;
        let (took_over, taken_over) = tokio::sync::mpsc::unbounded_channel();
        let setup = Setup {
            me: id,
            kv: self.kv.clone(),
            clock: self.clock.clone(),
            map: shared.clone(),
            client: client.clone(),
            receipt_key,
            // As many as there are elections won, each seen to at once; refused only while the host stops.
            took_over: Box::new(move |shard| took_over.send(shard).unwrap_or_default()),
            seed: u64::from_le_bytes(seed),
        };
        let metadata = Metadata::start(setup)?;
        let group = Arc::new(ClusterGroup::new(metadata.clone(), self.clock.clone()));
        let mover = Mover::new(client.clone(), self.config.name.clone());
        let member = Arc::new(Member { id, map: shared, kv: self.kv.clone(), client, drives, metadata, group, mover });
        self.spawn_background(&member, taken_over);
        tracing::info!(host = self.config.name, cluster = map.name, epoch = %map.epoch, "member of a cluster");
        // Set once: `form` is guarded, and `start` calls this before anybody can ask.
        let _ = self.member.set(member);
        Ok(())
    }

    fn spawn_background(&self, member: &Arc<Member>, mut taken_over: UnboundedReceiver<ShardId>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.spawn(member.clone().beat());
        tasks.spawn(member.clone().collect_garbage());
        tasks.spawn(member.clone().share_quotas());
        tasks.spawn(member.group.clone().run());
        tasks.spawn(member.metadata.clone().lapse());
        let (group, metadata) = (member.group.clone(), member.metadata.clone());
        tasks.spawn(async move {
            let mut settling = JoinSet::new();
            while let Some(shard) = taken_over.recv().await {
                while settling.try_join_next().is_some() {}
                settling.spawn(metadata.clone().settle_in(shard));
                if shard == ShardId(0) {
                    settling.spawn(make_roots(group.clone(), metadata.clone()));
                }
            }
        });
    }
}

/// A host that died between keeping a filesystem and making its root left that to the next leader.
async fn make_roots(group: Arc<ClusterGroup>, metadata: Arc<Metadata>) {
    for fs in group.filesystems().await {
        if let Err(error) = metadata.make_root(fs).await {
            tracing::warn!(%fs, %error, "root directory not made, the next leader will");
        }
    }
}
