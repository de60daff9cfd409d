//! The client cache core.
//!
//! Job: keep bytes that applications wrote until they are durable ([`WriteBuffer`]), and decide how they go out
//! ([`pack`]). Invariants: a byte handed in is in exactly one place until it is taken; a later write of a byte wins
//! over an earlier one, also over one handed back after a failed write-back. [`LeaseCache`] keeps what shards have told, for
//! as long as it may be believed. [`HeldLocks`] remembers the locks that shards gave this node's programs. Knows no I/O,
//! clock or threads.
#![forbid(unsafe_code)]

mod buffer;
mod leases;
mod locks;
mod pack;

pub use buffer::WriteBuffer;
pub use leases::{LeaseCache, Target, Ticket};
pub use locks::HeldLocks;
pub use pack::{Packed, Run, pack};
