//! The client cache core.
//!
//! Job: keep bytes that applications wrote until they are durable ([`WriteBuffer`]), and decide how they go out
//! ([`pack`]). Invariants: a byte handed in is in exactly one place until it is taken; a later write of a byte wins
//! over an earlier one, also over one handed back after a failed write-back. [`LockTable`] decides who of this node's programs has which lock on
//! a file, and who waits. Knows no I/O, clock or threads, and nothing of leases yet: a file's buffer is flushed on close
//! and fsync, and locks are this node's own.
#![forbid(unsafe_code)]

mod buffer;
mod locks;
mod pack;

pub use buffer::WriteBuffer;
pub use locks::{FileLock, LOCKS_MAX, LockKind, LockMode, LockOutcome, LockRefusal, LockTable, WaitId, Withdrawn};
pub use pack::{Packed, Run, pack};
