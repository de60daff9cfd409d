//! From an operation to the filesystem's method, and from its result to an answer.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use nix::errno::Errno;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pending::{Context, Pending};
use super::requests::Requests;
use crate::Filesystem;
use crate::abi::{Dialect, NodeId, Operation, Reply, Request, decode};
use crate::transport::{Lane, Received, Ticket};

/// Most requests under way; further ones wait in the kernel.
pub(super) const MOST_REQUESTS: u32 = 16_384;
/// Most waits for locks; further ones are refused.
const MOST_LOCK_WAITS: usize = 65_536;

/// What carries requests out.
pub(super) struct Dispatcher<F> {
    filesystem: Arc<F>,
    requests: Arc<Requests>,
    runtime: Handle,
    dialect: Dialect,
    room: Arc<Semaphore>,
    lock_room: Arc<Semaphore>,
}

impl<F: Filesystem> Dispatcher<F> {
    pub fn new(filesystem: Arc<F>, requests: Arc<Requests>, runtime: Handle, dialect: Dialect) -> Self {
        let room = Arc::new(Semaphore::new(MOST_REQUESTS as usize));
        let lock_room = Arc::new(Semaphore::new(MOST_LOCK_WAITS));
        Self { filesystem, requests, runtime, dialect, room, lock_room }
    }

    /// Permits for requests under way.
    pub fn room(&self) -> Arc<Semaphore> {
        self.room.clone()
    }

    /// Serves a lane to its end, on the thread that calls this.
    pub fn serve(&self, lane: &mut dyn Lane) -> std::io::Result<()> {
        let _within = self.runtime.enter();
        loop {
            match lane.receive()? {
                Received::Request(bytes, ticket) => self.take(bytes, ticket),
                Received::End => return Ok(()),
            }
        }
    }

    fn take(&self, bytes: Bytes, ticket: Ticket) {
        let request = match decode(bytes, self.dialect) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "the kernel sends what cannot be read");
                return refuse(ticket, Errno::EIO);
            }
        };
        let Request { header, operation } = request;
        match operation {
            Operation::Forget { lookups } => self.filesystem.forget(header.node, lookups),
            Operation::BatchForget { nodes } => {
                nodes.into_iter().for_each(|(node, lookups)| self.filesystem.forget(node, lookups));
            }
            Operation::Interrupt { unique } => self.requests.interrupt(unique),
            Operation::Destroy => reply(ticket, Ok(Reply::Done)),
            Operation::Init(_) => refuse(ticket, Errno::EPROTO),
            Operation::Unsupported => refuse(ticket, Errno::ENOSYS),
            operation => {
                let pending = Pending::new(header, &operation, ticket);
                self.begin(pending, operation);
            }
        }
    }

    /// Carries a request out on this thread as far as it goes without waiting, and the rest on the runtime: what needs
    /// no waiting is spared the way to another thread.
    fn begin(&self, pending: Arc<Pending>, operation: Operation) {
        let (filesystem, context) = (self.filesystem.clone(), Context { pending: pending.clone() });
        let mut work = Box::pin(async move {
            let pending = &context.pending;
            let answer = tokio::select! {
                biased;
                answer = perform(&*filesystem, &context, operation) => answer,
                errno = pending.until_broken() => Err(errno),
            };
            pending.answer(answer);
        });
        let mut task = std::task::Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut task).is_ready())) {
            Ok(true) => return,
            Ok(false) => {}
            // The panic has been reported; its caller must be too.
            Err(_) => return pending.answer(Err(Errno::EIO)),
        }
        let Some(permit) = self.permit(&pending) else {
            drop(work);
            return pending.answer(Err(Errno::ENOLCK));
        };
        self.requests.add(&pending);
        let over = Over { requests: self.requests.clone(), pending, _permit: permit };
        self.runtime.spawn(async move {
            work.await;
            drop(over);
        });
    }

    /// Room for one more; `None` where too many wait for locks.
    fn permit(&self, pending: &Pending) -> Option<OwnedSemaphorePermit> {
        if pending.waits_for_lock {
            return self.lock_room.clone().try_acquire_owned().ok();
        }
        match self.room.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            // Each of those under way ends at its deadline at the latest.
            Err(_) => self.runtime.block_on(self.room.clone().acquire_owned()).ok(),
        }
    }
}

/// Takes a request off the table when its task ends in any way, and answers if that was by a panic.
struct Over {
    requests: Arc<Requests>,
    pending: Arc<Pending>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.pending.answer(Err(Errno::EIO));
        self.requests.remove(&self.pending);
    }
}

fn refuse(ticket: Ticket, errno: Errno) {
    reply(ticket, Err(errno));
}

fn reply(ticket: Ticket, answer: Result<Reply, Errno>) {
    if let Err(error) = ticket.answer(answer) {
        tracing::debug!(%error, "the kernel does not take an answer");
    }
}

fn done((): ()) -> Reply {
    Reply::Done
}

async fn perform<F: Filesystem>(fs: &F, at: &Context, operation: Operation) -> Result<Reply, Errno> {
    use Operation as O;
    let node = at.node();
    match operation {
        O::Lookup { name } => fs.lookup(at, node, name).await.map(Reply::Entry),
        O::GetAttr { handle } => fs.getattr(at, node, handle).await.map(|(attr, life)| Reply::Attr(attr, life)),
        O::Statx { handle, flags, mask } => {
            fs.statx(at, node, handle, flags, mask).await.map(|(attr, life)| Reply::Statx(attr, life))
        }
        O::SetAttr(set) => fs.setattr(at, node, set).await.map(|(attr, life)| Reply::Attr(attr, life)),
        O::ReadLink => fs.readlink(at, node).await.map(Reply::Data),
        O::StatFs => fs.statfs(at, node).await.map(Reply::StatFs),
        O::SyncFs => fs.syncfs(at, node).await.map(done),
        O::Access { mask } => fs.access(at, node, mask).await.map(done),
        O::SetXattr { name, value, flags, clear_sgid } => {
            fs.setxattr(at, node, name, value, flags, clear_sgid).await.map(done)
        }
        O::GetXattr { name, size } => fs.getxattr(at, node, name, size).await.map(Reply::Sized),
        O::ListXattr { size } => fs.listxattr(at, node, size).await.map(Reply::Sized),
        O::RemoveXattr { name } => fs.removexattr(at, node, name).await.map(done),
        O::OpenDir { flags } => fs.opendir(at, node, flags).await.map(Reply::Opened),
        O::ReadDir { handle, after, size, plus } => fs.readdir(at, node, handle, after, size, plus).await,
        O::ReleaseDir { handle, flags } => fs.releasedir(at, node, handle, flags).await.map(done),
        O::FsyncDir { handle, data_only } => fs.fsyncdir(at, node, handle, data_only).await.map(done),
        O::GetLock(lock) => fs.getlk(at, node, lock).await.map(Reply::Lock),
        O::SetLock { lock, wait } => fs.setlk(at, node, lock, wait).await.map(done),
        O::Bmap { block, block_bytes } => fs.bmap(at, node, block, block_bytes).await.map(Reply::Block),
        operation => match perform_on_names(fs, at, node, operation).await {
            Err(operation) => perform_on_file(fs, at, node, operation).await,
            Ok(answer) => answer,
        },
    }
}

type Answer = Result<Reply, Errno>;

/// Operations that make, move and remove names; others are given back.
async fn perform_on_names<F: Filesystem>(
    fs: &F,
    at: &Context,
    node: NodeId,
    operation: Operation,
) -> Result<Answer, Operation> {
    use Operation as O;
    let created = |(entry, opened)| Reply::Created(entry, opened);
    Ok(match operation {
        O::Symlink { name, target } => fs.symlink(at, node, name, target).await.map(Reply::Entry),
        O::MkNod { name, mode, rdev, umask } => fs.mknod(at, node, name, mode, rdev, umask).await.map(Reply::Entry),
        O::MkDir { name, mode, umask } => fs.mkdir(at, node, name, mode, umask).await.map(Reply::Entry),
        O::Unlink { name } => fs.unlink(at, node, name).await.map(done),
        O::RmDir { name } => fs.rmdir(at, node, name).await.map(done),
        O::Rename { name, new_parent, new_name, flags } => {
            fs.rename(at, node, name, new_parent, new_name, flags).await.map(done)
        }
        O::Link { node: target, name } => fs.link(at, node, target, name).await.map(Reply::Entry),
        O::Create { name, flags, mode, umask, .. } => fs.create(at, node, name, flags, mode, umask).await.map(created),
        O::TmpFile { flags, mode, umask } => fs.tmpfile(at, node, flags, mode, umask).await.map(created),
        operation => return Err(operation),
    })
}

/// Operations on files.
async fn perform_on_file<F: Filesystem>(fs: &F, at: &Context, node: NodeId, operation: Operation) -> Answer {
    use Operation as O;
    match operation {
        O::Open { flags, kill_privileges } => fs.open(at, node, flags, kill_privileges).await.map(Reply::Opened),
        O::Read { handle, offset, size, flags, .. } => {
            fs.read(at, node, handle, offset, size, flags).await.map(Reply::Data)
        }
        O::Write(write) => fs.write(at, node, write).await.map(Reply::Written),
        O::Flush { handle, lock_owner } => fs.flush(at, node, handle, lock_owner).await.map(done),
        O::Release { handle, flags, flock } => fs.release(at, node, handle, flags, flock).await.map(done),
        O::Fsync { handle, data_only } => fs.fsync(at, node, handle, data_only).await.map(done),
        O::Fallocate { handle, offset, length, mode } => {
            fs.fallocate(at, node, handle, offset, length, mode).await.map(done)
        }
        O::Lseek { handle, offset, whence } => fs.lseek(at, node, handle, offset, whence).await.map(Reply::Offset),
        O::CopyFileRange { mut copy, long_reply } => {
            // What the short answer cannot say is not copied: the caller asks again for the rest.
            copy.length = if long_reply { copy.length } else { copy.length.min(1 << 30) };
            let copied = fs.copy_file_range(at, node, copy).await?;
            Ok(if long_reply { Reply::Copied(copied) } else { Reply::Written(copied as u32) })
        }
        O::Ioctl(ioctl) => fs.ioctl(at, node, ioctl).await.map(|(result, output)| Reply::Ioctl(result, output)),
        O::Poll { handle, events, .. } => fs.poll(at, node, handle, events).await.map(Reply::Events),
        _ => Err(Errno::ENOSYS),
    }
}
