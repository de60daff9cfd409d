//! The frame every network message travels in.
//!
//! ```text
//!  0  2 magic "fb"        2  2 version       4 1 service   5 1 kind   6 2 zero
//!  8  8 request id       16  4 body bytes   20 4 payload bytes
//! 24  4 deadline, milliseconds from now that the caller waits (0 in replies)
//! 28  4 CRC32C of header (this field zero) and body
//! ```
//! All integers little-endian. The body (postcard) follows, then the payload, raw: its own bytes carry checksums of
//! their own (one CRC32C each 4 KiB, in the body).

use forebay_types::limits;

use crate::VERSION;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 2] = *b"fb";

/// Which service a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Service {
    /// [`crate::meta`]
    Meta = 1,
    /// [`crate::chunk`]
    Chunk = 2,
    /// [`crate::cluster`]
    Cluster = 3,
    /// [`crate::tier`]
    Tier = 4,
    /// [`crate::raft`]
    Raft = 5,
    /// [`crate::lease`]
    Lease = 6,
    /// [`crate::lock`]
    Lock = 7,
}

/// Direction of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Asks; answered by a reply with the same request id.
    Request = 1,
    /// Answers.
    Reply = 2,
}

/// A decoded header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The service.
    pub service: Service,
    /// Request or reply.
    pub kind: Kind,
    /// Chosen by the caller, unique among its requests in flight on the connection.
    pub request_id: u64,
    /// Bytes of the body, at most [`limits::BODY_MAX_BYTES`].
    pub body_bytes: u32,
    /// Bytes of the payload, at most [`limits::PAYLOAD_MAX_BYTES`].
    pub payload_bytes: u32,
    /// How long the caller waits, in milliseconds; work for a caller that has gone is not begun.
    pub deadline_ms: u32,
}

/// A header that cannot be accepted. The connection is closed: nothing after it can be trusted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// Not our protocol.
    #[error("not a Forebay message (magic {0:02x?}): is this the port of another service?")]
    Magic([u8; 2]),
    /// Another version of the protocol.
    #[error("peer speaks protocol version {theirs}, this program {ours}: upgrade the older one")]
    Version {
        /// The peer's.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// A field holds what no peer of our version writes.
    #[error("message header has {field} {value}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// Damaged on the way.
    #[error("message header and body fail their checksum")]
    Checksum,
}

impl Header {
    /// Writes the header for `body`, checksum included.
    #[must_use]
    pub fn encode(&self, body: &[u8]) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..2].copy_from_slice(&MAGIC);
        out[2..4].copy_from_slice(&VERSION.to_le_bytes());
        out[4] = self.service as u8;
        out[5] = self.kind as u8;
        out[8..16].copy_from_slice(&self.request_id.to_le_bytes());
        out[16..20].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[20..24].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[24..28].copy_from_slice(&self.deadline_ms.to_le_bytes());
        let crc = checksum(&out, body);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header. The checksum is checked by [`Self::verify`], once the body is there.
    pub fn decode(raw: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let u32_at = |i: usize| u32::from_le_bytes([raw[i], raw[i + 1], raw[i + 2], raw[i + 3]]);
        if raw[0..2] != MAGIC {
            return Err(FrameError::Magic([raw[0], raw[1]]));
        }
        let theirs = u16::from_le_bytes([raw[2], raw[3]]);
        if theirs != VERSION {
            return Err(FrameError::Version { theirs, ours: VERSION });
        }
        let field = |field, value: u64| Err(FrameError::Field { field, value });
        let service = match raw[4] {
            1 => Service::Meta,
            2 => Service::Chunk,
            3 => Service::Cluster,
            4 => Service::Tier,
            5 => Service::Raft,
            6 => Service::Lease,
            7 => Service::Lock,
            n => return field("service", n.into()),
        };
        let kind = match raw[5] {
            1 => Kind::Request,
            2 => Kind::Reply,
            n => return field("kind", n.into()),
        };
        let (body_bytes, payload_bytes) = (u32_at(16), u32_at(20));
        if body_bytes as usize > limits::BODY_MAX_BYTES {
            return field("body bytes", body_bytes.into());
        }
        if payload_bytes as usize > limits::PAYLOAD_MAX_BYTES {
            return field("payload bytes", payload_bytes.into());
        }
        let request_id = u64::from_le_bytes(raw[8..16].try_into().expect("eight bytes"));
        Ok(Self { service, kind, request_id, body_bytes, payload_bytes, deadline_ms: u32_at(24) })
    }

    /// Checks header and body against the checksum in `raw`.
    pub fn verify(raw: &[u8; HEADER_BYTES], body: &[u8]) -> Result<(), FrameError> {
        let mut zeroed = *raw;
        zeroed[28..32].fill(0);
        let crc = u32::from_le_bytes(raw[28..32].try_into().expect("four bytes"));
        if checksum(&zeroed, body) == crc { Ok(()) } else { Err(FrameError::Checksum) }
    }
}

fn checksum(header: &[u8; HEADER_BYTES], body: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(header);
    digest.update(body);
    digest.finalize() as u32
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
