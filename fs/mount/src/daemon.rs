//! The daemon: one mount, from its first check to its last flush.
//!
//! Order: look at the mountpoint, reach the cluster, open a session, take the node's socket, mount, serve. The end
//! comes by `umount`, by a signal, or by a request of the node's service; it always flushes before the process goes,
//! except where it is forced.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_client::{ClientError, ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, NetError, Role};
use forebay_wire::cluster::ClusterError;
use forebay_wire::node::{Fault, FaultClass};
use nix::libc::{EBUSY, ENOTCONN};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::fuse::{Front, FuseSession};
use crate::mounts;
use crate::node::{Goodbye, Listener, Service};
use crate::{MountError, MountOptions, MountSource};

/// How long a cluster that does not answer is waited for before a mount fails.
const CLUSTER_WAIT: Duration = Duration::from_secs(15);
/// Pause between attempts to reach it.
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// How long requests still under way are waited for at the end, beyond their own deadline.
const GRACE: Duration = Duration::from_secs(5);
/// How long the mount may still be in use when it is to end: by programs that are just ending.
const LETTING_GO: Duration = Duration::from_secs(1);
/// Threads that carry requests out: at least, and at most.
const WORKERS: (usize, usize) = (2, 4);

/// What is to be mounted where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountRequest {
    /// What.
    pub source: MountSource,
    /// Where.
    pub mountpoint: PathBuf,
    /// How.
    pub options: MountOptions,
}

/// Why the daemon ends.
enum End {
    /// The kernel has ended the mount.
    Unmounted,
    /// A signal.
    Asked,
    /// At once, without flushing.
    Forced,
}

/// Mounts, calls `ready`, and serves until the end. Blocks.
pub fn run(request: &MountRequest, ready: impl FnOnce()) -> Result<(), MountError> {
    let mountpoint = check_mountpoint(&request.mountpoint)?;
    let key = ClusterKey::load(&request.options.key)?;
    let workers = std::thread::available_parallelism().map_or(WORKERS.0, |n| n.get().clamp(WORKERS.0, WORKERS.1));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|source| MountError::Start { what: "the runtime".into(), source })?;
    let result = runtime.block_on(serve(request, &mountpoint, key, ready));
    // A task that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Whether something can be mounted on a directory; its real path.
pub fn check_mountpoint(mountpoint: &Path) -> Result<PathBuf, MountError> {
    let failed = |source| MountError::Mountpoint { mountpoint: mountpoint.into(), source };
    let plain = std::path::absolute(mountpoint).map_err(failed)?;
    // Looked up before anything else touches it: a mount whose daemon is gone answers nothing but an error.
    check_free(&plain)?;
    let real = plain.canonicalize().map_err(failed)?;
    check_free(&real)?;
    if !real.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::Error::from(ErrorKind::NotADirectory)));
    }
    Ok(real)
}

fn check_free(mountpoint: &Path) -> Result<(), MountError> {
    let failed = |source| MountError::Mountpoint { mountpoint: mountpoint.into(), source };
    let Some(entry) = mounts::at(mountpoint).map_err(failed)? else { return Ok(()) };
    let dead = std::fs::metadata(mountpoint).is_err_and(|error| error.raw_os_error() == Some(ENOTCONN));
    if dead && entry.fstype == mounts::FSTYPE {
        return Err(MountError::Dead { mountpoint: mountpoint.into(), what: entry.source });
    }
    Err(MountError::InUse { mountpoint: mountpoint.into(), what: entry.source, fstype: entry.fstype })
}

fn cluster_error(source: ClientError) -> MountError {
    let remedy = match &source {
        ClientError::NoHost { .. } => "; is forebayd running there, and are the addresses right?",
        ClientError::Net(NetError::Auth { .. }) => " (mount option key=FILE names it)",
        ClientError::Cluster(ClusterError::NoFilesystem { .. }) => "; 'forebay fs create' makes one",
        _ => "",
    };
    MountError::Cluster { source, remedy }
}

/// A handle on the cluster once one of its hosts has answered.
async fn reach(request: &MountRequest, key: ClusterKey, name: &str) -> Result<Cluster, MountError> {
    let MountOptions { timeout: operation, sync, .. } = request.options;
    let options = ClientOptions { timeout: operation, delegate: !sync, ..ClientOptions::default() };
    let patience = request.options.timeout.min(CLUSTER_WAIT);
    let until = Instant::now() + patience;
    let cluster = Cluster::new(request.source.seeds.clone(), key, Role::Client, name, options);
    loop {
        let error = match timeout(patience, cluster.refresh()).await {
            Ok(Ok(_)) => return Ok(cluster),
            Ok(Err(error)) => error,
            Err(_) => ClientError::TimedOut {
                timeout_ms: patience.as_millis() as u64,
                reason: format!("no host of {} answers", request.source.seeds.join(", ")),
            },
        };
        let passing = match &error {
            ClientError::NoHost { .. } => true,
            ClientError::Net(error) => error.is_transient(),
            _ => false,
        };
        if !passing || Instant::now() + TRY_AGAIN >= until {
            return Err(cluster_error(error));
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

fn client_name(options: &MountOptions) -> String {
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    options.name.clone().or_else(host).unwrap_or_else(|| "unnamed".into())
}

async fn serve(
    request: &MountRequest,
    mountpoint: &Path,
    key: ClusterKey,
    ready: impl FnOnce(),
) -> Result<(), MountError> {
    let name = client_name(&request.options);
    let cluster = reach(request, key, &name).await?;
    let signals = |source| MountError::Start { what: "signal handlers".into(), source };
    let mut stop =
        [signal(SignalKind::terminate()).map_err(signals)?, signal(SignalKind::interrupt()).map_err(signals)?];
    let listener = request.options.node_socket.as_deref().map(Listener::bind).transpose()?;
    let fs = Filesystem::mount(&cluster, &request.source.filesystem, &name).await.map_err(cluster_error)?;
    let runtime = tokio::runtime::Handle::current();
    let front = Front::new(fs.clone(), request.options.no_atime, runtime.clone());
    let session = match FuseSession::start(front, runtime, &request.source, mountpoint, &request.options) {
        Ok(session) => session,
        Err(error) => {
            fs.abandon().await;
            return Err(error);
        }
    };
    let (goodbye, mut goodbyes) = mpsc::channel(1);
    let node = listener.map(|listener| {
        let service = Arc::new(Service::new(fs.clone(), mountpoint, goodbye.clone()));
        tokio::spawn(listener.serve(service))
    });
    tracing::info!(source = request.source.text, mountpoint = %mountpoint.display(), "mounted");
    ready();
    let mut mount = Mount { fs, session, timeout: request.options.timeout };
    let end = mount.until_end(&mut stop, &mut goodbyes).await;
    let result = mount.finish(end).await;
    if let Some(node) = node {
        node.abort();
        // The socket's file goes with the task.
        let _ = node.await;
    }
    result
}

/// A mount that is up.
struct Mount {
    fs: Filesystem,
    session: FuseSession,
    timeout: Duration,
}

impl Mount {
    async fn until_end(&mut self, stop: &mut [Signal; 2], goodbyes: &mut mpsc::Receiver<Goodbye>) -> End {
        let [terminate, interrupt] = stop;
        loop {
            tokio::select! {
                ended = &mut self.session.ended => {
                    if let Ok(Err(error)) = ended {
                        tracing::error!(%error, "the kernel's side of the mount failed");
                    }
                    return End::Unmounted;
                }
                _ = terminate.recv() => return End::Asked,
                _ = interrupt.recv() => return End::Asked,
                Some(goodbye) = goodbyes.recv() => {
                    if goodbye.force {
                        // Nobody is there to be told only when the caller has gone away.
                        let _ = goodbye.answer.send(Ok(()));
                        return End::Forced;
                    }
                    let left = self.leave().await;
                    let ends = left.is_ok();
                    let _ = goodbye.answer.send(left);
                    if ends {
                        return End::Unmounted;
                    }
                }
            }
        }
    }

    /// Flushes and unmounts, if nobody uses it.
    async fn leave(&self) -> Result<(), Fault> {
        let infra = |code: &str, text: String| crate::node::fault(FaultClass::Infra, code, text);
        let flushed = match timeout(self.timeout, self.fs.sync_all()).await {
            Ok(flushed) => flushed.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{} bytes are left after {} s", self.fs.dirty_bytes(), self.timeout.as_secs())),
        };
        flushed
            .map_err(|reason| infra("E-FLUSH", format!("not everything can be flushed: {reason}; --force loses it")))?;
        match self.unmount(false).await {
            Ok(()) => Ok(()),
            Err(error) if error.raw_os_error() == Some(EBUSY) => {
                let entry = self.session.entry.clone();
                let holders = tokio::task::spawn_blocking(move || entry.holders()).await.unwrap_or_default();
                let by = if holders.is_empty() { String::new() } else { format!(" by {}", holders.join(", ")) };
                let at = self.session.entry.mountpoint.display();
                Err(infra("E-MOUNT-BUSY", format!("{at} is in use{by}; end them, or use --force")))
            }
            Err(error) => Err(infra("E-MOUNT-UMOUNT", format!("umount failed: {error}"))),
        }
    }

    /// On a thread of its own: the kernel may ask us something before it lets go.
    async fn unmount(&self, lazy: bool) -> io::Result<()> {
        let entry = self.session.entry.clone();
        tokio::task::spawn_blocking(move || entry.unmount(lazy)).await.map_err(io::Error::other)?
    }

    /// Unmounts. A program that has just ended may not have let go of its last file yet, of which nobody is told.
    async fn unmount_soon(&self) -> io::Result<()> {
        let until = Instant::now() + LETTING_GO;
        loop {
            match self.unmount(false).await {
                Err(error) if error.raw_os_error() == Some(EBUSY) && Instant::now() < until => {
                    tokio::time::sleep(LETTING_GO / 20).await;
                }
                done => return done,
            }
        }
    }

    async fn finish(self, end: End) -> Result<(), MountError> {
        match end {
            End::Unmounted => {}
            End::Asked => {
                if let Err(error) = self.unmount_soon().await {
                    tracing::warn!(%error, "still in use: taken out of the tree, and gone for those who use it");
                    self.log_unmount(true).await;
                }
            }
            End::Forced => {
                self.log_unmount(true).await;
                // The session ends by itself where the cluster cannot be told in time.
                let _ = timeout(Duration::from_secs(1), self.fs.abandon()).await;
                return Ok(());
            }
        }
        if !self.session.in_flight.drain(self.timeout + GRACE).await {
            tracing::warn!("requests were still under way at the end");
        }
        let dirty = self.fs.dirty_bytes();
        let flushed = match timeout(self.timeout + GRACE, self.fs.unmount()).await {
            Ok(flushed) => flushed,
            Err(_) => Err(ClientError::TimedOut {
                timeout_ms: (self.timeout + GRACE).as_millis() as u64,
                reason: format!("{} bytes are still dirty", self.fs.dirty_bytes()),
            }),
        };
        tracing::info!(dirty, "ended");
        flushed.map_err(|source| MountError::Flush { source })
    }

    async fn log_unmount(&self, lazy: bool) {
        if let Err(error) = self.unmount(lazy).await {
            tracing::error!(%error, "not unmounted");
        }
    }
}
