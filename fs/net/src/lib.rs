//! The network door: authenticated, framed connections over TCP.
//!
//! Job: carry a request of a [`forebay_wire::frame::Service`] from a caller to a [`Handler`] and its answer back, many
//! in flight on one connection, and say of every failure whether the request may have been carried out
//! ([`NetError`]). A caller holds a [`Peer`] for each address; a host runs one [`Server`].
//!
//! Protocol: the handshake of [`handshake`], then frames of [`forebay_wire::frame`] both ways, requests from the side
//! that connected and replies, in any order, from the other.
//!
//! Invariants: no request is read from, and none is sent to, a peer that has not proved the cluster's key; every wait
//! has a deadline; every queue is bounded; a connection on which anything unexpected was read is closed. Knows what a
//! service is called, and nothing of what it does.
#![forbid(unsafe_code)]

mod call;
mod connection;
mod error;
mod frame_io;
pub mod handshake;
mod key;
mod peer;
mod server;
mod socket;

pub use call::{call_chunk, call_cluster, call_lease, call_lock, call_meta, call_raft, call_tier};
pub use connection::{Answer, Connection, Connector};
pub use error::{AuthFailure, NetError};
pub use handshake::{Endpoint, Role};
pub use key::{ClusterKey, KeyError};
pub use peer::Peer;
pub use server::{Handler, PeerInfo, Server, ServerLimits};
