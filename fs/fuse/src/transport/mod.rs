//! How requests come and answers go.
//!
//! Job: a [`Transport`] opens lanes; a [`Lane`] is read by one thread, and each request that comes by it carries the
//! [`Ticket`] its answer is written with. The dispatcher above knows nothing else, so that another way to the kernel
//! (queues of io_uring) fits below it. Invariant: every ticket is used; one that is dropped answers `EIO`, as
//! a request without an answer would hold its caller for ever.

mod buffer;
mod classic;
mod device;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;

use crate::abi::{Encoded, Reply, encode};

pub use classic::Classic;
pub use device::{Device, MountFlags, MountSettings};

/// A way to the kernel.
pub trait Transport: Send + Sync + 'static {
    /// The lane that the first request, INIT, comes by. Called once, first.
    fn first(&mut self, buffer_bytes: usize) -> io::Result<Box<dyn Lane>>;

    /// Further lanes. Called once, after INIT has been answered.
    fn more(&mut self, lanes: usize, buffer_bytes: usize) -> io::Result<Vec<Box<dyn Lane>>>;

    /// What notices are sent by.
    fn notices(&self) -> Arc<dyn Port>;
}

/// Where requests come in.
pub trait Lane: Send {
    /// Waits for a request. An error ends the lane.
    fn receive(&mut self) -> io::Result<Received>;
}

/// What a lane brings.
pub enum Received {
    /// A request's bytes, and what its answer is written with.
    Request(Bytes, Ticket),
    /// The mount is over.
    End,
}

/// Where bytes for the kernel go.
pub trait Port: Send + Sync {
    /// Writes an answer to what came by `slot`, or a notice.
    fn send(&self, slot: u64, what: &Encoded) -> io::Result<()>;
}

/// The right, and the duty, to answer a request.
pub struct Ticket {
    port: Arc<dyn Port>,
    slot: u64,
    /// Number of the request; nothing is to be answered where absent.
    unique: Option<u64>,
}

impl Ticket {
    /// For a request that came by `slot` of a port; `unique` is its number, absent where it wants no answer.
    #[must_use]
    pub fn new(port: Arc<dyn Port>, slot: u64, unique: Option<u64>) -> Self {
        Self { port, slot, unique }
    }

    /// Answers.
    pub fn answer(mut self, answer: Result<Reply, Errno>) -> io::Result<()> {
        match self.unique.take() {
            Some(unique) => self.port.send(self.slot, &encode(unique, answer)),
            None => Ok(()),
        }
    }

    /// Gives up a ticket for what wants no answer.
    pub fn discard(mut self) {
        self.unique = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(unique) = self.unique.take() else { return };
        tracing::error!(unique, "a request was given up without an answer");
        if let Err(error) = self.port.send(self.slot, &encode(unique, Err(Errno::EIO))) {
            tracing::debug!(unique, %error, "nor could it be refused");
        }
    }
}
