//! Service *chunk*: clients, movers and metadata shards to a host's drives.
//!
//! Chunk bytes travel as the message's payload, whole blocks of [`forebay_types::limits::BLOCK_BYTES`]; the CRC32C of
//! each block travels in the body and is checked by the receiver, whichever way the bytes go.

use forebay_types::{DriveId, Epoch, Geometry, StripeId};
use serde::{Deserialize, Serialize};

/// What a drive can be asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ChunkRequest {
    /// Store a chunk; answered when it is durable. The payload is the chunk.
    Put(PutChunk),
    /// Read blocks of a chunk.
    Get(GetChunk),
    /// Erase chunks; chunks that are not there are as good as erased.
    Delete {
        /// The drive.
        drive: DriveId,
        /// Stripe and chunk index, at most 4096 of them.
        chunks: Vec<(StripeId, u8)>,
    },
    /// Chunks the drive holds, in order, after `after`; for fsck and scrub.
    List {
        /// The drive.
        drive: DriveId,
        /// Where to go on; from the start where absent.
        after: Option<(StripeId, u8)>,
        /// Most chunks in the answer.
        limit: u32,
    },
    /// Space and health of the host's drives.
    Stats,
}

/// A chunk to store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PutChunk {
    /// The drive.
    pub drive: DriveId,
    /// The stripe.
    pub stripe: StripeId,
    /// Which chunk of it: 0..k data, k..k+m parity.
    pub index: u8,
    /// How the stripe is cut.
    pub geometry: Geometry,
    /// Map epoch the writer knows.
    pub epoch: Epoch,
    /// CRC32C of each block of the payload.
    pub crcs: Vec<u32>,
}

/// Blocks to read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct GetChunk {
    /// The drive.
    pub drive: DriveId,
    /// The stripe.
    pub stripe: StripeId,
    /// Which chunk of it.
    pub index: u8,
    /// First block.
    pub first_block: u32,
    /// Number of blocks.
    pub blocks: u32,
}

/// What a drive answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum ChunkReply {
    /// Stored and flushed.
    Put(Receipt),
    /// The payload is the blocks asked for.
    Got {
        /// CRC32C of each block of the payload.
        crcs: Vec<u32>,
    },
    /// Erased, durably.
    Deleted,
    /// Chunks found.
    Listed {
        /// Stripe and chunk index, in order.
        chunks: Vec<(StripeId, u8)>,
        /// Whether there are no more.
        end: bool,
    },
    /// The host's drives.
    Stats(Vec<DriveStats>),
    /// Refused.
    Error(ChunkError),
}

/// A drive's word that a chunk is durable, sealed with the cluster's key: metadata names no bytes without it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Receipt {
    /// The drive.
    pub drive: DriveId,
    /// The stripe.
    pub stripe: StripeId,
    /// Which chunk of it.
    pub index: u8,
    /// Bytes of the chunk.
    pub chunk_bytes: u32,
    /// First 16 bytes of BLAKE3, keyed with a key derived from the cluster's, over the fields above.
    pub seal: [u8; 16],
}

/// Why a drive refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, thiserror::Error)]
pub enum ChunkError {
    /// The chunk is not on the drive.
    #[error("{stripe} chunk {index} is not on {drive}")]
    NotFound {
        /// The drive.
        drive: DriveId,
        /// The stripe.
        stripe: StripeId,
        /// Which chunk.
        index: u8,
    },
    /// The drive's bytes are not those that were written.
    #[error("{stripe} chunk {index} on {drive} is corrupt from block {block} on")]
    Corrupt {
        /// The drive.
        drive: DriveId,
        /// The stripe.
        stripe: StripeId,
        /// Which chunk.
        index: u8,
        /// First bad block.
        block: u32,
    },
    /// The drive is full.
    #[error("{drive} is full")]
    NoSpace {
        /// The drive.
        drive: DriveId,
    },
    /// The host does not have the drive.
    #[error("{drive} is not in this host")]
    NoDrive {
        /// The drive.
        drive: DriveId,
    },
    /// The drive cannot be read or written.
    #[error("{drive} failed: {reason}")]
    Failed {
        /// The drive.
        drive: DriveId,
        /// What the operating system said.
        reason: String,
    },
    /// The request makes no sense; a defect of the caller.
    #[error("bad chunk request: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// Space and health of a drive.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct DriveStats {
    /// The drive.
    pub drive: DriveId,
    /// Bytes chunks can have in all.
    pub capacity_bytes: u64,
    /// Bytes of chunks that are alive.
    pub live_bytes: u64,
    /// Bytes a new chunk can still find room in, now or after cleaning.
    pub free_bytes: u64,
    /// Chunks alive.
    pub chunks: u64,
    /// Chunks found corrupt since the host started.
    pub corrupt_chunks: u64,
    /// Bytes the cleaner copied since the host started.
    pub cleaned_bytes: u64,
    /// Bytes written for chunks since the host started.
    pub written_bytes: u64,
    /// Flushes of the device since the host started.
    pub flushes: u64,
    /// What is wrong with the drive; empty where nothing is.
    pub failure: String,
}
