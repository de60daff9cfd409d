//! A storage host: what `forebayd` runs.
//!
//! Job: put the cores behind the network. One [`Host`] serves the cluster service (and, where it has shard 0, the
//! cluster group's state), the metadata shards the map gives it, its drives, and the movers. Every host is equal; the
//! map says who serves what.
//!
//! Invariants: a reply to a mutation leaves after its log entry is flushed; a receipt leaves after its chunk is; a map
//! is acted on after it is stored. Knows no rule of its own: decisions are the cores'.
#![forbid(unsafe_code)]

mod clock;
mod cluster_service;
mod drives;
mod garbage;
mod handler;
mod heartbeat;
mod host;
mod identity;
mod metadata;
pub mod mover;
mod peers;
mod placement;
mod quota;

pub use host::{Host, HostConfig, HostError};
pub use identity::DriveSpec;
