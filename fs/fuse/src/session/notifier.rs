//! Notices to the kernel, from anywhere.
//!
//! The kernel may hold a notice until a request under way for the same file has been answered: it waits for pages that
//! are being read. So notices are written by threads of their own, which carry out no request, and whoever sends one
//! can wait for it without standing in the way. A handler must not wait for a notice about what its own request holds:
//! it would wait for itself, until its deadline.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nix::errno::Errno;
use tokio::sync::{mpsc, oneshot};

use crate::abi::{NodeId, Notice};
use crate::transport::Port;

/// Threads: so many notices can be held up without holding up others.
const THREADS: usize = 4;
/// Notices that wait to be written before senders do.
const QUEUE: usize = 4096;

type Queued = (Notice, oneshot::Sender<Result<(), Errno>>);

/// Sends notices. Cheap to clone. The threads end when the last clone is gone, or nothing can be written any more.
#[derive(Clone)]
pub struct Notifier {
    queue: mpsc::Sender<Queued>,
}

impl Notifier {
    pub(super) fn start(port: &Arc<dyn Port>) -> std::io::Result<Self> {
        let (queue, notices) = mpsc::channel(QUEUE);
        let notices = Arc::new(Mutex::new(notices));
        for _ in 0..THREADS {
            let (port, notices) = (port.clone(), notices.clone());
            std::thread::Builder::new().name("fuse-notices".into()).spawn(move || write(&*port, &notices))?;
        }
        Ok(Self { queue })
    }

    /// Sends a notice and waits until the kernel has acted on it. `ENOENT` where the kernel does not know what it is
    /// about, which is as good; `ENODEV` where the mount is over.
    pub async fn send(&self, notice: Notice) -> Result<(), Errno> {
        let (done, heard) = oneshot::channel();
        self.queue.send((notice, done)).await.map_err(|_| Errno::ENODEV)?;
        heard.await.unwrap_or(Err(Errno::ENODEV))
    }

    /// What the kernel knows of an inode's attributes, and of its bytes from `offset` on, is old. `length` 0 means to
    /// the end; a negative `offset` leaves the bytes alone.
    pub async fn inval_inode(&self, node: NodeId, offset: i64, length: i64) -> Result<(), Errno> {
        known(self.send(Notice::InvalInode { node, offset, length }).await)
    }

    /// A name is old.
    pub async fn inval_entry(&self, parent: NodeId, name: Bytes) -> Result<(), Errno> {
        known(self.send(Notice::InvalEntry { parent, name }).await)
    }

    /// A name is gone.
    pub async fn delete(&self, parent: NodeId, child: NodeId, name: Bytes) -> Result<(), Errno> {
        known(self.send(Notice::Delete { parent, child, name }).await)
    }

    /// Bytes for the page cache.
    pub async fn store(&self, node: NodeId, offset: u64, data: Bytes) -> Result<(), Errno> {
        known(self.send(Notice::Store { node, offset, data }).await)
    }
}

/// What the kernel does not know it cannot believe.
fn known(sent: Result<(), Errno>) -> Result<(), Errno> {
    match sent {
        Err(Errno::ENOENT) => Ok(()),
        sent => sent,
    }
}

fn write(port: &dyn Port, notices: &Mutex<mpsc::Receiver<Queued>>) {
    loop {
        // One thread waits here, the others for the lock: each takes one notice and lets the next come.
        let next = notices.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some((notice, done)) = next else { return };
        let sent = port.send(0, &notice.encode());
        let result = sent.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO)));
        // Whoever sent it may not care.
        let _ = done.send(result);
    }
}

#[cfg(test)]
#[path = "notifier_tests.rs"]
mod tests;
