//! The metadata core: one shard of the namespace.
//!
//! Job: keep directories, inodes, extents and the accounting of stripes, with POSIX semantics, exactly once, over the
//! key-value door ([`forebay_env::Kv`]).
//!
//! Protocol, from one owner (a thread or a simulator), for each input:
//!
//! ```text
//! let entry = shard.prepare(now, &placement, &opens, input)?;   // or answer the error
//! let mut batch = Batch::default();
//! shard.truncate_log(&mut batch, shard.applied());              // optional
//! shard.append(&mut batch, next_index, &entries);               // many entries, of many shards of the host
//! kv.write(batch, Durability::Flushed)?;                        // one flush for all of them
//! for (index, entry) in (next_index..).zip(&entries) {
//!     let Applied { reply, effects } = shard.apply(index, entry)?;
//!     // reply: answer whoever sent the input; None: note the OpId and wait for Effect::Reply.
//!     // Effect::Send: ask that shard (Input::Peer there; this one too), bring its answer back as Input::Answer.
//!     // Effect::Opened: OpenTable::open, before anything else happens to the inode.
//!     // Effect::Orphaned: submit Input::Reap unless opens.is_open(fs, ino).
//! }
//! ```
//!
//! Entries prepared together may be applied one after the other: everything that depends on state is decided by
//! `apply`. Reads ([`Shard::read`]) come between batches, not between `prepare` and `apply`. After a start:
//! [`Shard::open`], [`Shard::recover`], send [`Shard::outbox`], and reap [`Shard::orphans`] once clients had time to
//! call [`OpenTable::reopen`]. From time to time: erase [`Shard::garbage`], send what is still in the outbox again.
//!
//! Invariants: state changes in `apply` only, and the same live and on replay; a mutation's answer is kept until its
//! session has acknowledged it, but for [`MetaError::Busy`](forebay_wire::meta::MetaError::Busy), which means that
//! nothing happened and the same mutation may be sent again; a name that a transaction is moving answers `Busy`; a
//! stripe is named by extents of this shard only and becomes garbage when none is left; [`Shard::fsck`] finds nothing.
//!
//! Does not know: the network, time, the cluster map (but for [`Placement`]), leases, the log's replication.
#![forbid(unsafe_code)]

mod access;
mod acl;
mod dir;
mod entry;
mod error;
mod extents;
mod fsck;
mod key;
mod name;
mod open;
mod ops;
mod placement;
mod read;
mod receipt;
mod record;
mod session;
mod shard;
mod stripes;
mod tx;
mod txn;

pub use entry::{Applied, ENTRY_VERSION, Effect, Entry, Input};
pub use error::ShardError;
pub use fsck::Finding;
pub use open::OpenTable;
pub use placement::Placement;
pub use receipt::ReceiptKey;
pub use shard::{Shard, ShardConfig};
pub use stripes::ERASE_GRACE_SECS;

#[cfg(test)]
mod tests;
