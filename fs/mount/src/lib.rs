//! The mount: a filesystem of a cluster under a directory of this node.
//!
//! Job: translate between the kernel's FUSE requests and the client library ([`fuse`]), bring a mount up and take it
//! down ([`daemon`], [`launch`], what `forebay-client` is made of), and answer the node's own
//! callers: Prolog, Epilog and `forebay local` ([`node`]).
//!
//! Invariants: whatever closed has been flushed; the kernel caches neither names nor attributes (their lifetime is
//! zero), and pages only until an attribute tells that they are old; every request ends at the client's deadline; no
//! thread that reads requests waits for one. Nothing outside this crate knows FUSE, and this crate knows neither
//! shards nor drives.
#![forbid(unsafe_code)]

pub mod daemon;
mod error;
pub mod fuse;
pub mod launch;
pub mod mounts;
pub mod node;
mod options;

pub use error::MountError;
pub use options::{DEFAULT_KEY, DEFAULT_LOG, DEFAULT_PORT, MountOptions, MountSource};
