//! The node's local service: Prolog, Epilog and `forebay local` ask the daemon here.
//!
//! Job: attach jobs to this node and detach them ([`Service`]), report, and end the daemon. The messages are
//! [`forebay_wire::node`]'s; [`node_call`] asks them, [`force_unmount`] ends what does not answer.
//!
//! What a job's view is, the stager says in `/job/<id>/.forebay/attach.json`; who has it attached is written beside
//! it, one empty file a node: `nodes/<restart>/<node>.attached`, and `.detached` once everything this node has written
//! is durable. Invariants: a job that has no view, or of which that cannot be known, is never failed from here; what
//! is marked detached has been flushed; every request can be asked twice.

mod attach;
mod call;
mod detach;
mod document;
mod force;
mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use forebay_client::{ClientError, Filesystem};
use forebay_types::{Attr, Cred, Errno, InodeId};
use forebay_wire::map::HostState;
use forebay_wire::meta::NewNode;
use forebay_wire::node::{Fault, FaultClass, NodeReply, NodeRequest, NodeStatus};
use tokio::sync::{mpsc, oneshot};

pub use call::{NodeCallError, node_call};
pub use force::{ForceError, force_unmount};
pub use server::Listener;

/// Largest `attach.json` that is read, in bytes.
const DOCUMENT_MAX_BYTES: u32 = 1 << 20;
/// A node's mark that it has a job.
const ATTACHED: &str = "attached";
/// A node's mark that it has flushed what it wrote for a job.
const DETACHED: &str = "detached";

/// A request to end the daemon, and where to say how that went.
pub struct Goodbye {
    /// Do not wait for anything.
    pub force: bool,
    /// Answered before the daemon ends.
    pub answer: oneshot::Sender<Result<(), Fault>>,
}

/// The service.
pub struct Service {
    fs: Filesystem,
    mountpoint: PathBuf,
    goodbye: mpsc::Sender<Goodbye>,
    jobs: Mutex<Jobs>,
}

#[derive(Default)]
struct Jobs {
    /// Attached by this daemon.
    attached: BTreeSet<u32>,
    /// Detached by Slurm and not flushed yet.
    flushing: BTreeSet<u32>,
}

impl Service {
    /// Of a filesystem mounted at `mountpoint`; requests to end go to `goodbye`.
    #[must_use]
    pub fn new(fs: Filesystem, mountpoint: &Path, goodbye: mpsc::Sender<Goodbye>) -> Self {
        Self { fs, mountpoint: mountpoint.into(), goodbye, jobs: Mutex::default() }
    }

    /// Answers a request.
    pub(crate) async fn answer(self: std::sync::Arc<Self>, request: NodeRequest) -> NodeReply {
        match request {
            NodeRequest::Attach(asked) => self.attach(asked).await,
            NodeRequest::Detach(asked) => self.detach(asked).await,
            NodeRequest::Status => NodeReply::Status(self.status()),
            NodeRequest::Unmount { force } => self.unmount(force).await,
        }
    }

    fn status(&self) -> NodeStatus {
        let map = self.fs.cluster().known_map();
        let down = map.iter().flat_map(|map| &map.hosts).filter(|host| host.state == HostState::Down);
        NodeStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            mountpoint: self.mountpoint.display().to_string(),
            filesystem: self.fs.name().into(),
            cluster: map.as_ref().map(|map| map.name.clone()).unwrap_or_default(),
            epoch: map.as_ref().map_or(0, |map| map.epoch.0),
            jobs: self.jobs().attached.iter().copied().collect(),
            dirty_bytes: self.fs.dirty_bytes(),
            unreachable_hosts: down.map(|host| host.name.clone()).collect(),
        }
    }

    async fn unmount(&self, force: bool) -> NodeReply {
        let (answer, answered) = oneshot::channel();
        let ending = NodeReply::Failed(fault(FaultClass::Infra, "E-MOUNT-ENDING", "the client is ending already"));
        if self.goodbye.send(Goodbye { force, answer }).await.is_err() {
            return ending;
        }
        match answered.await {
            Ok(Ok(())) => NodeReply::Unmounting,
            Ok(Err(fault)) => NodeReply::Failed(fault),
            Err(_) => ending,
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The control directory of a job's view; `None` where the job has no view.
    async fn control(&self, job: u32) -> Result<Option<InodeId>, ClientError> {
        absent_is_none(self.fs.resolve(&Cred::ROOT, &format!("/job/{job}/.forebay")).await)
            .map(|attr| attr.map(|a| a.ino))
    }

    /// Content of a file of the control directory, as it is now.
    async fn content(&self, control: InodeId, name: &str) -> Result<Option<Bytes>, ClientError> {
        let Some(attr) = absent_is_none(self.fs.lookup(&Cred::ROOT, control, name.as_bytes()).await)? else {
            return Ok(None);
        };
        // Opening is what makes the client ask anew.
        self.fs.open(&Cred::ROOT, attr.ino, true, false).await?;
        let content = self.fs.read_all(attr.ino, DOCUMENT_MAX_BYTES).await;
        let closed = self.fs.release(attr.ino).await;
        content.and_then(|content| closed.map(|()| Some(content)))
    }

    /// Leaves a mark of this node in the directory of an attempt.
    async fn mark(&self, attempt: InodeId, node: &str, mark: &str) -> Result<(), ClientError> {
        let name = format!("{node}.{mark}");
        self.fs.create(&Cred::ROOT, attempt, name.as_bytes(), NewNode::File, 0o644, false).await?;
        self.fs.sync_names().await
    }
}

fn absent_is_none(found: Result<Attr, ClientError>) -> Result<Option<Attr>, ClientError> {
    match found {
        Ok(attr) => Ok(Some(attr)),
        Err(ClientError::Posix(Errno::NoEntry | Errno::NotDirectory)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a [`Fault`].
pub(crate) fn fault(class: FaultClass, code: &str, text: impl Into<String>) -> Fault {
    Fault { class, code: code.into(), text: text.into() }
}

/// Whether a node's name can be part of a file's.
fn is_node_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && !name.contains(['/', '\0']) && !name.starts_with('.')
}
