//! The door to the filesystem, over the client library.
//!
//! Holds one session at a time. A predecessor's is ended before anything is done, so that a change that a killed daemon
//! had on its way does not come after what this one does; one of its own that the cluster has ended, as after an outage
//! of the network, is replaced.

mod calls;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forebay_client::{ClientError, ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role};
use forebay_types::{Cred, FsId, InodeId, SessionId, TaskId, Uuid};
use forebay_wire::tier::{Progress, TaskSpec, TierError, TierReply, TierRequest, TierUser};
use tokio::sync::Mutex;

use crate::core::{NodeMark, ViewSpec};
use crate::forebay_fs::calls::{Calls, dataset_path};
use crate::fs::{CONTROL, Found, FsError, JOBS, Located, StagingFs};

/// How long one operation is tried before it counts as failed for now.
const TIMEOUT: Duration = Duration::from_secs(15);
const ROOT: Cred = Cred::ROOT;

/// A filesystem of a Forebay cluster, as the superuser.
pub struct ForebayFs {
    cluster: Cluster,
    name: String,
    client: String,
    id: FsId,
    opened: Mutex<Option<Calls>>,
}

impl ForebayFs {
    /// Opens a session on the filesystem `name` of the cluster that the hosts lead to. `client` is what the stager of
    /// one Slurm cluster is called, and nobody else: sessions of that name are a predecessor's, and are ended.
    pub async fn connect(
        hosts: Vec<String>,
        key: ClusterKey,
        name: &str,
        client: &str,
    ) -> Result<Arc<Self>, ClientError> {
        let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
        let cluster = Cluster::new(hosts, key, Role::Client, client, options);
        let fs = Filesystem::mount(&cluster, name, client).await?;
        if let Err(error) = end_predecessors(&fs, client).await {
            fs.abandon().await;
            return Err(error);
        }
        let id = fs.id();
        let opened = Mutex::new(Some(Calls { fs }));
        Ok(Arc::new(Self { cluster, name: name.into(), client: client.into(), id, opened }))
    }

    /// Ends the session.
    pub async fn close(&self) {
        if let Some(calls) = self.opened.lock().await.take() {
            calls.fs.abandon().await;
        }
    }

    /// The session, opened anew where the last one has ended.
    async fn calls(&self) -> Result<Calls, FsError> {
        let mut opened = self.opened.lock().await;
        if let Some(calls) = &*opened {
            return Ok(calls.clone());
        }
        let fs = Filesystem::mount(&self.cluster, &self.name, &self.client).await.map_err(failed(self.name.clone()))?;
        Ok(opened.insert(Calls { fs }).clone())
    }

    /// What came of calls of a session; one that has ended is given up.
    async fn said<T>(&self, session: SessionId, path: String, result: Result<T, ClientError>) -> Result<T, FsError> {
        if let Err(ClientError::SessionEnded) = result {
            let mut opened = self.opened.lock().await;
            if let Some(ended) = opened.take_if(|calls| calls.fs.session() == session) {
                tracing::warn!(%session, "the stager's session has ended, another is opened");
                ended.fs.abandon().await;
            }
        }
        result.map_err(failed(path))
    }
}

/// Ends the other sessions of this name, at every shard.
async fn end_predecessors(fs: &Filesystem, client: &str) -> Result<(), ClientError> {
    let status = fs.status().await?;
    let others = status.sessions.iter().filter(|(session, of, ..)| of == client && *session != fs.session());
    for (session, ..) in others {
        fs.fence(*session).await?;
        tracing::info!(%session, "the session of a stager that died is ended");
    }
    Ok(())
}

/// What a client error is to the stager.
fn failed(path: String) -> impl FnOnce(ClientError) -> FsError {
    move |error| match error {
        ClientError::Tier(error) => FsError::Tier(error),
        ClientError::Posix(errno) => FsError::Namespace { path, errno },
        other => FsError::Unreachable { reason: other.to_string() },
    }
}

#[async_trait]
impl StagingFs for ForebayFs {
    fn fs_id(&self) -> FsId {
        self.id
    }

    async fn locate(&self, uri: &str) -> Result<Option<Located>, FsError> {
        // Tiers may have been attached since the map was last seen.
        let map = self.cluster.current_map().await.map_err(failed(uri.into()))?;
        let below = |url: &str| {
            let rest = uri.strip_prefix(url)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        let tiers = map.tiers.iter().filter(|tier| tier.fs == self.id);
        let found = tiers.filter_map(|tier| below(&tier.url).map(|prefix| (tier, prefix)));
        let best = found.max_by_key(|(tier, _)| tier.url.len());
        Ok(best.map(|(tier, prefix)| Located { tier: tier.id, prefix }))
    }

    async fn probe(&self, at: &Located, user: TierUser, write: bool) -> Result<Found, FsError> {
        let request = TierRequest::Probe { tier: at.tier, prefix: at.prefix.clone(), as_user: Some(user), write };
        match self.cluster.probe(&request).await.map_err(failed(at.prefix.clone()))? {
            TierReply::Probed { files, bytes, file, pin } => Ok(Found { files, bytes, file, pin: pin.to_string() }),
            _ => Err(FsError::Unreachable { reason: "a probe was answered with something else".into() }),
        }
    }

    async fn ensure_dataset(&self, dataset: Uuid, uid: u32, gid: u32) -> Result<InodeId, FsError> {
        let calls = self.calls().await?;
        let made = calls.ensure_dataset(dataset, (uid, gid)).await;
        self.said(calls.fs.session(), dataset_path(dataset), made).await
    }

    async fn set_hold(&self, dataset: Uuid, job: u32) -> Result<(), FsError> {
        let calls = self.calls().await?;
        let set = calls.set_hold(dataset, job).await;
        self.said(calls.fs.session(), dataset_path(dataset), set).await
    }

    async fn drop_hold(&self, dataset: Uuid, job: u32) -> Result<(), FsError> {
        let calls = self.calls().await?;
        let dropped = calls.drop_hold(dataset, job).await;
        self.said(calls.fs.session(), dataset_path(dataset), dropped).await
    }

    async fn create_view(&self, view: &ViewSpec) -> Result<(), FsError> {
        let calls = self.calls().await?;
        let made = calls.make_view(view).await;
        self.said(calls.fs.session(), format!("{JOBS}/{}", view.job), made).await
    }

    async fn write_control(&self, job: u32, name: &str, content: &[u8]) -> Result<(), FsError> {
        let calls = self.calls().await?;
        let written = calls.replace(job, name, content).await;
        self.said(calls.fs.session(), format!("{JOBS}/{job}/{CONTROL}/{name}"), written).await
    }

    async fn nodes(&self, job: u32, restart: u32) -> Result<Vec<NodeMark>, FsError> {
        let calls = self.calls().await?;
        let marks = calls.node_marks(job, restart).await;
        self.said(calls.fs.session(), format!("{JOBS}/{job}/{CONTROL}/nodes"), marks).await
    }

    async fn resolve(&self, job: u32, path: &str) -> Result<Option<InodeId>, FsError> {
        let path = format!("{JOBS}/{job}/{path}");
        let calls = self.calls().await?;
        let found = calls.find(&path).await;
        Ok(self.said(calls.fs.session(), path, found).await?.map(|attr| attr.ino))
    }

    async fn jobs_directory(&self) -> Result<InodeId, FsError> {
        let calls = self.calls().await?;
        let attr = calls.fs.make_dirs(&ROOT, JOBS, 0o755).await;
        self.said(calls.fs.session(), JOBS.into(), attr).await.map(|attr| attr.ino)
    }

    async fn start_task(&self, task: TaskId, spec: TaskSpec) -> Result<(), FsError> {
        self.cluster.start_task(task, spec).await.map(drop).map_err(failed(format!("task {task}")))
    }

    async fn poll_task(&self, task: TaskId, version: u64, _wait_ms: u32) -> Result<Progress, FsError> {
        self.cluster.poll_task(task, version).await.map_err(failed(format!("task {task}")))
    }

    async fn cancel_task(&self, task: TaskId) -> Result<(), FsError> {
        match self.cluster.cancel_task(task).await {
            Ok(_) | Err(ClientError::Tier(TierError::NoTask)) => Ok(()),
            Err(error) => Err(failed(format!("task {task}"))(error)),
        }
    }
}
