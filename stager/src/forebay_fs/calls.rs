//! What staging does in a filesystem, call by call.

use bytes::Bytes;
use forebay_client::{ClientError, Filesystem};
use forebay_types::{Attr, Cred, Errno, FileKind, InodeId, LifetimeClass, Limits, Owner, Quota, Uuid};
use forebay_wire::meta::{NewNode, RenameHow, SetAttr, XattrWhen};

use crate::core::{NodeMark, ViewSpec};
use crate::fs::{CONTROL, DATASETS, DATASETS_FROM_INPUT, JOBS, hold_attribute};

const ROOT: Cred = Cred::ROOT;

/// A session on the filesystem, as the superuser. Every call may be repeated.
#[derive(Clone)]
pub(super) struct Calls {
    pub fs: Filesystem,
}

impl Calls {
    /// Makes `<DATASETS>/<id>` where it is not there.
    pub async fn ensure_dataset(&self, dataset: Uuid, owner: (u32, u32)) -> Result<InodeId, ClientError> {
        let parent = self.fs.make_dirs(&ROOT, DATASETS, 0o755).await?.ino;
        let class = Some(LifetimeClass::Dataset);
        self.directory(parent, &dataset.to_string(), owner, 0o500, class).await.map(|attr| attr.ino)
    }

    /// Keeps a dataset hot for a job.
    pub async fn set_hold(&self, dataset: Uuid, job: u32) -> Result<(), ClientError> {
        let dir = self.fs.resolve(&ROOT, &dataset_path(dataset)).await?.ino;
        self.fs.setxattr(&ROOT, dir, hold_attribute(job).as_bytes(), b"1", XattrWhen::Always).await
    }

    /// Ends that.
    pub async fn drop_hold(&self, dataset: Uuid, job: u32) -> Result<(), ClientError> {
        let Some(dir) = self.find(&dataset_path(dataset)).await? else { return Ok(()) };
        match self.fs.removexattr(&ROOT, dir.ino, hold_attribute(job).as_bytes()).await {
            Ok(()) | Err(ClientError::Posix(Errno::NoData | Errno::NoEntry)) => Ok(()),
            Err(error) => Err(error),
        }
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
    pub async fn find(&self, path: &str) -> Result<Option<Attr>, ClientError> {
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

    pub async fn make_view(&self, view: &ViewSpec) -> Result<(), ClientError> {
        let owner = (view.uid, view.gid);
        let jobs = self.fs.make_dirs(&ROOT, JOBS, 0o755).await?.ino;
        let top = self.directory(jobs, &view.job.to_string(), owner, 0o700, None).await?.ino;
        for scratch in &view.scratch {
            let made = self.directory(top, &scratch.name, owner, 0o700, Some(LifetimeClass::Job)).await?;
            if let Some(bytes) = scratch.capacity_bytes {
                self.limit(made.ino, bytes).await?;
            }
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

    /// Lets a scratch directory have as many bytes and no more, unless it is limited already. The quota goes with the
    /// directory.
    async fn limit(&self, dir: InodeId, bytes: u64) -> Result<(), ClientError> {
        let usage = self.fs.owner_usage_in(dir.shard(), &[Owner::Directory(dir)]).await?;
        if usage.iter().any(|usage| usage.budget.is_some()) {
            return Ok(());
        }
        let hard = Limits { bytes: Some(bytes), inodes: None };
        self.fs.set_directory_quota(dir, None, Quota { hard, ..Quota::default() }).await.map(drop)
    }

    /// Writes a file beside its final name and renames it over.
    pub async fn replace(&self, job: u32, name: &str, content: &[u8]) -> Result<(), ClientError> {
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

    pub async fn node_marks(&self, job: u32, restart: u32) -> Result<Vec<NodeMark>, ClientError> {
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
}

/// Where a dataset is.
pub(super) fn dataset_path(dataset: Uuid) -> String {
    format!("{DATASETS}/{dataset}")
}
