//! `/dev/fuse`: opened, mounted with, cloned.
#![allow(unsafe_code, reason = "an ioctl")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};

/// Flags of mount(2).
pub type MountFlags = MsFlags;

/// Where the kernel's side is.
const PATH: &str = "/dev/fuse";

mod ioctl {
    //! `FUSE_DEV_IOC_CLONE`
    nix::ioctl_read!(clone_device, 229, 0, u32);
}

/// An open device: one mount's, once it has been mounted with.
#[derive(Debug)]
pub struct Device {
    file: File,
}

/// What a mount looks like to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountSettings {
    /// What is mounted, as `/proc/mounts` shows it.
    pub source: String,
    /// Its type there is `fuse.` and this.
    pub subtype: String,
    /// How.
    pub flags: MountFlags,
    /// Whether the kernel checks permissions by mode, owner and group. The filesystem may check again.
    pub default_permissions: bool,
}

impl Device {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Ok(Self { file: File::options().read(true).write(true).open(PATH)? })
    }

    /// Mounts with it. From now on requests come, INIT first; users of the mount wait until that is answered.
    pub fn mount(&self, mountpoint: &Path, settings: &MountSettings) -> io::Result<()> {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let mut data = format!("fd={},rootmode=40000,user_id={uid},group_id={gid},allow_other", self.file.as_raw_fd());
        if settings.default_permissions {
            data.push_str(",default_permissions");
        }
        let kind = format!("fuse.{}", settings.subtype);
        let source = settings.source.as_str();
        Ok(mount(Some(source), mountpoint, Some(kind.as_str()), settings.flags, Some(data.as_str()))?)
    }

    /// Another descriptor of the same mount: what is read by one is answered by the same.
    pub fn another(&self) -> io::Result<Self> {
        let new = Self::open()?;
        let mut ours = self.file.as_raw_fd().cast_unsigned();
        // SAFETY: the kernel reads one u32 at the address given, which is that of `ours`, alive during the call.
        unsafe { ioctl::clone_device(new.file.as_raw_fd(), &raw mut ours) }?;
        Ok(new)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}
