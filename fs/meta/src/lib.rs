//! The metadata core: one shard of the namespace.
//!
//! Job: keep directories, inodes, extents and the accounting of stripes, with POSIX semantics, exactly once, over the
//! key-value door ([`forebay_env::Kv`]).
//!
//! Protocol, from one owner (a thread or a simulator), for each input:
//!
//! ```text
//! let entry = shard.prepare(now, &placement, &mut opens, input)?;   // on the leader; or answer the error
//! // entry.encode() goes into the replicated log; every replica, in the order of the log:
//! let Applied { reply, effects } = shard.apply(position, &entry)?;
//! opens.settle(&entry);                                              // on the leader that prepared it
//! // reply: answer whoever sent the input; None: note the OpId and wait for Effect::Reply. On the leader only:
//! // Effect::Send: ask that shard (Input::Peer there; this one too), bring its answer back as Input::Answer.
//! // Effect::Opened: OpenTable::opened, before the answer leaves.
//! // Effect::Orphaned: submit Input::Reap unless opens.is_open(fs, ino).
//! ```
//!
//! Any number of entries may be on their way between `prepare` and `apply`: everything that depends on state is decided
//! by `apply`, and an inode that an entry on its way may remove cannot be opened. Reads ([`Shard::read`]) are answered
//! from applied state. A new leader begins with [`OpenTable::after_failover`], sends [`Shard::outbox`], and reaps
//! [`Shard::orphans`] once sessions had time to introduce themselves. From time to time: erase [`Shard::garbage`], send
//! what is still in the outbox again. A replica that is too far behind takes another's whole state: [`Shard::export`]
//! there, [`Staging`] here. [`fsck`] checks a shard, and all shards together, while they are in use.
//!
//! A client that directories are delegated to runs the same operations on its own rows ([`Mirror`]); what it has done so
//! comes to the shard as one mutation (`MutateOp::Logged`).
//!
//! Invariants: state changes in `apply` only, and the same live and on replay; a mutation's answer is kept until its
//! session has acknowledged it, but for [`MetaError::Busy`](forebay_wire::meta::MetaError::Busy), which means that
//! nothing happened and the same mutation may be sent again; a name that a transaction is moving answers `Busy`; a
//! stripe is named by extents of this shard only and becomes garbage when none is left; [`Shard::fsck`] finds nothing.
//!
//! Does not know: the network, time, the cluster map (but for [`Placement`]), the log and its replication.
#![forbid(unsafe_code)]

mod access;
mod acl;
mod dir;
mod entry;
mod error;
mod extents;
pub mod fsck;
mod key;
mod lease;
mod lock;
mod mirror;
mod name;
mod open;
mod ops;
mod placement;
mod quota;
mod read;
mod receipt;
mod record;
mod session;
mod shard;
mod staging;
mod stripes;
mod tx;
mod txn;

pub use entry::{Applied, ENTRY_VERSION, Effect, Entry, Input};
pub use error::ShardError;
pub use lease::{Barrier, Claim, Exclusive, LeaseTable, Wish};
pub use lock::{LockBook, LockCaller, LockOutcome, WaitId};
pub use mirror::{Mirror, Run};
pub use open::OpenTable;
pub use placement::Placement;
pub use quota::share::{Decision, decide};
pub use receipt::ReceiptKey;
pub use shard::{Export, Shard, ShardConfig};
pub use staging::{Staging, erase, forget};
pub use stripes::ERASE_GRACE_SECS;

#[cfg(test)]
mod tests;
