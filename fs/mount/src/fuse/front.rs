//! The door the kernel's requests come in by: each method takes a request's words, has the operation carried out, and
//! answers in the kernel's words.

use std::time::Duration;

use bytes::Bytes;
use forebay_client::{ClientError, Filesystem, wall_clock};
use forebay_fuse::abi::codes::opened;
use forebay_fuse::abi::{
    Attr, CopyRequest, Entry, Handle, HeldLock, Listing, LockOwner, LockRequest, NodeId, Opened, Reply, SetAttr,
    SizedValue, StatFs, WriteRequest,
};
use forebay_fuse::session::Notifier;
use forebay_fuse::{Context, Errno};
use forebay_types::{InodeId, limits};
use forebay_wire::meta::NewNode;
use tokio::runtime::Handle as Runtime;

use crate::fuse::convert::{self, OpenMode, inode, kernel_attr};
use crate::fuse::{Ops, writes};

/// Unit of `statfs`, in bytes.
const STATFS_UNIT: u32 = 4096;
/// Inodes that `statfs` calls free: there is no limit but space.
const FREE_INODES: u64 = 1 << 32;

/// A filesystem as the kernel is shown it.
pub struct Front {
    ops: Ops,
    no_atime: bool,
}

impl Front {
    /// In front of a filesystem; with `no_atime`, reads leave no trace.
    #[must_use]
    pub fn new(fs: Filesystem, no_atime: bool, runtime: Runtime) -> Self {
        Self { ops: Ops::new(fs, runtime), no_atime }
    }

    /// Who can be told what the kernel must not believe any more; until then it is let believe nothing.
    pub fn reach_kernel_by(&self) -> impl FnOnce(Notifier) + use<> {
        let kernel = self.ops.kernel.clone();
        move |notifier| kernel.reach_by(notifier)
    }

    /// A name's answer, and what it says is not there noted.
    fn entry(&self, at: &Context, dir: NodeId, name: &Bytes, attr: &forebay_types::Attr) -> Entry {
        self.ops.absent.told(attr);
        let target = Some((attr.ino, attr.kind));
        Entry {
            node: convert::node(attr.ino),
            generation: attr.generation,
            name_life: self.ops.kernel.life_of_name(at, inode(dir), name, target),
            attr_life: self.ops.kernel.life_of(at, attr),
            attr: kernel_attr(attr),
        }
    }

    /// Whether the kernel may keep a file's pages when it is opened, as a flag of its opening: it has been told to forget
    /// those that are not as they were. Not where a read is to be noted, since what the kernel has it does not ask for.
    fn keeps(&self, ino: InodeId) -> u32 {
        match self.ops.fs.believed(ino) {
            Some(attr) if self.no_atime || !attr.access_counts(wall_clock()) => opened::KEEP_CACHE,
            _ => 0,
        }
    }

    fn attributes(&self, at: &Context, attr: &forebay_types::Attr) -> (Attr, Duration) {
        self.ops.absent.told(attr);
        (kernel_attr(attr), self.ops.kernel.life_of(at, attr))
    }
}

/// What the kernel is told of a failure.
fn refuse(at: &Context) -> impl FnOnce(ClientError) -> Errno {
    move |error| convert::errno(at.opcode().name(), inode(at.node()), &error)
}

impl forebay_fuse::Filesystem for Front {
    fn progress(&self) -> u64 {
        self.ops.fs.cluster().answers()
    }

    async fn lookup(&self, at: &Context, node: NodeId, name: Bytes) -> Result<Entry, Errno> {
        match self.ops.lookup(at.caller(), inode(node), &name).await {
            Ok(attr) => Ok(self.entry(at, node, &name, &attr)),
            Err(error) => {
                // That there is no such name may be believed too.
                let missing = matches!(error, ClientError::Posix(forebay_types::Errno::NoEntry));
                let life =
                    if missing { self.ops.kernel.life_of_name(at, inode(node), &name, None) } else { Duration::ZERO };
                if life.is_zero() { Err(refuse(at)(error)) } else { Ok(Entry::missing(life)) }
            }
        }
    }

    async fn getattr(&self, at: &Context, node: NodeId, _: Option<Handle>) -> Result<(Attr, Duration), Errno> {
        self.ops.fs.getattr(inode(node)).await.map(|attr| self.attributes(at, &attr)).map_err(refuse(at))
    }

    async fn statx(
        &self,
        at: &Context,
        node: NodeId,
        handle: Option<Handle>,
        _flags: u32,
        _mask: u32,
    ) -> Result<(Attr, Duration), Errno> {
        self.getattr(at, node, handle).await
    }

    async fn setattr(&self, at: &Context, node: NodeId, set: SetAttr) -> Result<(Attr, Duration), Errno> {
        let changed = self.ops.set(at.caller(), inode(node), convert::set_attr(&set), set.handle.is_some()).await;
        changed.map(|attr| self.attributes(at, &attr)).map_err(refuse(at))
    }

    async fn readlink(&self, at: &Context, node: NodeId) -> Result<Bytes, Errno> {
        self.ops.fs.readlink(&self.ops.cred(at.caller()), inode(node)).await.map_err(refuse(at))
    }

    async fn symlink(&self, at: &Context, node: NodeId, name: Bytes, target: Bytes) -> Result<Entry, Errno> {
        let made = self.ops.make(at.caller(), inode(node), &name, NewNode::Symlink(target), 0o777.into()).await;
        made.map(|attr| self.entry(at, node, &name, &attr)).map_err(refuse(at))
    }

    async fn mknod(
        &self,
        at: &Context,
        node: NodeId,
        name: Bytes,
        mode: u32,
        rdev: u32,
        umask: u32,
    ) -> Result<Entry, Errno> {
        let kind = convert::new_node(mode, rdev).ok_or(Errno::EINVAL)?;
        let mode = convert::new_mode(mode, umask);
        self.ops
            .make(at.caller(), inode(node), &name, kind, mode)
            .await
            .map(|attr| self.entry(at, node, &name, &attr))
            .map_err(refuse(at))
    }

    async fn mkdir(&self, at: &Context, node: NodeId, name: Bytes, mode: u32, umask: u32) -> Result<Entry, Errno> {
        let (cred, mode) = (self.ops.cred(at.caller()), convert::new_mode(mode, umask));
        self.ops
            .fs
            .mkdir(&cred, inode(node), &name, mode)
            .await
            .map(|attr| self.entry(at, node, &name, &attr))
            .map_err(refuse(at))
    }

    async fn unlink(&self, at: &Context, node: NodeId, name: Bytes) -> Result<(), Errno> {
        self.ops.fs.unlink(&self.ops.cred(at.caller()), inode(node), &name).await.map_err(refuse(at))
    }

    async fn rmdir(&self, at: &Context, node: NodeId, name: Bytes) -> Result<(), Errno> {
        self.ops.fs.rmdir(&self.ops.cred(at.caller()), inode(node), &name).await.map_err(refuse(at))
    }

    async fn rename(
        &self,
        at: &Context,
        node: NodeId,
        name: Bytes,
        new_parent: NodeId,
        new_name: Bytes,
        flags: u32,
    ) -> Result<(), Errno> {
        let (from, to) = ((inode(node), &name[..]), (inode(new_parent), &new_name[..]));
        self.ops.rename(at.caller(), from, to, flags).await.map_err(refuse(at))
    }

    async fn link(&self, at: &Context, node: NodeId, target: NodeId, name: Bytes) -> Result<Entry, Errno> {
        let cred = self.ops.cred(at.caller());
        self.ops
            .fs
            .link(&cred, inode(target), inode(node), &name)
            .await
            .map(|attr| self.entry(at, node, &name, &attr))
            .map_err(refuse(at))
    }

    async fn open(&self, at: &Context, node: NodeId, flags: u32, _kill_privileges: bool) -> Result<Opened, Errno> {
        let mode = OpenMode::of(flags.cast_signed());
        self.ops.open(at.caller(), inode(node), mode).await.map_err(refuse(at))?;
        Ok(Opened { handle: self.ops.new_handle(mode.write), flags: self.keeps(inode(node)) })
    }

    async fn create(
        &self,
        at: &Context,
        node: NodeId,
        name: Bytes,
        flags: u32,
        mode: u32,
        umask: u32,
    ) -> Result<(Entry, Opened), Errno> {
        let (flags, mode) = (flags.cast_signed(), convert::new_mode(mode, umask));
        let attr = self.ops.create(at.caller(), inode(node), &name, mode, flags).await.map_err(refuse(at))?;
        let handle = self.ops.new_handle(OpenMode::of(flags).write);
        Ok((self.entry(at, node, &name, &attr), Opened { handle, flags: self.keeps(attr.ino) }))
    }

    async fn tmpfile(
        &self,
        at: &Context,
        node: NodeId,
        flags: u32,
        mode: u32,
        umask: u32,
    ) -> Result<(Entry, Opened), Errno> {
        let (flags, mode) = (flags.cast_signed(), convert::new_mode(mode, umask));
        let attr = self.ops.tmpfile(at.caller(), inode(node), mode, flags).await.map_err(refuse(at))?;
        let handle = self.ops.new_handle(OpenMode::of(flags).write);
        // It has no name that could be believed.
        let (kept, life) = self.attributes(at, &attr);
        let node = convert::node(attr.ino);
        let entry = Entry { node, generation: attr.generation, name_life: Duration::ZERO, attr_life: life, attr: kept };
        Ok((entry, Opened { handle, flags: 0 }))
    }

    async fn read(
        &self,
        at: &Context,
        node: NodeId,
        handle: Handle,
        offset: u64,
        size: u32,
        flags: u32,
    ) -> Result<Bytes, Errno> {
        self.ops.check_lock(inode(node), handle).map_err(refuse(at))?;
        if !self.no_atime && flags.cast_signed() & nix::libc::O_NOATIME == 0 {
            self.ops.fs.accessed(inode(node));
        }
        let ino = inode(node);
        let before = self.ops.fs.believed(ino).map(|attr| attr.version);
        let pages = self.ops.kernel.uses(ino, offset, size.into());
        let bytes = self.ops.fs.read(ino, offset, size).await.map_err(refuse(at))?;
        if before.is_none() || before != self.ops.fs.believed(ino).map(|attr| attr.version) {
            pages.must_not_be_kept();
        }
        at.hold(pages);
        Ok(bytes)
    }

    async fn write(&self, at: &Context, node: NodeId, write: WriteRequest) -> Result<u32, Errno> {
        let size = write.data.len() as u32;
        let ino = inode(node);
        if !write.from_cache {
            self.ops.check_lock(ino, write.handle).map_err(refuse(at))?;
        }
        at.hold(self.ops.kernel.uses(ino, write.offset, size.into()));
        self.ops.write(ino, write).await.map(|()| size).map_err(refuse(at))
    }

    async fn flush(&self, at: &Context, node: NodeId, handle: Handle, owner: LockOwner) -> Result<(), Errno> {
        let unlock = self.ops.unlock_process(inode(node), owner);
        // RELEASE comes after the program goes on: what others are to see then is told now.
        let flush = async { if writes(handle) { self.ops.fs.flush(inode(node)).await } else { Ok(()) } };
        let (unlocked, flushed) = tokio::join!(unlock, flush);
        self.ops.fs.tell_access(inode(node)).await;
        flushed.and(unlocked).map_err(refuse(at))
    }

    async fn release(
        &self,
        at: &Context,
        node: NodeId,
        handle: Handle,
        _flags: u32,
        flock: Option<LockOwner>,
    ) -> Result<(), Errno> {
        let ino = inode(node);
        let (unlocked, released) = tokio::join!(self.ops.unlock_handle(ino, handle, flock), self.ops.fs.release(ino));
        released.and(unlocked).map_err(refuse(at))
    }

    async fn fsync(&self, at: &Context, node: NodeId, _handle: Handle, _data_only: bool) -> Result<(), Errno> {
        self.ops.fs.fsync(inode(node)).await.map_err(refuse(at))
    }

    async fn opendir(&self, at: &Context, _node: NodeId, _flags: u32) -> Result<Opened, Errno> {
        Ok(Opened { handle: Handle(self.ops.open_directory(at.caller())), flags: 0 })
    }

    // Attributes with the entries would be worth nothing: they have no lifetime, so the kernel would ask for each
    // again. It is not told that they could be had.
    async fn readdir(
        &self,
        at: &Context,
        node: NodeId,
        handle: Handle,
        after: u64,
        size: u32,
        plus: bool,
    ) -> Result<Reply, Errno> {
        if plus {
            return Err(Errno::ENOSYS);
        }
        let entries = self.ops.read_directory(handle.0, inode(node), after).await.map_err(refuse(at))?;
        let mut listing = Listing::new(size);
        for entry in entries {
            let (ino, kind) = (convert::node(entry.ino), convert::kind(entry.kind));
            if !listing.add(ino.0, entry.cookie, kind, &entry.name) {
                break;
            }
        }
        Ok(listing.done())
    }

    async fn releasedir(&self, _at: &Context, _node: NodeId, handle: Handle, _flags: u32) -> Result<(), Errno> {
        self.ops.listings.close(handle.0);
        Ok(())
    }

    // Names are durable once a change of them has been answered, but for those of delegated directories.
    async fn fsyncdir(&self, at: &Context, _node: NodeId, _handle: Handle, _data_only: bool) -> Result<(), Errno> {
        self.ops.fs.sync_names().await.map_err(refuse(at))
    }

    async fn statfs(&self, at: &Context, node: NodeId) -> Result<StatFs, Errno> {
        let space = self.ops.fs.statfs_of(inode(node)).await.map_err(refuse(at))?;
        let free_inodes = space.free_inodes.unwrap_or(FREE_INODES);
        let unit = u64::from(STATFS_UNIT);
        let free = space.free_bytes / unit;
        Ok(StatFs {
            blocks: space.total_bytes / unit,
            blocks_free: free,
            blocks_available: free,
            files: space.used_inodes + free_inodes,
            files_free: free_inodes,
            block_bytes: STATFS_UNIT,
            name_max: limits::NAME_MAX as u32,
        })
    }

    async fn syncfs(&self, at: &Context, _node: NodeId) -> Result<(), Errno> {
        self.ops.fs.sync_all().await.map_err(refuse(at))
    }

    async fn setxattr(
        &self,
        at: &Context,
        node: NodeId,
        name: Bytes,
        value: Bytes,
        flags: u32,
        _clear_sgid: bool,
    ) -> Result<(), Errno> {
        let flags = flags.cast_signed();
        self.ops.set_xattr(at.caller(), inode(node), &name, &value, flags).await.map_err(refuse(at))
    }

    async fn getxattr(&self, at: &Context, node: NodeId, name: Bytes, size: u32) -> Result<SizedValue, Errno> {
        let value = self.ops.get_xattr(at.caller(), inode(node), &name).await.map_err(refuse(at))?;
        SizedValue::fit(value, size)
    }

    async fn listxattr(&self, at: &Context, node: NodeId, size: u32) -> Result<SizedValue, Errno> {
        let names = self.ops.list_xattrs(at.caller(), inode(node)).await.map_err(refuse(at))?;
        SizedValue::fit(names, size)
    }

    async fn removexattr(&self, at: &Context, node: NodeId, name: Bytes) -> Result<(), Errno> {
        self.ops.remove_xattr(at.caller(), inode(node), &name).await.map_err(refuse(at))
    }

    async fn getlk(&self, at: &Context, node: NodeId, lock: LockRequest) -> Result<Option<HeldLock>, Errno> {
        self.ops.lock_in_the_way(inode(node), &lock).await.map_err(refuse(at))
    }

    async fn setlk(&self, at: &Context, node: NodeId, lock: LockRequest, wait: bool) -> Result<(), Errno> {
        self.ops.set_lock(inode(node), &lock, wait).await.map_err(refuse(at))
    }

    async fn fallocate(
        &self,
        at: &Context,
        node: NodeId,
        _handle: Handle,
        offset: u64,
        length: u64,
        mode: u32,
    ) -> Result<(), Errno> {
        self.ops.allocate(at.caller(), inode(node), (offset, length), mode.cast_signed()).await.map_err(refuse(at))
    }

    async fn lseek(&self, at: &Context, node: NodeId, _handle: Handle, offset: u64, whence: u32) -> Result<u64, Errno> {
        self.ops.seek(inode(node), offset.cast_signed(), whence.cast_signed()).await.map_err(refuse(at))
    }

    async fn copy_file_range(&self, at: &Context, node: NodeId, copy: CopyRequest) -> Result<u64, Errno> {
        let (from, to) = ((inode(node), copy.offset), (inode(copy.target), copy.target_offset));
        self.ops.copy(at.caller(), from, to, copy.length).await.map_err(refuse(at))
    }
}
