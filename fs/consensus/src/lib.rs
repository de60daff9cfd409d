//! The consensus core: one Raft group of a metadata shard, over the key-value door.
//!
//! Job: keep a shard's log on its replicas, by the `raft` crate, and say what is committed. All groups of a host share
//! one store, so that one flush serves what all of them append.
//!
//! Protocol, from one owner (a thread or a simulator):
//!
//! ```text
//! group.step(message); group.tick(&mut dice); group.propose(data)?;     // in any number and order
//! while group.has_ready() {
//!     let flush = group.collect(&mut batch, &mut out);                  // of any number of groups
//!     kv.write(batch, if flush { Flushed } else { Buffered })?;         // once for all of them
//!     group.persisted(&mut out);
//!     // send out.messages; apply out.committed in order, then group.applied(position, members)
//! }
//! ```
//!
//! Invariants: what is committed was flushed by a majority of the voters; a message that promises something leaves after
//! the flush that keeps the promise; a fresh start gives no vote until every promise made before it has run out
//! ([`ELECTION_TICKS`]), which is what [`Group::confirmed`] rests on. Randomness comes in as dice, time as ticks.
//!
//! Does not know: time, threads, the network, what entries mean, how a state gets from one replica to another.
#![forbid(unsafe_code)]

mod codec;
mod group;
mod log;
mod members;

use forebay_types::LogPosition;

pub use group::{Committed, CommittedData, ELECTION_TICKS, Group, Outcome, Refused, Standing};
pub use log::ConsensusError;
pub use members::{decode_members, encode_members, next_change};

/// Where the log of a new group begins: later than 0, so that a replica that has nothing is always sent the state.
pub const FIRST: LogPosition = LogPosition { index: 5, term: 5 };

#[cfg(test)]
mod tests;
