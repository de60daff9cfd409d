//! The door of `fuser`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    SessionACL, TimeOrNow, WriteFlags,
};
use nix::errno::Errno;

use super::{Answer, Change, Memory, Stat};

const LIFE: Duration = Duration::ZERO;

pub struct Theirs {
    pub memory: Arc<Memory>,
}

impl Theirs {
    /// Mounts a filesystem and serves it until the session is dropped.
    pub fn mount(memory: Arc<Memory>, mountpoint: &Path) -> BackgroundSession {
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("memory".into()), MountOption::DefaultPermissions, MountOption::NoDev];
        config.acl = SessionACL::All;
        fuser::spawn_mount(Self { memory }, mountpoint, &config).expect("root may mount")
    }
}

fn attr(stat: &Stat) -> FileAttr {
    let time = |(secs, nanos): (i64, u32)| UNIX_EPOCH + Duration::new(secs as u64, nanos);
    let kind = match stat.mode & nix::libc::S_IFMT {
        nix::libc::S_IFDIR => FileType::Directory,
        nix::libc::S_IFLNK => FileType::Symlink,
        nix::libc::S_IFIFO => FileType::NamedPipe,
        nix::libc::S_IFSOCK => FileType::Socket,
        nix::libc::S_IFCHR => FileType::CharDevice,
        nix::libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    };
    FileAttr {
        ino: INodeNo(stat.ino),
        size: stat.size,
        blocks: stat.size.div_ceil(512),
        atime: time(stat.atime),
        mtime: time(stat.mtime),
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: (stat.mode & 0o7777) as u16,
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        blksize: 4096,
        flags: 0,
    }
}

fn time(time: TimeOrNow) -> (i64, u32) {
    match time {
        TimeOrNow::Now => (1_000_000, 0),
        TimeOrNow::SpecificTime(time) => {
            let since = time.duration_since(UNIX_EPOCH).expect("the tests set no time before 1970");
            (since.as_secs() as i64, since.subsec_nanos())
        }
    }
}

fn theirs(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno as i32)
}

fn owner(request: &Request) -> (u32, u32) {
    (request.uid(), request.gid())
}

macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $done:expr) => {
        match $result {
            Ok($value) => $done,
            Err(errno) => $reply.error(theirs(errno)),
        }
    };
}

fn entry(reply: ReplyEntry, result: Answer<Stat>) {
    answer!(reply, result, stat => reply.entry(&LIFE, &attr(&stat), Generation(0)));
}

fn done(reply: ReplyEmpty, result: Answer<()>) {
    answer!(reply, result, () => reply.ok());
}

fn sized(reply: ReplyXattr, result: Answer<Vec<u8>>, room: u32) {
    match result {
        Ok(value) if room == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > room as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(theirs(errno)),
    }
}

impl fuser::Filesystem for Theirs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = InitFlags::FUSE_ASYNC_READ
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_BIG_WRITES
            | InitFlags::FUSE_ATOMIC_O_TRUNC
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_PARALLEL_DIROPS;
        let _ = config.add_capabilities(wanted & config.capabilities());
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.memory.lookup(parent.0, name.as_bytes()));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.memory.stat(ino.0), stat => reply.attr(&LIFE, &attr(&stat)));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change { mode, uid, gid, size, atime: atime.map(time), mtime: mtime.map(time) };
        answer!(reply, self.memory.change(ino.0, change), stat => reply.attr(&LIFE, &attr(&stat)));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        answer!(reply, self.memory.read(ino.0, 0, u32::MAX), target => reply.data(&target));
    }

    fn mknod(&self, at: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        entry(reply, self.memory.make(parent.0, name.as_bytes(), mode & !umask, owner(at), rdev));
    }

    fn mkdir(&self, at: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mode = nix::libc::S_IFDIR | mode & !umask & 0o7777;
        entry(reply, self.memory.make(parent.0, name.as_bytes(), mode, owner(at), 0));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.memory.remove(parent.0, name.as_bytes(), false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.memory.remove(parent.0, name.as_bytes(), true));
    }

    fn symlink(&self, at: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        entry(reply, self.memory.symlink(parent.0, name.as_bytes(), target, owner(at)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = ((parent.0, name.as_bytes()), (new_parent.0, new_name.as_bytes()));
        done(reply, self.memory.rename(from, to, flags.bits()));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.memory.link(ino.0, parent.0, name.as_bytes()));
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & nix::libc::O_TRUNC != 0 {
            let change = Change { size: Some(0), ..Change::default() };
            if let Err(errno) = self.memory.change(ino.0, change) {
                return reply.error(theirs(errno));
            }
        }
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn create(&self, at: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let mode = nix::libc::S_IFREG | mode & !umask & 0o7777;
        let made = self.memory.make(parent.0, name.as_bytes(), mode, owner(at), 0);
        answer!(reply, made, stat => {
            reply.created(&LIFE, &attr(&stat), Generation(0), FileHandle(0), FopenFlags::empty());
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, self.memory.read(ino.0, offset, size), data => reply.data(&data));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(reply, self.memory.write(ino.0, offset, data), size => reply.written(size));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        answer!(reply, self.memory.list(ino.0, offset), entries => {
            for (cookie, stat, name) in entries {
                if reply.add(INodeNo(stat.ino), cookie, attr(&stat).kind, OsStr::from_bytes(&name)) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1000, 900, 800, 100, 50, 4096, 255, 4096);
    }

    fn setxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _: u32, reply: ReplyEmpty) {
        done(reply, self.memory.set_xattr(ino.0, name.as_bytes(), value, flags));
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        sized(reply, self.memory.get_xattr(ino.0, name.as_bytes()), size);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        sized(reply, self.memory.list_xattrs(ino.0), size);
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.memory.remove_xattr(ino.0, name.as_bytes()));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        done(reply, self.memory.allocate(ino.0, offset, length, mode));
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        answer!(reply, self.memory.seek(ino.0, offset as u64, whence), at => reply.offset(at as i64));
    }
}
