//! The cluster core: who takes part, and where stripes go.
//!
//! Job: own the cluster map. [`form`] makes the first one, [`Cluster`] changes it as hosts come and go, filesystems
//! are made and tiers attached, and keeps the clients' sessions. [`placement`] lays out placement groups, `replicas`
//! says where metadata shards should be, `slow` which hosts should not lead.
//! Invariants: the epoch grows with every change of the map; a group's drives are in distinct hosts; groups are never
//! removed or altered but for `writable`; ids are never reused; few groups change their members at once; what an
//! administrator asks for twice with one name happens once. Time comes in as milliseconds of a monotonic clock.
//! Knows no I/O, clock, randomness or threads: what must be stored comes out as a batch.
#![forbid(unsafe_code)]

mod answers;
mod cluster;
mod form;
mod hosts;
pub mod placement;
mod replicas;
mod sessions;
mod slow;

pub use cluster::{Cluster, HOST_TIMEOUT_MS, Outcome};
pub use form::{form, replica_count};
pub use sessions::SESSION_TIMEOUT_MS;
