//! A deterministic simulator of the metadata of a whole cluster.
//!
//! Job: run the real cores (consensus groups, shards, lease tables on hosts; the lease core at clients) in virtual time from
//! one seed, in a world in which messages are lost, doubled, late and out of order, links break in one or both directions,
//! hosts crash and lose what they had not flushed, hosts and clients stand still, clocks run apart, leaders change, and
//! sessions end; and check what must hold ([`Rule`]) all the same. [`run`] is all there is: a seed decides everything, and a
//! seed that breaks a rule is a bug report.
//!
//! Around the cores stands what the shells do, without threads: `host` is the twin of `server`'s `metadata` and `client`
//! that of the `client` crate. Where a shell's rule changes, its twin has to follow; each file names its own.
//!
//! That checkers notice is checked too: [`Sabotage`] breaks hosts, clients or stores on purpose.
//!
//! Not simulated: bytes and drives, delegated directories, locks of programs, replicas that move between hosts, the cluster
//! group. The kernel is not there either: a client forgets at once.
#![forbid(unsafe_code)]

mod check;
mod client;
mod clock;
mod dice;
mod digest;
mod disk;
mod event;
mod faults;
mod history;
mod host;
mod net;
mod registry;
mod workload;
mod world;

pub use check::{Rule, Violation};
pub use faults::Sabotage;
pub use world::{Outcome, run};
