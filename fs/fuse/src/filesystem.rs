//! What a filesystem is asked for: one method an operation.

use std::future::Future;

use bytes::Bytes;
use nix::errno::Errno;

use crate::abi::{
    Attr, CopyRequest, Entry, Handle, HeldLock, IoctlRequest, LockOwner, LockRequest, NodeId, Opened, Reply, SetAttr,
    SizedValue, StatFs, WriteRequest,
};
use crate::session::Context;

use std::time::Duration;

macro_rules! operations {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident($($argument:ident: $type:ty),*) -> $out:ty, else $errno:ident;
    )*) => {
        /// A filesystem. Every method may wait; what it waits for is dropped with its future when the caller has had a
        /// deadly signal, or the deadline has passed. What is not implemented answers as the kernel expects of
        /// a filesystem that lacks it.
        pub trait Filesystem: Send + Sync + 'static {
            /// A number that changes whenever something is heard from whoever requests wait for: while it does,
            /// requests that move data are let go on beyond their deadline.
            fn progress(&self) -> u64 {
                0
            }

            /// The kernel has forgotten so many answers that named `node`. Must not wait.
            fn forget(&self, node: NodeId, lookups: u64) {
                let _ = (node, lookups);
            }

            $(
                $(#[doc = $doc])*
                fn $name(
                    &self,
                    context: &Context,
                    node: NodeId,
                    $($argument: $type),*
                ) -> impl Future<Output = Result<$out, Errno>> + Send {
                    let _ = (context, node, $(&$argument),*);
                    async { Err(Errno::$errno) }
                }
            )*
        }
    };
}

operations! {
    /// Finds `name` in the directory `node`.
    lookup(name: Bytes) -> Entry, else ENOSYS;
    /// Attributes, and how long they may be believed.
    getattr(handle: Option<Handle>) -> (Attr, Duration), else ENOSYS;
    /// [`Self::getattr`] for `statx`, whose flags and mask these are. Asked for where [`Self::getattr`] does not say
    /// enough: `ENOSYS` makes the kernel do without the time of creation.
    statx(handle: Option<Handle>, flags: u32, mask: u32) -> (Attr, Duration), else ENOSYS;
    /// Changes attributes; the answer are those after it.
    setattr(set: SetAttr) -> (Attr, Duration), else ENOSYS;
    /// Target of a symlink.
    readlink() -> Bytes, else ENOSYS;
    /// Makes a symlink.
    symlink(name: Bytes, target: Bytes) -> Entry, else ENOSYS;
    /// Makes a file, pipe, socket or device; `mode` has the kind.
    mknod(name: Bytes, mode: u32, rdev: u32, umask: u32) -> Entry, else ENOSYS;
    /// Makes a directory.
    mkdir(name: Bytes, mode: u32, umask: u32) -> Entry, else ENOSYS;
    /// Removes a name that is not a directory's.
    unlink(name: Bytes) -> (), else ENOSYS;
    /// Removes an empty directory.
    rmdir(name: Bytes) -> (), else ENOSYS;
    /// Moves a name; `flags` are those of `renameat2`.
    rename(name: Bytes, new_parent: NodeId, new_name: Bytes, flags: u32) -> (), else ENOSYS;
    /// Gives `target` another name in the directory `node`.
    link(target: NodeId, name: Bytes) -> Entry, else ENOSYS;
    /// Opens a file; `flags` are those of `open`.
    open(flags: u32, kill_privileges: bool) -> Opened, else ENOSYS;
    /// Makes a file, or finds it where `flags` allow that, and opens it.
    create(name: Bytes, flags: u32, mode: u32, umask: u32) -> (Entry, Opened), else ENOSYS;
    /// Makes a file without a name in the directory `node`, and opens it.
    tmpfile(flags: u32, mode: u32, umask: u32) -> (Entry, Opened), else EOPNOTSUPP;
    /// Reads up to `size` bytes; fewer only where the file ends.
    read(handle: Handle, offset: u64, size: u32, flags: u32) -> Bytes, else ENOSYS;
    /// Writes all of the data; the answer is its length.
    write(write: WriteRequest) -> u32, else ENOSYS;
    /// A descriptor is being closed, and with it go the `fcntl` locks of `owner` on the file.
    flush(handle: Handle, owner: LockOwner) -> (), else ENOSYS;
    /// Nobody has the open file any more. `flock` is the owner of its `flock`, where it had one.
    release(handle: Handle, flags: u32, flock: Option<LockOwner>) -> (), else ENOSYS;
    /// Makes what was written durable.
    fsync(handle: Handle, data_only: bool) -> (), else ENOSYS;
    /// Opens a directory.
    opendir(flags: u32) -> Opened, else ENOSYS;
    /// Entries after the cookie `after` (0: from the start), as a [`Listing`](crate::abi::Listing) of `size` bytes; an
    /// empty one is the end. With `plus` each has its attributes and counts as looked up.
    readdir(handle: Handle, after: u64, size: u32, plus: bool) -> Reply, else ENOSYS;
    /// Nobody has the open directory any more.
    releasedir(handle: Handle, flags: u32) -> (), else ENOSYS;
    /// Makes changes of a directory durable.
    fsyncdir(handle: Handle, data_only: bool) -> (), else ENOSYS;
    /// Space and inodes.
    statfs() -> StatFs, else ENOSYS;
    /// Makes everything durable.
    syncfs() -> (), else ENOSYS;
    /// Sets an extended attribute; `flags` are those of `setxattr`.
    setxattr(name: Bytes, value: Bytes, flags: u32, clear_sgid: bool) -> (), else EOPNOTSUPP;
    /// Value of an extended attribute; see [`SizedValue::fit`] for `size`.
    getxattr(name: Bytes, size: u32) -> SizedValue, else EOPNOTSUPP;
    /// Names of extended attributes, each with a NUL after it; see [`SizedValue::fit`] for `size`.
    listxattr(size: u32) -> SizedValue, else EOPNOTSUPP;
    /// Removes an extended attribute.
    removexattr(name: Bytes) -> (), else EOPNOTSUPP;
    /// Whether the caller may; not asked where the kernel checks permissions itself.
    access(mask: u32) -> (), else ENOSYS;
    /// The lock that is in the way of another, if one is.
    getlk(lock: LockRequest) -> Option<HeldLock>, else ENOSYS;
    /// Takes a lock or gives it back: at once or `EAGAIN`, or with `wait` when it can be had. Such a wait has no
    /// deadline, and every signal ends it: a lock that has been taken when the future is dropped must be given back.
    setlk(lock: LockRequest, wait: bool) -> (), else ENOSYS;
    /// Sets space aside, punches, zeroes; `mode` is that of `fallocate`.
    fallocate(handle: Handle, offset: u64, length: u64, mode: u32) -> (), else EOPNOTSUPP;
    /// Finds data or a hole; `whence` is `SEEK_DATA` or `SEEK_HOLE`.
    lseek(handle: Handle, offset: u64, whence: u32) -> u64, else ENOSYS;
    /// Copies up to so many bytes to another file; the answer is how many. `ENOSYS` makes the kernel copy.
    copy_file_range(copy: CopyRequest) -> u64, else ENOSYS;
    /// `ioctl`: its result and output.
    ioctl(ioctl: IoctlRequest) -> (i32, Bytes), else ENOTTY;
    /// Events that there are, of those asked for.
    poll(handle: Handle, events: u32) -> u32, else ENOSYS;
    /// Block of the device under a block of the file.
    bmap(block: u64, block_bytes: u32) -> u64, else ENOSYS;
}
