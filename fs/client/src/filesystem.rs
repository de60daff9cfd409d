//! A filesystem, mounted by one session.

use std::sync::Arc;
use std::time::Duration;

use forebay_types::{Cred, FsId, InodeId, SessionId};
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest, ClusterStatus};
use forebay_wire::meta::MutateOp;

use crate::file::Files;
use crate::leases::Leases;
use crate::pool::StripePool;
use crate::session::Session;
use crate::shard::Shards;
use crate::stripe::Stripes;
use crate::{ClientError, Cluster};

/// A filesystem. Cheap to clone; clones share the session and everything cached. End it with [`Self::unmount`] or
/// [`Self::abandon`]: until then its session is kept alive.
#[derive(Clone)]
pub struct Filesystem {
    pub(crate) shards: Shards,
    pub(crate) stripes: Stripes,
    pub(crate) pool: Arc<StripePool>,
    pub(crate) files: Arc<Files>,
    name: Arc<str>,
    background: Arc<Background>,
}

/// The tasks that write back what is old, and keep leases good. They have handles of their own, so dropping handles
/// does not end them: [`Filesystem::unmount`] and [`Filesystem::abandon`] do.
struct Background {
    tasks: std::sync::Mutex<tokio::task::JoinSet<()>>,
}

impl Background {
    fn stop(&self) {
        self.lock().abort_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, tokio::task::JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Filesystem {
    /// Opens a session on the filesystem of a name. `client` is this node's name, for people.
    pub async fn mount(cluster: &Cluster, name: &str, client: &str) -> Result<Self, ClientError> {
        let id = Self::find(cluster, name).await?;
        let session = Arc::new(Session::open(cluster, client, name).await?);
        let files: Arc<Files> = Arc::default();
        let background = Arc::new(Background { tasks: std::sync::Mutex::default() });
        let this = Self {
            shards: Shards {
                cluster: cluster.clone(),
                session,
                fs: id,
                opens: Arc::default(),
                leases: Arc::new(Leases::new(cluster.options().delegate)),
                files: files.clone(),
                locks: Arc::default(),
            },
            stripes: Stripes::new(cluster.clone()),
            pool: Arc::default(),
            files,
            name: name.into(),
            background,
        };
        this.background.lock().spawn(this.clone().write_back_old());
        this.background.lock().spawn(this.clone().keep_leases());
        this.background.lock().spawn(this.clone().keep_log_short());
        Ok(this)
    }

    /// The id of a filesystem, by the map as it is now where the one we know does not have it.
    async fn find(cluster: &Cluster, name: &str) -> Result<FsId, ClientError> {
        let known = cluster.map().await?;
        let map = if known.filesystem(name).is_some() { known } else { cluster.current_map().await? };
        match map.filesystem(name) {
            Some(fs) => Ok(fs.id),
            None => {
                let have: Vec<&str> = map.filesystems.iter().map(|fs| fs.name.as_str()).collect();
                let have = if have.is_empty() { "none".into() } else { have.join(", ") };
                Err(ClusterError::NoFilesystem { name: name.into(), have }.into())
            }
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> FsId {
        self.shards.fs
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster it is of.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.shards.cluster
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.shards.session.id
    }

    /// Its root directory.
    #[must_use]
    pub fn root(&self) -> InodeId {
        InodeId::ROOT
    }

    /// Health of the cluster.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        match self.shards.cluster.ask(&ClusterRequest::Status).await? {
            ClusterReply::Status(status) => Ok(*status),
            _ => Err(ClientError::UnexpectedReply { what: "Status" }),
        }
    }

    /// Ends the session of another client. After that no change which that client still has on its way is made: every
    /// shard has been told, those too that have never heard of the session.
    pub async fn fence(&self, session: SessionId) -> Result<(), ClientError> {
        self.shards.cluster.ask(&ClusterRequest::CloseSession { session }).await?;
        let map = self.shards.cluster.map().await?;
        let tell = |shard| async move {
            let told = self.shards.mutate(shard, &Cred::ROOT, MutateOp::EndSession { session }).await;
            told.map_err(|reason| ClientError::NotFenced { session, shard, reason: Box::new(reason) })
        };
        futures::future::try_join_all(map.shards.iter().map(|shard| tell(shard.id))).await.map(drop)
    }

    /// Flushes everything and ends the session. What could not be flushed within the operation timeout is reported
    /// and lost.
    pub async fn unmount(&self) -> Result<(), ClientError> {
        let flushed = self.sync_all().await;
        self.abandon().await;
        flushed
    }

    /// Ends the session without flushing.
    pub async fn abandon(&self) {
        self.background.stop();
        self.shards.session.close(Duration::from_secs(5)).await;
    }
}
