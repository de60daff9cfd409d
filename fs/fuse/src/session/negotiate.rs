//! The greeting: what the kernel offers, what is wanted, and what comes of it.

use std::time::Duration;

use crate::abi::codes::{MINOR, OLDEST_MINOR, init};
use crate::abi::{Dialect, InitReply, InitRequest};

/// Bytes of a page, in which the kernel counts the data of a request.
const PAGE_BYTES: u32 = 4096;

/// What a filesystem wants of the kernel, and of its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Threads that read requests.
    pub readers: usize,
    /// How long a request may take that makes no progress (mount option `timeo`).
    pub timeout: Duration,
    /// Most bytes of a read or a write; the kernel has a limit of its own.
    pub request_bytes: u32,
    /// How far the kernel reads ahead, in bytes.
    pub readahead_bytes: u32,
    /// Most requests under way that nobody waits for, such as read-ahead.
    pub background_requests: u16,
    /// Flags wanted, of [`init`](crate::abi::codes::init).
    pub flags: u64,
}

impl Default for Settings {
    /// For a network filesystem that keeps pages honest by attributes and locks by itself. Requests of 1 MiB, which is
    /// what the kernel takes at most unless it is told otherwise, move data at memory speed.
    fn default() -> Self {
        Self {
            readers: 2,
            timeout: Duration::from_secs(60),
            request_bytes: 1 << 20,
            readahead_bytes: 4 << 20,
            background_requests: 64,
            flags: init::ASYNC_READ
                | init::ASYNC_DIO
                | init::BIG_WRITES
                | init::MAX_PAGES
                | init::ATOMIC_O_TRUNC
                | init::AUTO_INVAL_DATA
                | init::PARALLEL_DIROPS
                | init::POSIX_LOCKS
                | init::FLOCK_LOCKS
                | init::SETXATTR_EXT,
        }
    }
}

/// What was agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Minor version of the protocol that the kernel speaks.
    pub kernel_minor: u32,
    /// Flags that were wanted and are offered.
    pub flags: u64,
    /// Most bytes of a write.
    pub write_bytes: u32,
}

impl Agreed {
    /// What it changes about requests.
    pub(super) fn dialect(&self) -> Dialect {
        Dialect { setxattr_ext: self.flags & init::SETXATTR_EXT != 0 }
    }
}

/// What follows from a greeting. `None` where the kernel is too old, or so new that it must say hello again.
pub(super) fn agree(kernel: &InitRequest, settings: &Settings) -> Option<(Agreed, InitReply)> {
    if kernel.major != crate::abi::codes::MAJOR || kernel.minor < OLDEST_MINOR {
        return None;
    }
    // The upper half counts only where both say so.
    let flags = kernel.flags & (settings.flags | init::INIT_EXT);
    // Without the flag the kernel stops at 32 pages.
    let pages = if flags & init::MAX_PAGES != 0 { settings.request_bytes / PAGE_BYTES } else { 32 };
    let write_bytes = pages * PAGE_BYTES;
    let reply = InitReply {
        minor: MINOR.min(kernel.minor),
        max_readahead: settings.readahead_bytes.min(kernel.max_readahead),
        flags,
        max_background: settings.background_requests,
        congestion_threshold: settings.background_requests / 4 * 3,
        max_write: write_bytes,
        max_pages: pages as u16,
    };
    Some((Agreed { kernel_minor: kernel.minor, flags, write_bytes }, reply))
}

#[cfg(test)]
#[path = "negotiate_tests.rs"]
mod tests;
