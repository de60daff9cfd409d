//! Messages between Forebay's processes.
//!
//! Job: say what every service is asked and answers, one file a service, and how a message is framed ([`frame`]).
//! Between hosts and clients: [`meta`] (namespace), [`chunk`] (drives), [`cluster`] (map, sessions, filesystems),
//! [`tier`] (movers), [`lease`] (what clients may believe), [`lock`] (locks of
//! programs), [`raft`] (replicas of a shard to each other), each a postcard body behind a fixed header, with bulk bytes as raw payload. On a node:
//! [`node`] and [`stager`], JSON lines over a unix socket.
//!
//! Invariants: a message is refused when its version is not ours ([`VERSION`]); enum variants and struct fields are
//! only ever appended within a version, which the golden files under `tests/golden` watch. This crate knows no I/O.
#![forbid(unsafe_code)]

pub mod chunk;
pub mod cluster;
pub mod frame;
pub mod lease;
pub mod lock;
pub mod map;
pub mod meta;
pub mod node;
pub mod raft;
pub mod stager;
pub mod tier;

/// Version of the network protocol. Both sides of a connection must have the same one.
pub const VERSION: u16 = 5;

/// A body that could not be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("message body of {len} bytes is not a {what}: {reason}")]
pub struct DecodeError {
    /// The type that was expected.
    pub what: &'static str,
    /// Length of the body.
    pub len: usize,
    /// What the decoder said.
    pub reason: String,
}

/// Encodes a body. Fails never: every type here is encodable, and lengths are bounded by [`forebay_types::limits`].
#[must_use]
pub fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("wire types are plain data")
}

/// Decodes a body; trailing bytes are an error, as a peer of our version writes none.
pub fn decode<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    let fail = |reason: String| DecodeError { what: std::any::type_name::<T>(), len: body.len(), reason };
    let (value, rest) = postcard::take_from_bytes(body).map_err(|e| fail(e.to_string()))?;
    if !rest.is_empty() {
        return Err(fail(format!("{} bytes left over", rest.len())));
    }
    Ok(value)
}
