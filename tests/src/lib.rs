//! The harness of Forebay's real-process tests, its demo and its benchmark.
//!
//! Job: run whole clusters on one machine without touching it. A [`lab::Lab`] is one process tree in namespaces of its
//! own, with named nodes that have their own address, mounts, processes and host name; [`slurm::Slurm`] runs a real
//! Slurm on such nodes; [`process::Daemon`] runs one of our daemons; [`logs`] reads what they said; [`churn`] keeps mounts busy; [`footprint`] measures
//! what is left after the end; [`cluster`] and [`site`] run Forebay itself, [`demo`] shows it and [`bench`] measures it; [`tidy`] checks the source tree itself.
//! Invariants: every wait has a deadline; everything a lab made is gone after it, however its owner ended; no `unsafe`.
//! This crate knows the programs of Forebay by name only and links none of them.
#![forbid(unsafe_code)]

pub mod bench;
pub mod churn;
pub mod cluster;
pub mod demo;
pub mod error;
pub mod footprint;
pub mod init;
pub mod keeper;
pub mod lab;
pub mod logs;
pub mod mounted;
pub mod node;
pub mod ns;
pub mod paths;
pub mod posix;
pub mod process;
pub mod site;
pub mod slurm;
pub mod slurm_config;
pub mod spec;
pub mod tidy;
pub mod wait;

pub use cluster::{Cluster, ClusterSettings};
pub use error::LabError;
pub use footprint::{Footprint, Leftovers};
pub use lab::Lab;
pub use mounted::Mounted;
pub use node::{Node, NodeCommand, User};
pub use process::Daemon;
pub use site::Site;
pub use slurm::{Job, Slurm, SlurmSettings};
