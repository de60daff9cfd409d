//! A mount's life: the kernel's side of it set up, served, and its end waited for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, InitFlags, KernelConfig, MountOption, Session, SessionACL};
use tokio::sync::{Semaphore, oneshot};

use crate::fuse::Front;
use crate::mounts::{self, MountEntry};
use crate::{MountError, MountOptions, MountSource};

/// Threads that read requests from the kernel.
const READERS: usize = 2;
/// Most requests the kernel keeps under way that nobody waits for, such as read-ahead.
const BACKGROUND_REQUESTS: u16 = 64;
/// Most bytes of one read or write; the kernel's own limit is the same.
const REQUEST_BYTES: u32 = 1 << 20;
/// How far the kernel reads ahead of a sequential reader, in KiB.
const READ_AHEAD_KIB: u32 = 4096;
/// Most requests under way; further ones wait in the kernel.
pub(super) const MOST_REQUESTS: u32 = 4096;

/// A mount that is being served.
pub struct FuseSession {
    /// What is mounted where.
    pub entry: MountEntry,
    /// Ends when the kernel has ended the mount.
    pub ended: oneshot::Receiver<io::Result<()>>,
    /// Requests under way.
    pub in_flight: InFlight,
}

/// Requests under way.
#[derive(Clone)]
pub struct InFlight(pub(super) Arc<Semaphore>);

impl InFlight {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_REQUESTS as usize)))
    }

    /// Waits until none is, at most `timeout`; whether that was so.
    pub async fn drain(&self, timeout: Duration) -> bool {
        matches!(tokio::time::timeout(timeout, self.0.acquire_many(MOST_REQUESTS)).await, Ok(Ok(_)))
    }
}

/// What the kernel is asked for when it says hello.
pub(super) fn configure(config: &mut KernelConfig) {
    let wanted = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_ASYNC_DIO
        | InitFlags::FUSE_BIG_WRITES
        | InitFlags::FUSE_ATOMIC_O_TRUNC
        | InitFlags::FUSE_AUTO_INVAL_DATA
        | InitFlags::FUSE_PARALLEL_DIROPS;
    // What an older kernel has not, it does without.
    let _ = config.add_capabilities(wanted & config.capabilities());
    let _ = config.set_max_write(REQUEST_BYTES);
    let _ = config.set_max_background(BACKGROUND_REQUESTS);
    if let Err(most) = config.set_max_readahead(READ_AHEAD_KIB * 1024) {
        let _ = config.set_max_readahead(most);
    }
}

fn mount_options(source: &MountSource, options: &MountOptions) -> Vec<MountOption> {
    let mut list = vec![
        MountOption::FSName(source.text.clone()),
        // As an option of the kernel: the type in /proc/mounts has it.
        MountOption::CUSTOM("subtype=forebay".into()),
        MountOption::DefaultPermissions,
        if options.read_only { MountOption::RO } else { MountOption::RW },
        if options.suid { MountOption::Suid } else { MountOption::NoSuid },
        if options.dev { MountOption::Dev } else { MountOption::NoDev },
        if options.exec { MountOption::Exec } else { MountOption::NoExec },
    ];
    list.extend(options.no_atime.then_some(MountOption::NoAtime));
    list.extend(options.sync.then_some(MountOption::Sync));
    list
}

impl FuseSession {
    /// Mounts and serves. Blocks while the kernel and we agree on what we speak.
    pub fn start(
        front: Front,
        source: &MountSource,
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let failed = |source: io::Error| {
            let remedy = match source.kind() {
                io::ErrorKind::NotFound => "; is FUSE there (modprobe fuse)?",
                io::ErrorKind::PermissionDenied => "; mounting takes root",
                _ => "",
            };
            MountError::Fuse { mountpoint: mountpoint.into(), source, remedy }
        };
        let mut config = Config::default();
        config.mount_options = mount_options(source, options);
        config.acl = SessionACL::All;
        config.n_threads = Some(READERS);
        config.clone_fd = true;
        let in_flight = front.in_flight();
        let session = Session::new(front, mountpoint, &config).map_err(failed)?;
        let entry = mounts::at(mountpoint).map_err(failed)?;
        let entry = entry.ok_or_else(|| failed(io::Error::other("it is gone as soon as it is mounted")))?;
        read_ahead(&entry);
        let (end, ended) = oneshot::channel();
        let serve = move || {
            // Nobody is there to hear it only when the daemon is ending anyway.
            let _ = end.send(session.run());
        };
        std::thread::Builder::new().name("fuse".into()).spawn(serve).map_err(failed)?;
        Ok(Self { entry, ended, in_flight })
    }
}

/// The kernel's greeting offers less read-ahead than it can do; a mount without it works, slower.
fn read_ahead(entry: &MountEntry) {
    let path = format!("/sys/class/bdi/{}/read_ahead_kb", entry.device);
    if let Err(error) = std::fs::write(&path, READ_AHEAD_KIB.to_string()) {
        tracing::info!(path, %error, "read-ahead stays as it is");
    }
}
