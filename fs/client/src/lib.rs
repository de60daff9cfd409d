//! The client of a Forebay cluster: what the mount, the movers, the stager and the command line all use.
//!
//! Job: hold the cluster map and the connections ([`Cluster`]), keep a session alive, route and retry metadata calls
//! so that each mutation happens once, cut dirty bytes into stripes with parity and put them on drives, and read them
//! back, rebuilding what cannot be had ([`Filesystem`]).
//!
//! Coherence: what shards tell is believed under leases only ([`Beholder`] is told when one ends), so a read sees every
//! write that ended before it on any node. A file is written behind under an exclusive lease, and through where several
//! nodes write it. In directories that are delegated to it the client goes on by itself, and sends their shards its log
//! ([`ClientOptions::delegate`]). Invariants: an extent is committed only with the receipts of a write quorum of its chunks; no
//! byte is returned that did not pass its checksum; every wait ends at the operation's deadline
//! ([`ClientOptions::timeout`]). Knows neither FUSE nor drives.
#![forbid(unsafe_code)]

mod cluster;
mod delegation;
mod error;
mod file;
mod filesystem;
mod fsck;
mod leases;
mod locks;
mod log;
mod namespace;
mod opens;
mod path;
mod pool;
mod quota;
mod read;
mod route;
mod session;
mod shape;
mod shard;
mod stripe;
mod task;
mod write;

pub use cluster::{ClientOptions, Cluster};
pub use error::ClientError;
pub use file::wall_clock;
pub use filesystem::Filesystem;
pub use fsck::Summary;
pub use leases::Beholder;
pub use namespace::NewEntry;
pub use shape::Allocation;
pub use task::TaskRun;
