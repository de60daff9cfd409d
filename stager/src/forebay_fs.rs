//! The door to the filesystem, over the client library.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_client::{ClientError, ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role};
use forebay_types::{Attr, Cred, Errno, FileKind, FsId, InodeId, LifetimeClass, TaskId, Uuid};
use forebay_wire::meta::{NewNode, RenameHow, SetAttr, XattrWhen};
use forebay_wire::tier::{Progress, TaskSpec, TierError, TierReply, TierRequest, TierUser};

use crate::core::{NodeMark, ViewSpec};
use crate::fs::{CONTROL, DATASETS, DATASETS_FROM_INPUT, Found, FsError, JOBS, Located, StagingFs, hold_attribute};

/// How long one operation is tried before it counts as failed for now.
const TIMEOUT: Duration = Duration::from_secs(15);
const ROOT: Cred = Cred::ROOT;

/// A filesystem of a Forebay cluster, as the superuser.
pub struct ForebayFs {
    fs: Filesystem,
}

impl ForebayFs {
    /// Opens a session on the filesystem `name` of the cluster that the hosts lead to.
    pub async fn connect(hosts: Vec<String>, key: ClusterKey, name: &str) -> Result<Arc<Self>, ClientError> {
        let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
        let cluster = Cluster::new(hosts, key, Role::Client, "stagerd", options);
        Ok(Arc::new(Self { fs: Filesystem::mount(&cluster, name, "stagerd").await? }))
    }

    /// Ends the session.
    pub async fn close(&self) {
        self.fs.abandon().await;
    }

    /// A directory in another, made if it is missing, with this owner, mode and lifetime class.
    async fn directory(
        &self,
        parent: InodeId,
        name: &str,
        owner: (u32, u32),
        mode: u16,
        class: Option<LifetimeClass>,
    ) -> Result<Attr, ClientError> {
        let attr = self.fs.make_dir(&ROOT, parent, name.as_bytes(), mode).await?;
        let right = (attr.uid, attr.gid) == owner && attr.mode == mode;
        if right && class.is_none() {
            return Ok(attr);
        }
        let set = SetAttr { uid: Some(owner.0), gid: Some(owner.1), class, ..SetAttr::default() };
        self.fs.set(&ROOT, attr.ino, set).await?;
        // Last, as giving a directory away takes its set-id bits.
        self.fs.set(&ROOT, attr.ino, SetAttr { mode: Some(mode), ..SetAttr::default() }).await
    }

    async fn lookup(&self, parent: InodeId, name: &str) -> Result<Option<Attr>, ClientError> {
        match self.fs.lookup(&ROOT, parent, name.as_bytes()).await {
            Ok(attr) => Ok(Some(attr)),
            Err(ClientError::Posix(Errno::NoEntry | Errno::NotDirectory)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A path from the root on, links not followed.
    async fn find(&self, path: &str) -> Result<Option<Attr>, ClientError> {
        match self.fs.resolve(&ROOT, path).await {
            Ok(attr) => Ok(Some(attr)),
            Err(ClientError::Posix(Errno::NoEntry | Errno::NotDirectory)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn link(&self, dir: InodeId, name: &str, target: &str) -> Result<(), ClientError> {
        if let Some(found) = self.lookup(dir, name).await? {
            if found.kind == FileKind::Symlink && self.fs.readlink(&ROOT, found.ino).await? == target.as_bytes() {
                return Ok(());
            }
            self.fs.unlink(&ROOT, dir, name.as_bytes()).await?;
        }
        let node = NewNode::Symlink(Bytes::copy_from_slice(target.as_bytes()));
        self.fs.create(&ROOT, dir, name.as_bytes(), node, 0o777, true).await.map(drop)
    }

    async fn make_view(&self, view: &ViewSpec) -> Result<(), ClientError> {
        let owner = (view.uid, view.gid);
        let jobs = self.fs.make_dirs(&ROOT, JOBS, 0o755).await?.ino;
        let top = self.directory(jobs, &view.job.to_string(), owner, 0o700, None).await?.ino;
        for scratch in &view.scratch {
            self.directory(top, &scratch.name, owner, 0o700, Some(LifetimeClass::Job)).await?;
        }
        self.directory(top, "out", owner, 0o700, Some(LifetimeClass::Job)).await?;
        self.directory(top, CONTROL, (0, 0), 0o755, None).await?;
        let inputs = self.directory(top, "in", (0, 0), 0o755, None).await?.ino;
        for input in &view.inputs {
            let mut target = format!("{DATASETS_FROM_INPUT}/{}", input.dataset);
            if let Some(file) = &input.file {
                target = format!("{target}/{file}");
            }
            self.link(inputs, &input.name, &target).await?;
        }
        Ok(())
    }

    /// Writes a file beside its final name and renames it over.
    async fn replace(&self, job: u32, name: &str, content: &[u8]) -> Result<(), ClientError> {
        let control = self.fs.resolve(&ROOT, &format!("{JOBS}/{job}/{CONTROL}")).await?.ino;
        let fresh = format!(".{name}.new");
        match self.fs.unlink(&ROOT, control, fresh.as_bytes()).await {
            Ok(()) | Err(ClientError::Posix(Errno::NoEntry)) => {}
            Err(error) => return Err(error),
        }
        let file = self.fs.create(&ROOT, control, fresh.as_bytes(), NewNode::File, 0o644, true).await?.attr.ino;
        self.fs.write(file, 0, Bytes::copy_from_slice(content)).await?;
        self.fs.fsync(file).await?;
        self.fs.rename(&ROOT, (control, fresh.as_bytes()), (control, name.as_bytes()), RenameHow::Replace).await
    }

    async fn node_marks(&self, job: u32, restart: u32) -> Result<Vec<NodeMark>, ClientError> {
        let Some(dir) = self.find(&format!("{JOBS}/{job}/{CONTROL}/nodes/{restart}")).await? else {
            return Ok(Vec::new());
        };
        let mut nodes: std::collections::BTreeMap<String, bool> = std::collections::BTreeMap::new();
        for entry in self.fs.list(&ROOT, dir.ino).await? {
            let Ok(name) = std::str::from_utf8(&entry.name) else { continue };
            match name.rsplit_once('.') {
                Some((node, "attached")) => {
                    nodes.entry(node.into()).or_default();
                }
                Some((node, "detached")) => {
                    nodes.insert(node.into(), true);
                }
                _ => {}
            }
        }
        Ok(nodes.into_iter().map(|(node, detached)| NodeMark { node, detached }).collect())
    }

    fn dataset_path(dataset: Uuid) -> String {
        format!("{DATASETS}/{dataset}")
    }
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
        self.fs.id()
    }

    async fn locate(&self, uri: &str) -> Result<Option<Located>, FsError> {
        // Tiers may have been attached since the map was last seen.
        let map = self.fs.cluster().refresh().await.map_err(failed(uri.into()))?;
        let below = |url: &str| {
            let rest = uri.strip_prefix(url)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        let tiers = map.tiers.iter().filter(|tier| tier.fs == self.fs.id());
        let found = tiers.filter_map(|tier| below(&tier.url).map(|prefix| (tier, prefix)));
        let best = found.max_by_key(|(tier, _)| tier.url.len());
        Ok(best.map(|(tier, prefix)| Located { tier: tier.id, prefix }))
    }

    async fn probe(&self, at: &Located, user: TierUser, write: bool) -> Result<Found, FsError> {
        let request = TierRequest::Probe { tier: at.tier, prefix: at.prefix.clone(), as_user: Some(user), write };
        let mover = Cluster::new_task_id().map_err(failed(at.prefix.clone()))?;
        match self.fs.cluster().ask_mover(mover, &request).await.map_err(failed(at.prefix.clone()))? {
            TierReply::Probed { files, bytes, file, pin } => Ok(Found { files, bytes, file, pin: pin.to_string() }),
            TierReply::Error(error) => Err(error.into()),
            TierReply::Progress(_) => Err(FsError::Unreachable { reason: "a probe was answered by a task".into() }),
        }
    }

    async fn ensure_dataset(&self, dataset: Uuid, uid: u32, gid: u32) -> Result<InodeId, FsError> {
        let path = Self::dataset_path(dataset);
        let result = async {
            let parent = self.fs.make_dirs(&ROOT, DATASETS, 0o755).await?.ino;
            let name = dataset.to_string();
            self.directory(parent, &name, (uid, gid), 0o500, Some(LifetimeClass::Dataset)).await
        };
        result.await.map(|attr| attr.ino).map_err(failed(path))
    }

    async fn set_hold(&self, dataset: Uuid, job: u32) -> Result<(), FsError> {
        let path = Self::dataset_path(dataset);
        let result = async {
            let dir = self.fs.resolve(&ROOT, &path).await?.ino;
            self.fs.setxattr(&ROOT, dir, hold_attribute(job).as_bytes(), b"1", XattrWhen::Always).await
        };
        result.await.map_err(failed(path.clone()))
    }

    async fn drop_hold(&self, dataset: Uuid, job: u32) -> Result<(), FsError> {
        let path = Self::dataset_path(dataset);
        let result = async {
            let Some(dir) = self.find(&path).await? else { return Ok(()) };
            match self.fs.removexattr(&ROOT, dir.ino, hold_attribute(job).as_bytes()).await {
                Ok(()) | Err(ClientError::Posix(Errno::NoData | Errno::NoEntry)) => Ok(()),
                Err(error) => Err(error),
            }
        };
        result.await.map_err(failed(path.clone()))
    }

    async fn create_view(&self, view: &ViewSpec) -> Result<(), FsError> {
        self.make_view(view).await.map_err(failed(format!("{JOBS}/{}", view.job)))
    }

    async fn write_control(&self, job: u32, name: &str, content: &[u8]) -> Result<(), FsError> {
        self.replace(job, name, content).await.map_err(failed(format!("{JOBS}/{job}/{CONTROL}/{name}")))
    }

    async fn nodes(&self, job: u32, restart: u32) -> Result<Vec<NodeMark>, FsError> {
        self.node_marks(job, restart).await.map_err(failed(format!("{JOBS}/{job}/{CONTROL}/nodes")))
    }

    async fn resolve(&self, job: u32, path: &str) -> Result<Option<InodeId>, FsError> {
        let path = format!("{JOBS}/{job}/{path}");
        Ok(self.find(&path).await.map_err(failed(path.clone()))?.map(|attr| attr.ino))
    }

    async fn jobs_directory(&self) -> Result<InodeId, FsError> {
        let attr = self.fs.make_dirs(&ROOT, JOBS, 0o755).await;
        attr.map(|attr| attr.ino).map_err(failed(JOBS.into()))
    }

    async fn start_task(&self, task: TaskId, spec: TaskSpec) -> Result<(), FsError> {
        self.fs.cluster().start_task(task, spec).await.map(drop).map_err(failed(format!("task {task}")))
    }

    async fn poll_task(&self, task: TaskId, version: u64, _wait_ms: u32) -> Result<Progress, FsError> {
        self.fs.cluster().poll_task(task, version).await.map_err(failed(format!("task {task}")))
    }

    async fn cancel_task(&self, task: TaskId) -> Result<(), FsError> {
        match self.fs.cluster().cancel_task(task).await {
            Ok(_) | Err(ClientError::Tier(TierError::NoTask)) => Ok(()),
            Err(error) => Err(failed(format!("task {task}"))(error)),
        }
    }
}
