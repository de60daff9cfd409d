//! A disk whose power can fail: [`Medium`], mounted.
//!
//! It can also spoil what is written to it, and say that all is well. With the power off every call fails with EIO, so that what programs do while they notice changes nothing any more.
//! Needs root and `/dev/fuse`. Everything is read and written past the page cache: what the programs see is what the
//! medium has.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_fuse::abi::codes::{init, opened};
use forebay_fuse::abi::{
    Attr, Entry, Handle, Listing, LockOwner, NodeId, Opened, Reply, SetAttr, StatFs, Time, WriteRequest,
};
use forebay_fuse::transport::{Classic, Device, MountFlags, MountSettings};
use forebay_fuse::{Context, Errno, Filesystem, Session, Settings};
use nix::mount::{MntFlags, umount2};
use tokio::sync::Notify;

use crate::medium::{Medium, Stat};

const OPENED: Opened = Opened { handle: Handle(0), flags: opened::DIRECT_IO };
const KEEP_SIZE: u32 = nix::libc::FALLOC_FL_KEEP_SIZE.cast_unsigned();

/// How a file is spoilt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoil {
    /// One bit of it is another.
    Flip,
    /// Only the first half of what is written first is kept.
    Cut,
    /// When it is given another name, zeros have that instead: somebody else has written it.
    Replace,
}

struct State {
    medium: Medium,
    on: bool,
    /// Files that begin like this are spoilt.
    spoil: Option<(Vec<u8>, Spoil)>,
    /// The file that is being cut.
    cut: Option<u64>,
    /// Files of this name are not synced for now.
    held: Option<Vec<u8>>,
    /// Syncs that wait for that.
    waiting: usize,
}

impl State {
    fn spoils(&self, begin: &[u8]) -> Option<Spoil> {
        self.spoil.as_ref().filter(|(begins, _)| begin.starts_with(begins)).map(|(_, how)| *how)
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        match self.spoils(data).filter(|_| offset == 0) {
            Some(Spoil::Cut) => {
                self.cut = Some(ino);
                self.medium.write(ino, offset, &data[..data.len() / 2])
            }
            Some(Spoil::Flip) => {
                let mut data = data.to_vec();
                data.last_mut().into_iter().for_each(|byte| *byte ^= 8);
                self.medium.write(ino, offset, &data)
            }
            _ if self.cut == Some(ino) => Ok(()),
            _ => self.medium.write(ino, offset, data),
        }
    }

    fn link(&mut self, ino: u64, dir: u64, name: &[u8]) -> Result<Stat, Errno> {
        let content = self.medium.read(ino, 0, u32::MAX)?;
        if self.spoils(content) != Some(Spoil::Replace) {
            return self.medium.link(ino, dir, name);
        }
        let zeros = vec![0; content.len()];
        let other = self.medium.make(dir, name, self.medium.stat(ino)?.mode)?.ino;
        self.medium.write(other, 0, &zeros)?;
        self.medium.stat(other)
    }

    /// Whether a sync of the file must wait.
    fn holds(&self, ino: u64) -> bool {
        self.held.as_ref().is_some_and(|name| self.medium.is_named(ino, name))
    }
}

struct Drive {
    state: Mutex<State>,
    let_go: Notify,
}

/// A mounted disk; unmounted when it is dropped.
pub struct Disk {
    drive: Arc<Drive>,
    dir: tempfile::TempDir,
    _session: Session,
}

impl Disk {
    /// Mounts an empty one. Has to be called in a runtime.
    #[must_use]
    pub fn mount() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (medium, spoil, cut, held, waiting) = Default::default();
        let state = Mutex::new(State { medium, on: true, spoil, cut, held, waiting });
        let drive = Arc::new(Drive { state, let_go: Notify::new() });
        let device = Device::open().expect("/dev/fuse is there");
        let how = MountSettings {
            source: "disk".into(),
            subtype: "testbed".into(),
            flags: MountFlags::MS_NODEV,
            default_permissions: true,
        };
        device.mount(dir.path(), &how).expect("root may mount");
        let defaults = Settings::default();
        // Locks are the kernel's affair.
        let flags = defaults.flags & !(init::POSIX_LOCKS | init::FLOCK_LOCKS);
        let runtime = tokio::runtime::Handle::current();
        let session = Session::start(Classic::new(device), drive.clone(), Settings { flags, ..defaults }, runtime);
        Self { drive, dir, _session: session.expect("the mount is served") }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// From now on files that begin with `begins` are spoilt when they are written.
    pub fn spoil(&self, begins: &[u8], how: Spoil) {
        self.drive.lock().spoil = Some((begins.to_vec(), how));
    }

    /// Keeps syncs of files of this name waiting until [`Self::release_syncs`].
    pub fn hold_syncs(&self, name: &str) {
        self.drive.lock().held = Some(name.as_bytes().to_vec());
    }

    /// Syncs that are kept waiting.
    #[must_use]
    pub fn syncs_held(&self) -> usize {
        self.drive.lock().waiting
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        self.drive.lock().held = None;
        self.drive.let_go.notify_waiters();
    }

    /// The power fails: what was not synced may be lost, which of it `seed` says, and nothing works any more.
    pub fn lose_power(&self, seed: u64) {
        let mut state = self.drive.lock();
        let mut number = seed | 1;
        state.medium.lose_power(&mut |below| {
            // xorshift64 (Marsaglia, 2003)
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            (number >> 32) as usize % below.max(1)
        });
        state.on = false;
    }

    /// The power is back.
    pub fn return_power(&self) {
        self.drive.lock().on = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that fails leaves users behind: they must not wait for the process that they keep from ending.
        let _ = umount2(self.dir.path(), MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    }
}

impl Drive {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn powered<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.lock();
        if state.on { act(&mut state) } else { Err(Errno::EIO) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Medium) -> Result<T, Errno>) -> Result<T, Errno> {
        self.powered(|state| act(&mut state.medium))
    }
}

fn attr(stat: &Stat) -> Attr {
    let never = Time { secs: 0, nanos: 0 };
    Attr {
        ino: stat.ino,
        mode: stat.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: stat.size,
        blocks: stat.size.div_ceil(512),
        block_bytes: 4096,
        atime: never,
        mtime: never,
        ctime: never,
        btime: never,
    }
}

fn entry(stat: Stat) -> Entry {
    let life = Duration::ZERO;
    Entry { node: NodeId(stat.ino), generation: 0, name_life: life, attr_life: life, attr: attr(&stat) }
}

impl Filesystem for Drive {
    async fn lookup(&self, _: &Context, node: NodeId, name: Bytes) -> Result<Entry, Errno> {
        self.with(|medium| medium.lookup(node.0, &name)).map(entry)
    }

    async fn getattr(&self, _: &Context, node: NodeId, _: Option<Handle>) -> Result<(Attr, Duration), Errno> {
        self.with(|medium| medium.stat(node.0)).map(|stat| (attr(&stat), Duration::ZERO))
    }

    async fn setattr(&self, _: &Context, node: NodeId, set: SetAttr) -> Result<(Attr, Duration), Errno> {
        let changed = self.with(|medium| {
            set.mode.map_or(Ok(()), |mode| medium.chmod(node.0, mode))?;
            set.size.map_or(Ok(()), |size| medium.truncate(node.0, size))?;
            medium.stat(node.0)
        });
        changed.map(|stat| (attr(&stat), Duration::ZERO))
    }

    async fn mkdir(&self, _: &Context, node: NodeId, name: Bytes, mode: u32, umask: u32) -> Result<Entry, Errno> {
        let mode = nix::libc::S_IFDIR | mode & !umask & 0o7777;
        self.with(|medium| medium.make(node.0, &name, mode)).map(entry)
    }

    async fn unlink(&self, _: &Context, node: NodeId, name: Bytes) -> Result<(), Errno> {
        self.with(|medium| medium.remove(node.0, &name))
    }

    async fn rmdir(&self, _: &Context, node: NodeId, name: Bytes) -> Result<(), Errno> {
        self.with(|medium| medium.remove(node.0, &name))
    }

    async fn rename(
        &self,
        _: &Context,
        node: NodeId,
        name: Bytes,
        new_parent: NodeId,
        new_name: Bytes,
        flags: u32,
    ) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.with(|medium| medium.rename((node.0, &name), (new_parent.0, &new_name)))
    }

    async fn link(&self, _: &Context, node: NodeId, target: NodeId, name: Bytes) -> Result<Entry, Errno> {
        self.powered(|state| state.link(target.0, node.0, &name)).map(entry)
    }

    async fn open(&self, _: &Context, node: NodeId, flags: u32, _: bool) -> Result<Opened, Errno> {
        let truncate = flags & nix::libc::O_TRUNC.cast_unsigned() != 0;
        self.with(|medium| if truncate { medium.truncate(node.0, 0) } else { Ok(()) })?;
        Ok(OPENED)
    }

    async fn create(
        &self,
        _: &Context,
        node: NodeId,
        name: Bytes,
        _: u32,
        mode: u32,
        umask: u32,
    ) -> Result<(Entry, Opened), Errno> {
        let mode = nix::libc::S_IFREG | mode & !umask & 0o7777;
        let made = self.with(|medium| medium.make(node.0, &name, mode))?;
        Ok((entry(made), OPENED))
    }

    async fn read(&self, _: &Context, node: NodeId, _: Handle, offset: u64, size: u32, _: u32) -> Result<Bytes, Errno> {
        self.with(|medium| medium.read(node.0, offset, size).map(Bytes::copy_from_slice))
    }

    async fn write(&self, _: &Context, node: NodeId, write: WriteRequest) -> Result<u32, Errno> {
        self.powered(|state| state.write(node.0, write.offset, &write.data))?;
        Ok(write.data.len() as u32)
    }

    async fn flush(&self, _: &Context, _: NodeId, _: Handle, _: LockOwner) -> Result<(), Errno> {
        self.with(|_| Ok(()))
    }

    async fn release(&self, _: &Context, _: NodeId, _: Handle, _: u32, _: Option<LockOwner>) -> Result<(), Errno> {
        Ok(())
    }

    async fn fsync(&self, _: &Context, node: NodeId, _: Handle, _: bool) -> Result<(), Errno> {
        loop {
            let go_on = self.let_go.notified();
            let held = self.powered(|state| {
                let held = state.holds(node.0);
                state.waiting += usize::from(held);
                if held { Ok(true) } else { state.medium.sync(node.0).map(|()| false) }
            })?;
            if !held {
                return Ok(());
            }
            go_on.await;
            self.lock().waiting -= 1;
        }
    }

    async fn opendir(&self, _: &Context, _: NodeId, _: u32) -> Result<Opened, Errno> {
        Ok(Opened { flags: 0, ..OPENED })
    }

    async fn readdir(
        &self,
        _: &Context,
        node: NodeId,
        _: Handle,
        after: u64,
        size: u32,
        plus: bool,
    ) -> Result<Reply, Errno> {
        let mut listing = Listing::new(size);
        let names = self.with(|medium| medium.list(node.0))?;
        for (cookie, (stat, name)) in (1..).zip(names).skip(after as usize) {
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

    async fn releasedir(&self, _: &Context, _: NodeId, _: Handle, _: u32) -> Result<(), Errno> {
        Ok(())
    }

    async fn fsyncdir(&self, _: &Context, _: NodeId, _: Handle, _: bool) -> Result<(), Errno> {
        self.with(|_| Ok(()))
    }

    async fn statfs(&self, _: &Context, _: NodeId) -> Result<StatFs, Errno> {
        let (blocks, files) = (1 << 24, 1 << 20);
        Ok(StatFs {
            blocks,
            blocks_free: blocks,
            blocks_available: blocks,
            files,
            files_free: files,
            block_bytes: 4096,
            name_max: 255,
        })
    }

    async fn fallocate(
        &self,
        _: &Context,
        node: NodeId,
        _: Handle,
        offset: u64,
        length: u64,
        mode: u32,
    ) -> Result<(), Errno> {
        match mode {
            0 => self.with(|medium| medium.allocate(node.0, offset + length)),
            KEEP_SIZE => self.with(|_| Ok(())),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}
