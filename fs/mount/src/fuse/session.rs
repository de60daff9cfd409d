//! A mount's life: the kernel's side of it set up, served, and its end waited for.

use std::io;
use std::path::Path;
use std::sync::Arc;

use forebay_fuse::abi::codes::init;
use forebay_fuse::session::{InFlight, SessionError};
use forebay_fuse::transport::{Classic, Device, MountFlags, MountSettings};
use forebay_fuse::{Session, Settings};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::fuse::Front;
use crate::mounts::{self, MountEntry};
use crate::{MountError, MountOptions, MountSource};

/// How far the kernel reads ahead of a sequential reader, in KiB.
const READ_AHEAD_KIB: u32 = 4096;

/// A mount that is being served.
pub struct FuseSession {
    /// What is mounted where.
    pub entry: MountEntry,
    /// Ends when the kernel has ended the mount.
    pub ended: oneshot::Receiver<io::Result<()>>,
    /// Requests under way.
    pub in_flight: InFlight,
}

fn mount_flags(options: &MountOptions) -> MountFlags {
    let flag = |on: bool, flag: MountFlags| if on { flag } else { MountFlags::empty() };
    flag(options.read_only, MountFlags::MS_RDONLY)
        | flag(!options.suid, MountFlags::MS_NOSUID)
        | flag(!options.dev, MountFlags::MS_NODEV)
        | flag(!options.exec, MountFlags::MS_NOEXEC)
        | flag(options.no_atime, MountFlags::MS_NOATIME)
        | flag(options.sync, MountFlags::MS_SYNCHRONOUS)
}

impl FuseSession {
    /// Mounts and serves; requests are carried out on `runtime`. Blocks while the kernel and we agree on what we speak.
    pub fn start(
        front: Front,
        runtime: Handle,
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
        let device = Device::open().map_err(failed)?;
        let settings = MountSettings {
            source: source.text.clone(),
            subtype: mounts::SUBTYPE.into(),
            flags: mount_flags(options),
            default_permissions: true,
        };
        device.mount(mountpoint, &settings).map_err(failed)?;
        let entry = mounts::at(mountpoint).map_err(failed)?;
        let entry = entry.ok_or_else(|| failed(io::Error::other("it is gone as soon as it is mounted")))?;
        // Modes of what is made come with the umask, which a default list takes the place of; set-id bits are ours to
        // take off; inodes can be found by their numbers alone, for those who export the mount.
        let flags = init::POSIX_ACL | init::DONT_MASK | init::HANDLE_KILLPRIV_V2 | init::EXPORT_SUPPORT;
        let settings = Settings::default();
        let settings = Settings { timeout: options.timeout, flags: settings.flags | flags, ..settings };
        let reach_kernel_by = front.reach_kernel_by();
        let session = Session::start(Classic::new(device), Arc::new(front), settings, runtime);
        let session = session.map_err(|error| {
            if let Err(error) = entry.unmount(true) {
                tracing::warn!(%error, "a mount that cannot be served stays");
            }
            failed(match error {
                SessionError::Io { source, .. } => source,
                other => io::Error::other(other),
            })
        })?;
        reach_kernel_by(session.notifier);
        read_ahead(&entry);
        Ok(Self { entry, ended: session.ended, in_flight: session.in_flight })
    }
}

/// The kernel's greeting offers less read-ahead than it can do; a mount without it works, slower.
fn read_ahead(entry: &MountEntry) {
    let path = format!("/sys/class/bdi/{}/read_ahead_kb", entry.device);
    if let Err(error) = std::fs::write(&path, READ_AHEAD_KIB.to_string()) {
        tracing::info!(path, %error, "read-ahead stays as it is");
    }
}
