//! Segment headers and records, byte for byte.

use forebay_erasure::crc::crc32c;
use forebay_types::{Epoch, Geometry, LifetimeClass, StripeId, Uuid, limits};

use crate::index::ChunkKey;

/// Bytes of every header, and the unit of all offsets and lengths.
pub const BLOCK: usize = limits::BLOCK_BYTES;

/// Bytes of a segment's header with its second copy.
pub const SEGMENT_HEAD_BYTES: usize = 2 * BLOCK;

/// Most keys a tombstone record names.
pub const TOMBSTONES_MAX: usize = 160;

const SEGMENT_MAGIC: [u8; 4] = *b"FBSG";
const RECORD_MAGIC: [u8; 4] = *b"FBRC";
const FORMAT_VERSION: u16 = 1;
const CRC_AT: usize = BLOCK - 4;
const BLOCKS_MAX: usize = limits::CHUNK_MAX_BYTES / BLOCK;

/// Why a block is not what was looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    /// Another kind of block, or never written.
    #[error("there is no such block here")]
    Magic,
    /// The checksum does not hold.
    #[error("the block is damaged")]
    Damaged,
    /// The format is another release's.
    #[error("the block has format version {found}, this release knows version 1")]
    Version {
        /// The version found.
        found: u16,
    },
    /// The checksum holds and a field has a value it cannot have.
    #[error("the block's field '{field}' is out of range")]
    Field {
        /// The field.
        field: &'static str,
    },
}

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(BLOCK))
    }
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub(crate) fn u8(&mut self, v: u8) -> &mut Self {
        self.bytes(&[v])
    }
    pub(crate) fn u16(&mut self, v: u16) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }
    pub(crate) fn u32(&mut self, v: u32) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }
    pub(crate) fn u64(&mut self, v: u64) -> &mut Self {
        self.bytes(&v.to_le_bytes())
    }
}

/// Fills the block with zeros and closes it with its CRC.
pub(crate) fn seal(writer: Writer) -> Vec<u8> {
    let mut block = writer.0;
    assert!(block.len() <= CRC_AT, "fields of {} bytes do not fit a block", block.len());
    block.resize(CRC_AT, 0);
    let crc = crc32c(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    block
}

pub(crate) fn block_is_intact(block: &[u8]) -> bool {
    block.len() == BLOCK && block[CRC_AT..] == crc32c(&block[..CRC_AT]).to_le_bytes()
}

pub(crate) struct Reader<'a>(&'a [u8], usize);

impl<'a> Reader<'a> {
    pub(crate) fn at(block: &'a [u8], at: usize) -> Self {
        Self(block, at)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.0[self.1..self.1 + N]);
        self.1 += N;
        out
    }
    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }
    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

/// Checks magic, CRC and version, in this order.
fn open_block(block: &[u8], magic: [u8; 4]) -> Result<Reader<'_>, FormatError> {
    if block.len() != BLOCK || block[..4] != magic {
        return Err(FormatError::Magic);
    }
    if !block_is_intact(block) {
        return Err(FormatError::Damaged);
    }
    let mut r = Reader::at(block, 4);
    match r.u16() {
        FORMAT_VERSION => Ok(r),
        found => Err(FormatError::Version { found }),
    }
}

/// What a segment's records have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stream {
    /// Chunks of one lifetime class.
    Chunks(LifetimeClass),
    /// Tombstones.
    Tombstones,
}

impl Stream {
    pub(crate) const COUNT: usize = 4;

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Chunks(class) => class as u8,
            Self::Tombstones => 3,
        }
    }

    fn from_number(n: u8) -> Option<Self> {
        if n == 3 { Some(Self::Tombstones) } else { LifetimeClass::from_u8(n).map(Self::Chunks) }
    }
}

/// Whether a segment has records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentUse {
    /// None; what lies there is left over.
    Free,
    /// Records of a stream.
    Used(Stream),
}

/// The first block of a segment: magic 0..4, version 4..6, used 6, stream 7, segment 8..12, zero 12..16, generation
/// 16..24, durable 24..32, drive 32..48, zeros, CRC32C 4092..4096.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The segment.
    pub segment: u32,
    /// What it holds.
    pub used: SegmentUse,
    /// The sequence this header was written with.
    pub generation: u64,
    /// Everything up to this sequence was durable by then.
    pub durable: u64,
    /// The drive's identity.
    pub drive: Uuid,
}

impl SegmentHeader {
    /// Both copies, as they are on the device.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (used, stream) = match self.used {
            SegmentUse::Free => (0, 0),
            SegmentUse::Used(stream) => (1, stream.number()),
        };
        let mut w = Writer::new();
        w.bytes(&SEGMENT_MAGIC).u16(FORMAT_VERSION).u8(used).u8(stream).u32(self.segment).u32(0);
        w.u64(self.generation).u64(self.durable).bytes(&self.drive.0);
        seal(w).repeat(2)
    }

    /// Reads one copy.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(block: &[u8]) -> Result<Self, FormatError> {
        let mut r = open_block(block, SEGMENT_MAGIC)?;
        let used = match (r.u8(), Stream::from_number(r.u8())) {
            (0, _) => SegmentUse::Free,
            (1, Some(stream)) => SegmentUse::Used(stream),
            _ => return Err(FormatError::Field { field: "stream" }),
        };
        let segment = r.u32();
        r.u32();
        Ok(Self { segment, used, generation: r.u64(), durable: r.u64(), drive: Uuid(r.array()) })
    }
}

/// A chunk's description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Stripe and index.
    pub key: ChunkKey,
    /// How the stripe is cut.
    pub geometry: Geometry,
    /// Map epoch the writer knew.
    pub epoch: Epoch,
    /// CRC32C of each block of the payload; the payload has exactly as many blocks.
    pub crcs: Vec<u32>,
}

/// A deleted key: kills every record of the key whose sequence is below `bound`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// Stripe and index.
    pub key: ChunkKey,
    /// First sequence that it does not kill.
    pub bound: u64,
}

/// What a record is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// A chunk; its payload follows the header block.
    Chunk(Chunk),
    /// Deleted keys.
    Tombstones(Vec<Tombstone>),
    /// News of what is durable. Covers `skip_bytes` bytes after its block, which a crash tore.
    Mark {
        /// Bytes after the block that belong to nothing, a multiple of [`BLOCK`].
        skip_bytes: u32,
    },
}

/// A record's header block: magic 0..4, version 4..6, kind 6, flags (zero) 7, segment 8..12, offset 12..16, generation 16..24,
/// sequence 24..32, durable 32..40, stripe (big-endian) 40..56, index 56, k 57, m 58, zero 59, bytes after the block
/// 60..64, epoch 64..72, tombstones 72..76, then the CRC table or the tombstones (stripe, index, bound: 25 bytes each),
/// zeros, CRC32C 4092..4096.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The segment it is in.
    pub segment: u32,
    /// Where in the segment, in bytes.
    pub offset: u32,
    /// The segment's generation.
    pub generation: u64,
    /// Its own number.
    pub sequence: u64,
    /// Everything up to this sequence was durable when it was written.
    pub durable: u64,
    /// What it is.
    pub kind: RecordKind,
}

impl Record {
    /// Bytes of the record, its header block included.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        BLOCK as u32
            + match &self.kind {
                RecordKind::Chunk(chunk) => (chunk.crcs.len() * BLOCK) as u32,
                RecordKind::Tombstones(_) => 0,
                RecordKind::Mark { skip_bytes } => *skip_bytes,
            }
    }

    /// The header block as it is on the device.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind = match &self.kind {
            RecordKind::Chunk(_) => 1,
            RecordKind::Tombstones(_) => 2,
            RecordKind::Mark { .. } => 3,
        };
        let mut w = Writer::new();
        w.bytes(&RECORD_MAGIC).u16(FORMAT_VERSION).u8(kind).u8(0).u32(self.segment).u32(self.offset);
        w.u64(self.generation).u64(self.sequence).u64(self.durable);
        let after = self.bytes() - BLOCK as u32;
        match &self.kind {
            RecordKind::Chunk(Chunk { key, geometry, epoch, crcs }) => {
                w.bytes(&key.0.to_bytes()).u8(key.1).u8(geometry.data).u8(geometry.parity).u8(0);
                w.u32(after).u64(epoch.0).u32(0);
                crcs.iter().for_each(|crc| {
                    w.u32(*crc);
                });
            }
            RecordKind::Tombstones(entries) => {
                w.bytes(&[0; 20]).u32(after).u64(0).u32(entries.len() as u32);
                entries.iter().for_each(|entry| {
                    w.bytes(&entry.key.0.to_bytes()).u8(entry.key.1).u64(entry.bound);
                });
            }
            RecordKind::Mark { .. } => {
                w.bytes(&[0; 20]).u32(after).u64(0).u32(0);
            }
        }
        seal(w)
    }

    /// Reads a header block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(block: &[u8]) -> Result<Self, FormatError> {
        let mut r = open_block(block, RECORD_MAGIC)?;
        let kind = r.u8();
        r.u8();
        let (segment, offset) = (r.u32(), r.u32());
        let (generation, sequence, durable) = (r.u64(), r.u64(), r.u64());
        let key = (StripeId::from_bytes(r.array()), r.u8());
        let geometry = Geometry { data: r.u8(), parity: r.u8() };
        r.u8();
        let (after, epoch, count) = (r.u32(), Epoch(r.u64()), r.u32() as usize);
        let after_blocks = after as usize / BLOCK;
        if !(after as usize).is_multiple_of(BLOCK) {
            return Err(FormatError::Field { field: "bytes" });
        }
        let kind = match kind {
            1 if (1..=BLOCKS_MAX).contains(&after_blocks) => {
                RecordKind::Chunk(Chunk { key, geometry, epoch, crcs: (0..after_blocks).map(|_| r.u32()).collect() })
            }
            1 => return Err(FormatError::Field { field: "bytes" }),
            2 if count <= TOMBSTONES_MAX && after == 0 => {
                let mut entry = || Tombstone { key: (StripeId::from_bytes(r.array()), r.u8()), bound: r.u64() };
                RecordKind::Tombstones((0..count).map(|_| entry()).collect())
            }
            2 => return Err(FormatError::Field { field: "tombstones" }),
            3 => RecordKind::Mark { skip_bytes: after },
            _ => return Err(FormatError::Field { field: "kind" }),
        };
        Ok(Self { segment, offset, generation, sequence, durable, kind })
    }
}

/// What tells two contents of one key apart: the block CRCs, folded. Two contents that differ have equal prints with a chance
/// of about one in four thousand million, and then the first one stays.
pub(crate) fn fingerprint(crcs: &[u32]) -> u64 {
    let mut table = Vec::with_capacity(4 * crcs.len());
    crcs.iter().for_each(|crc| table.extend_from_slice(&crc.to_le_bytes()));
    (u64::from(crc32c(&table)) << 32)
        | crcs.iter().fold(crcs.len() as u64, |sum, crc| (sum * 31 + u64::from(*crc)) & 0xffff_ffff)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
