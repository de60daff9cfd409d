//! The site's configuration: the schema of `site.toml`, its checks, and what is generated from it.
//!
//! Job: one file says how Forebay runs at a site; every daemon and hook reads it through [`SiteConfig`], and Slurm's
//! and systemd's own configuration is generated from it by [`generate`]. Invariants: an unknown key, a wrong type or
//! an impossible value is an error that names file, line, column, key and remedy, never a silent default; what is
//! generated depends on nothing but the file and the Slurm version. This crate runs nothing and knows no network.
#![forbid(unsafe_code)]

mod check;
mod error;
pub mod generate;
mod schema;
mod value;

pub use check::{Difference, differences};
pub use error::{Fault, SiteError};
pub use schema::{
    Cluster, Commit, Flush, Gate, GateKind, Node, Notify, Paths, SiteConfig, Slurm, Socket, StageIn, StageOut, Storage,
    Store,
};
pub use value::{Backoff, Endpoint, Retries, Seconds, SlurmVersion};
