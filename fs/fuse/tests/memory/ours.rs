//! Our door.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forebay_fuse::abi::{
    Attr, Entry, Handle, Listing, LockKind, LockOwner, LockRequest, NodeId, Opened, Reply, SetAttr, SetTime,
    SizedValue, StatFs, Time, WriteRequest,
};
use forebay_fuse::transport::{Classic, Device, MountFlags, MountSettings, Transport};
use forebay_fuse::{Context, Errno, Filesystem, Session, Settings};

use super::{Answer, Change, Memory, Stat};

const LIFE: Duration = Duration::ZERO;

/// Names that begin like this are never found: looking for one does not end.
pub const HANGS: &str = "hangs";
/// A file whose FLUSH does not end.
pub const NEVER_CLOSED: &str = "never closed";

pub struct Ours {
    pub memory: Memory,
    never_closed: AtomicU64,
}

impl Ours {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { memory: Memory::new(), never_closed: AtomicU64::new(0) })
    }

    /// Mounts a filesystem and serves it.
    pub fn mount<F: Filesystem>(filesystem: Arc<F>, mountpoint: &Path, settings: Settings) -> Session {
        Self::mount_by(filesystem, mountpoint, settings, Classic::new)
    }

    /// [`Self::mount`] with another transport.
    pub fn mount_by<F: Filesystem, T: Transport>(
        filesystem: Arc<F>,
        mountpoint: &Path,
        settings: Settings,
        transport: impl FnOnce(Device) -> T,
    ) -> Session {
        let device = Device::open().expect("/dev/fuse is there");
        let how = MountSettings {
            source: "memory".into(),
            subtype: "ours".into(),
            // A test makes devices of any number: nobody may open them.
            flags: MountFlags::MS_NODEV,
            default_permissions: true,
        };
        device.mount(mountpoint, &how).expect("root may mount");
        Session::start(transport(device), filesystem, settings, tokio::runtime::Handle::current()).expect("it starts")
    }
}

fn attr(stat: &Stat) -> Attr {
    let time = |(secs, nanos)| Time { secs, nanos };
    Attr {
        ino: stat.ino,
        mode: stat.mode,
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        size: stat.size,
        blocks: stat.size.div_ceil(512),
        block_bytes: 4096,
        atime: time(stat.atime),
        mtime: time(stat.mtime),
        ctime: time((0, 0)),
        btime: time((0, 0)),
    }
}

fn entry(stat: Stat) -> Entry {
    Entry { node: NodeId(stat.ino), generation: 0, name_life: LIFE, attr_life: LIFE, attr: attr(&stat) }
}

fn time(time: SetTime) -> (i64, u32) {
    match time {
        // A test compares two mounts: no clock.
        SetTime::Now => (1_000_000, 0),
        SetTime::At(time) => (time.secs, time.nanos),
    }
}

const OPENED: Opened = Opened { handle: Handle(0), flags: 0 };

impl Filesystem for Ours {
    async fn lookup(&self, _: &Context, node: NodeId, name: Bytes) -> Answer<Entry> {
        if name.starts_with(HANGS.as_bytes()) {
            std::future::pending::<()>().await;
        }
        self.memory.lookup(node.0, &name).map(entry)
    }

    async fn getattr(&self, _: &Context, node: NodeId, _: Option<Handle>) -> Answer<(Attr, Duration)> {
        self.memory.stat(node.0).map(|stat| (attr(&stat), LIFE))
    }

    async fn setattr(&self, _: &Context, node: NodeId, set: SetAttr) -> Answer<(Attr, Duration)> {
        let SetAttr { mode, uid, gid, size, atime, mtime, .. } = set;
        let change = Change { mode, uid, gid, size, atime: atime.map(time), mtime: mtime.map(time) };
        self.memory.change(node.0, change).map(|stat| (attr(&stat), LIFE))
    }

    async fn readlink(&self, _: &Context, node: NodeId) -> Answer<Bytes> {
        self.memory.read(node.0, 0, u32::MAX).map(Bytes::from)
    }

    async fn symlink(&self, at: &Context, node: NodeId, name: Bytes, target: Bytes) -> Answer<Entry> {
        self.memory.symlink(node.0, &name, &target, (at.caller().uid, at.caller().gid)).map(entry)
    }

    async fn mknod(&self, at: &Context, node: NodeId, name: Bytes, mode: u32, rdev: u32, umask: u32) -> Answer<Entry> {
        let owner = (at.caller().uid, at.caller().gid);
        self.memory.make(node.0, &name, mode & !umask, owner, rdev).map(entry)
    }

    async fn mkdir(&self, at: &Context, node: NodeId, name: Bytes, mode: u32, umask: u32) -> Answer<Entry> {
        let (owner, mode) = ((at.caller().uid, at.caller().gid), nix::libc::S_IFDIR | mode & !umask & 0o7777);
        self.memory.make(node.0, &name, mode, owner, 0).map(entry)
    }

    async fn unlink(&self, _: &Context, node: NodeId, name: Bytes) -> Answer<()> {
        self.memory.remove(node.0, &name, false)
    }

    async fn rmdir(&self, _: &Context, node: NodeId, name: Bytes) -> Answer<()> {
        self.memory.remove(node.0, &name, true)
    }

    async fn rename(
        &self,
        _: &Context,
        node: NodeId,
        name: Bytes,
        new_parent: NodeId,
        new_name: Bytes,
        flags: u32,
    ) -> Answer<()> {
        self.memory.rename((node.0, &name), (new_parent.0, &new_name), flags)
    }

    async fn link(&self, _: &Context, node: NodeId, target: NodeId, name: Bytes) -> Answer<Entry> {
        self.memory.link(target.0, node.0, &name).map(entry)
    }

    async fn open(&self, _: &Context, node: NodeId, flags: u32, _: bool) -> Answer<Opened> {
        if flags & nix::libc::O_TRUNC.cast_unsigned() != 0 {
            self.memory.change(node.0, Change { size: Some(0), ..Change::default() })?;
        }
        Ok(OPENED)
    }

    async fn create(
        &self,
        at: &Context,
        node: NodeId,
        name: Bytes,
        _flags: u32,
        mode: u32,
        umask: u32,
    ) -> Answer<(Entry, Opened)> {
        let (owner, mode) = ((at.caller().uid, at.caller().gid), nix::libc::S_IFREG | mode & !umask & 0o7777);
        let made = self.memory.make(node.0, &name, mode, owner, 0)?;
        if name == NEVER_CLOSED.as_bytes() {
            self.never_closed.store(made.ino, Ordering::Relaxed);
        }
        Ok((entry(made), OPENED))
    }

    async fn read(&self, _: &Context, node: NodeId, _: Handle, offset: u64, size: u32, _: u32) -> Answer<Bytes> {
        self.memory.read(node.0, offset, size).map(Bytes::from)
    }

    async fn write(&self, _: &Context, node: NodeId, write: WriteRequest) -> Answer<u32> {
        self.memory.write(node.0, write.offset, &write.data)
    }

    async fn flush(&self, _: &Context, node: NodeId, _: Handle, _: LockOwner) -> Answer<()> {
        if node.0 == self.never_closed.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn release(&self, _: &Context, _: NodeId, _: Handle, _: u32, _: Option<LockOwner>) -> Answer<()> {
        Ok(())
    }

    async fn fsync(&self, _: &Context, _: NodeId, _: Handle, _: bool) -> Answer<()> {
        Ok(())
    }

    async fn opendir(&self, _: &Context, _: NodeId, _: u32) -> Answer<Opened> {
        Ok(OPENED)
    }

    async fn readdir(&self, _: &Context, node: NodeId, _: Handle, after: u64, size: u32, plus: bool) -> Answer<Reply> {
        let mut listing = Listing::new(size);
        for (cookie, stat, name) in self.memory.list(node.0, after)? {
            // The kernel has the two that stand for the directory itself and its parent already.
            let own = name == b"." || name == b"..";
            let node = if own { NodeId(0) } else { NodeId(stat.ino) };
            let added = match plus {
                true => listing.add_plus(&Entry { node, ..entry(stat) }, cookie, &name),
                false => listing.add(stat.ino, cookie, stat.mode, &name),
            };
            if !added {
                break;
            }
        }
        Ok(listing.done())
    }

    async fn releasedir(&self, _: &Context, _: NodeId, _: Handle, _: u32) -> Answer<()> {
        Ok(())
    }

    async fn statfs(&self, _: &Context, _: NodeId) -> Answer<StatFs> {
        let (blocks, files) = (1000, 100);
        Ok(StatFs {
            blocks,
            blocks_free: 900,
            blocks_available: 800,
            files,
            files_free: 50,
            block_bytes: 4096,
            name_max: 255,
        })
    }

    async fn setxattr(&self, _: &Context, node: NodeId, name: Bytes, value: Bytes, flags: u32, _: bool) -> Answer<()> {
        self.memory.set_xattr(node.0, &name, &value, flags.cast_signed())
    }

    async fn getxattr(&self, _: &Context, node: NodeId, name: Bytes, size: u32) -> Answer<SizedValue> {
        SizedValue::fit(self.memory.get_xattr(node.0, &name)?.into(), size)
    }

    async fn listxattr(&self, _: &Context, node: NodeId, size: u32) -> Answer<SizedValue> {
        SizedValue::fit(self.memory.list_xattrs(node.0)?.into(), size)
    }

    async fn removexattr(&self, _: &Context, node: NodeId, name: Bytes) -> Answer<()> {
        self.memory.remove_xattr(node.0, &name)
    }

    async fn fallocate(&self, _: &Context, node: NodeId, _: Handle, offset: u64, length: u64, mode: u32) -> Answer<()> {
        self.memory.allocate(node.0, offset, length, mode.cast_signed())
    }

    async fn lseek(&self, _: &Context, node: NodeId, _: Handle, offset: u64, whence: u32) -> Answer<u64> {
        self.memory.seek(node.0, offset, whence.cast_signed())
    }

    // So that it is seen which kind comes here: `flock` can be had, `fcntl` cannot, and neither waited for.
    async fn setlk(&self, _: &Context, _: NodeId, lock: LockRequest, wait: bool) -> Answer<()> {
        match (lock.kind, lock.mode) {
            (_, None) => Ok(()),
            (_, Some(_)) if wait => std::future::pending().await,
            (LockKind::Flock, Some(_)) => Ok(()),
            (LockKind::Posix, Some(_)) => Err(Errno::EAGAIN),
        }
    }
}
