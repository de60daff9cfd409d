//! The cluster core: who takes part, and where stripes go.
//!
//! Job: own the cluster map. [`form`] makes the first one, [`Cluster`] changes it as hosts come and go, filesystems
//! are made and tiers attached, and keeps the clients' sessions. [`placement`] lays out placement groups.
//! Invariants: the epoch grows with every change of the map; a group's drives are in distinct hosts; groups are never
//! removed or altered but for `writable`; ids are never reused. Time comes in as milliseconds of a monotonic clock.
//! Knows no I/O, clock, randomness or threads: what must be stored comes out as a batch.
#![forbid(unsafe_code)]

mod cluster;
mod form;
pub mod placement;
mod sessions;

pub use cluster::{Cluster, HOST_TIMEOUT_MS, Outcome};
pub use form::{form, replica_count};
pub use sessions::SESSION_TIMEOUT_MS;
