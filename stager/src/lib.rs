//! Job staging.
//!
//! Job: bring a job's inputs to the hot tier before it starts and its outputs back after it ends, told by `#FOREBAY`
//! lines. [`core`] decides, the rest performs: [`slurm`] and [`fs`] are the doors to Slurm and to the filesystem,
//! [`journal`] keeps records, [`server`] answers users, [`daemon`] runs the loop; [`client`] is what `forebay job`
//! calls. Invariants: those of `ARCHITECTURE.md`; losing the daemon delays and never damages.
#![forbid(unsafe_code)]

pub mod check;
pub mod client;
pub mod core;
pub mod daemon;
pub mod forebay_fs;
pub mod fs;
pub mod journal;
pub mod perform;
pub mod reached;
pub mod server;
pub mod settings;
pub mod slurm;
pub mod standstill;
