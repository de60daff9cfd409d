//! The door the kernel's requests come in by.
//!
//! Protocol: a thread of the FUSE library calls a method of [`Front`], which takes everything it needs out of the
//! request, starts a task on the runtime and returns; the task replies. The thread waits only where
//! [`MOST_REQUESTS`](super::session) are under way, each of which ends at its deadline.

use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use forebay_client::Filesystem;
use forebay_types::{Attr, Errno, InodeId, Statfs, limits};
use forebay_wire::meta::{NewNode, SetAttr};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, FopenFlags, Generation, INodeNo, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle;

use crate::fuse::convert::{self, OpenMode, file_attr, inode};
use crate::fuse::session::{InFlight, configure};
use crate::fuse::xattrs::Sized as XattrReply;
use crate::fuse::{Caller, Ops, Outcome};

/// How long the kernel may believe a name or an attribute.
const LIFE: Duration = Duration::ZERO;
/// Unit of `statfs`, in bytes.
const STATFS_UNIT: u32 = 4096;
/// Inodes that `statfs` calls free: there is no limit but space.
const FREE_INODES: u64 = 1 << 32;

/// A filesystem as the kernel is shown it.
pub struct Front {
    ops: Arc<Ops>,
    runtime: Handle,
    in_flight: InFlight,
}

/// A reply that can be a refusal.
trait Refuse: Send + 'static {
    fn refuse(self, errno: fuser::Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: fuser::Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

impl Front {
    /// In front of a filesystem; requests are carried out on `runtime`.
    #[must_use]
    pub fn new(fs: Filesystem, runtime: Handle) -> Self {
        Self { ops: Arc::new(Ops::new(fs)), runtime, in_flight: InFlight::new() }
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// Carries a request out on the runtime and replies.
    fn serve<R, T, F>(
        &self,
        op: &'static str,
        ino: INodeNo,
        reply: R,
        work: impl FnOnce(Arc<Ops>, InodeId) -> F + Send + 'static,
        done: impl FnOnce(R, T) + Send + 'static,
    ) where
        R: Refuse,
        T: Send,
        F: Future<Output = Outcome<T>> + Send,
    {
        let requests = self.in_flight.0.clone();
        let permit = match requests.clone().try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => self.runtime.block_on(requests.acquire_owned()),
        };
        let Ok(permit) = permit else { return reply.refuse(fuser::Errno::EIO) };
        let (ops, ino) = (self.ops.clone(), inode(ino));
        self.runtime.spawn(async move {
            match work(ops, ino).await {
                Ok(value) => done(reply, value),
                Err(error) => reply.refuse(convert::errno(op, ino, &error)),
            }
            drop(permit);
        });
    }
}

fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

fn owned(name: &OsStr) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn entry(reply: ReplyEntry, attr: Attr) {
    reply.entry(&LIFE, &file_attr(&attr), Generation(attr.generation));
}

fn attributes(reply: ReplyAttr, attr: Attr) {
    reply.attr(&LIFE, &file_attr(&attr));
}

fn done(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

fn xattr(reply: ReplyXattr, value: XattrReply) {
    match value {
        XattrReply::Size(size) => reply.size(size),
        XattrReply::Data(data) => reply.data(&data),
    }
}

fn statfs(reply: ReplyStatfs, space: Statfs) {
    let unit = u64::from(STATFS_UNIT);
    let (total, free) = (space.total_bytes / unit, space.free_bytes / unit);
    let inodes = space.used_inodes + FREE_INODES;
    reply.statfs(total, free, free, inodes, FREE_INODES, STATFS_UNIT, limits::NAME_MAX as u32, STATFS_UNIT);
}

/// Files opened only to be read have nothing to say when they are closed.
fn open_flags(flags: i32) -> FopenFlags {
    if OpenMode::of(flags).write { FopenFlags::empty() } else { FopenFlags::FOPEN_NOFLUSH }
}

impl fuser::Filesystem for Front {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        configure(config);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (caller, name) = (caller(request), owned(name));
        let work = move |ops: Arc<Ops>, dir| async move { ops.fs.lookup(&ops.cred(caller), dir, &name).await };
        self.serve("lookup", parent, reply, work, entry);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.getattr(ino).await };
        self.serve("getattr", ino, reply, work, attributes);
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (caller, mode) = (caller(request), mode.map(convert::permissions));
        let (atime, mtime) = (atime.map(convert::set_time), mtime.map(convert::set_time));
        let set = SetAttr { mode, uid, gid, size, atime, mtime, ..SetAttr::default() };
        let work = move |ops: Arc<Ops>, ino| async move { ops.set(caller, ino, set, fh.is_some()).await };
        self.serve("setattr", ino, reply, work, attributes);
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let caller = caller(request);
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.readlink(&ops.cred(caller), ino).await };
        self.serve("readlink", ino, reply, work, |reply, target: Bytes| reply.data(&target));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(node) = convert::new_node(mode, rdev) else { return reply.error(fuser::Errno::EINVAL) };
        let (caller, name, mode) = (caller(request), owned(name), convert::permissions(mode & !umask));
        let work = move |ops: Arc<Ops>, dir| async move { ops.make(caller, dir, &name, node, mode).await };
        self.serve("mknod", parent, reply, work, entry);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (caller, name, mode) = (caller(request), owned(name), convert::permissions(mode & !umask));
        let work = move |ops: Arc<Ops>, dir| async move { ops.fs.mkdir(&ops.cred(caller), dir, &name, mode).await };
        self.serve("mkdir", parent, reply, work, entry);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (caller, name) = (caller(request), owned(name));
        let work = move |ops: Arc<Ops>, dir| async move { ops.fs.unlink(&ops.cred(caller), dir, &name).await };
        self.serve("unlink", parent, reply, work, done);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (caller, name) = (caller(request), owned(name));
        let work = move |ops: Arc<Ops>, dir| async move { ops.fs.rmdir(&ops.cred(caller), dir, &name).await };
        self.serve("rmdir", parent, reply, work, done);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (caller, name) = (caller(request), owned(name));
        let node = NewNode::Symlink(owned(target.as_os_str()));
        let work = move |ops: Arc<Ops>, dir| async move { ops.make(caller, dir, &name, node, 0o777).await };
        self.serve("symlink", parent, reply, work, entry);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (caller, name, new_name, new_dir) = (caller(request), owned(name), owned(new_name), inode(new_parent));
        let work = move |ops: Arc<Ops>, dir| async move {
            ops.rename(caller, (dir, &name), (new_dir, &new_name), flags).await
        };
        self.serve("rename", parent, reply, work, done);
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (caller, name, dir) = (caller(request), owned(name), inode(parent));
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.link(&ops.cred(caller), ino, dir, &name).await };
        self.serve("link", ino, reply, work, entry);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let caller = caller(request);
        let work = move |ops: Arc<Ops>, ino| async move { ops.open(caller, ino, OpenMode::of(flags.0)).await };
        self.serve("open", ino, reply, work, move |reply, _| reply.opened(FileHandle(0), open_flags(flags.0)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (caller, name, mode) = (caller(request), owned(name), convert::permissions(mode & !umask));
        let work = move |ops: Arc<Ops>, dir| async move { ops.create(caller, dir, &name, mode, flags).await };
        self.serve("create", parent, reply, work, move |reply, attr: Attr| {
            let generation = Generation(attr.generation);
            reply.created(&LIFE, &file_attr(&attr), generation, FileHandle(0), open_flags(flags));
        });
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.read(ino, offset, size).await };
        self.serve("read", ino, reply, work, |reply, data: Bytes| reply.data(&data));
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (size, data) = (data.len() as u32, Bytes::copy_from_slice(data));
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.write(ino, offset, data).await };
        self.serve("write", ino, reply, work, move |reply, ()| reply.written(size));
    }

    fn flush(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.fsync(ino).await };
        self.serve("flush", ino, reply, work, done);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.release(ino).await };
        self.serve("release", ino, reply, work, done);
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.fs.fsync(ino).await };
        self.serve("fsync", ino, reply, work, done);
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let caller = caller(request);
        let work = move |ops: Arc<Ops>, _| async move { Ok(ops.open_directory(caller)) };
        self.serve("opendir", ino, reply, work, |reply, fh| reply.opened(FileHandle(fh), FopenFlags::empty()));
    }

    // Attributes with the entries would be worth nothing: they have no lifetime, so the kernel would ask for each again.
    fn readdir(&self, _request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        let work = move |ops: Arc<Ops>, dir| async move { ops.read_directory(fh.0, dir, offset).await };
        self.serve("readdir", ino, reply, work, |mut reply, entries| {
            for entry in entries {
                let name = OsStr::from_bytes(&entry.name);
                if reply.add(convert::node(entry.ino), entry.cookie, convert::file_type(entry.kind), name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.ops.listings.close(fh.0);
        reply.ok();
    }

    // Names are durable once a change of them has been answered.
    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let work = move |ops: Arc<Ops>, _| async move { ops.fs.statfs().await };
        self.serve("statfs", ino, reply, work, statfs);
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (caller, name, value) = (caller(request), owned(name), Bytes::copy_from_slice(value));
        let work = move |ops: Arc<Ops>, ino| async move { ops.set_xattr(caller, ino, &name, &value, flags).await };
        self.serve("setxattr", ino, reply, work, done);
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (caller, name) = (caller(request), owned(name));
        let work = move |ops: Arc<Ops>, ino| async move { ops.get_xattr(caller, ino, &name, size).await };
        self.serve("getxattr", ino, reply, work, xattr);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let caller = caller(request);
        let work = move |ops: Arc<Ops>, ino| async move { ops.list_xattrs(caller, ino, size).await };
        self.serve("listxattr", ino, reply, work, xattr);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (caller, name) = (caller(request), owned(name));
        let work = move |ops: Arc<Ops>, ino| async move { ops.remove_xattr(caller, ino, &name).await };
        self.serve("removexattr", ino, reply, work, done);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.allocate(ino, offset, length, mode).await };
        self.serve("fallocate", ino, reply, work, done);
    }

    fn lseek(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let work = move |ops: Arc<Ops>, ino| async move { ops.seek(ino, offset, whence).await };
        self.serve("lseek", ino, reply, work, |reply, offset| reply.offset(offset));
    }

    // The kernel copies through its page cache instead.
    fn copy_file_range(
        &self,
        _request: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(fuser::Errno::from_i32(Errno::NotImplemented.raw()));
    }
}
