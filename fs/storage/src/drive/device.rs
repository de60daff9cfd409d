//! What the engine asks of whatever moves the bytes, and the choice between the two that do.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::buffer::AlignedBuffer;
use super::threads::Threads;
use super::uring::Uring;

/// What moves the bytes between memory and a drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IoEngine {
    /// io_uring where the kernel allows it, threads elsewhere.
    #[default]
    Auto,
    /// io_uring, or failure to open.
    Uring,
    /// Blocking calls on a few threads.
    Threads,
}

/// Most operations of one drive under way at the device.
pub(super) const IN_FLIGHT_MAX: usize = 128;

/// One operation.
#[derive(Debug)]
pub(super) enum Io {
    /// Write all of the buffer at a position of the file.
    Write { at: u64, buffer: AlignedBuffer },
    /// Fill the buffer from a position of the file.
    Read { at: u64, buffer: AlignedBuffer },
    /// Make what was written durable.
    Flush,
}

/// An operation that has ended.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) id: u64,
    /// The buffer of a read, or why the operation failed.
    pub(super) result: io::Result<Option<AlignedBuffer>>,
}

/// Wakes the engine from its wait. May be called from any thread, never blocks.
pub(super) type Waker = Arc<dyn Fn() + Send + Sync>;

/// Carries out operations, several at a time and in any order.
pub(super) trait Device {
    /// Begins an operation; the engine keeps at most a bounded number under way.
    fn begin(&mut self, id: u64, io: Io);
    /// Waits until an operation ends, the waker is called, or the time is over; adds what has ended.
    fn wait(&mut self, most: Duration, ended: &mut Vec<Completion>) -> io::Result<()>;
    /// What wakes [`Device::wait`].
    fn waker(&self) -> Waker;
}

/// A device on `file` with the engine asked for.
pub(super) fn start(file: Arc<File>, engine: IoEngine) -> io::Result<Box<dyn Device>> {
    match engine {
        IoEngine::Threads => Ok(Box::new(Threads::start(file)?)),
        IoEngine::Uring => Ok(Box::new(Uring::start(file)?)),
        IoEngine::Auto => match Uring::start(Arc::clone(&file)) {
            Ok(uring) => Ok(Box::new(uring)),
            Err(error) => {
                tracing::debug!(%error, "no io_uring here, using threads");
                Ok(Box::new(Threads::start(file)?))
            }
        },
    }
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
