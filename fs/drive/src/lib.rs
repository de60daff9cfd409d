//! A drive's mind: where chunks go, where they are, when they are durable, what a crash left behind.
//!
//! Job: decide. [`DriveCore::step`] takes one [`Input`] and appends [`Effect`]s; whoever owns the device carries them
//! out and feeds the outcome back. Nothing here reads, writes, waits, or knows what time it is.
//!
//! # On the device
//!
//! All integers are little-endian except stripe ids; every block below is [`BLOCK`] (4096) bytes and ends in the CRC32C of the
//! bytes before it. Every block has a version; an unknown version is refused, never guessed at.
//!
//! * The first MiB: the [`Superblock`] at 0 and again at 512 KiB.
//! * Then segments of one size. A segment starts with its [`SegmentHeader`], twice in adjacent blocks, and goes on with
//!   records, appended in sequence order: a *chunk* (header block, then the payload), *tombstones* (up to
//!   [`TOMBSTONES_MAX`] keys that are deleted), or a *mark* (nothing but the news of what is durable; it also covers
//!   what a crash tore).
//! * Every write of a block takes the drive's next *sequence* number. Each start of the drive goes on far above all
//!   earlier ones, by a count of starts in the superblock. A segment's *generation* is the sequence its
//!   header was written with; a record of another generation is left over from an earlier use of the segment. A record
//!   also carries its own segment and offset, so that bytes of users that look like a record are not taken for one.
//! * Every record carries the highest sequence that was durable when it was written. After a crash the largest of these
//!   parts what was promised (damage is reported) from what was not (damage is a torn write and is dropped).
//!
//! # What holds
//!
//! * A chunk is alive where its sequence is the highest of its key and no tombstone of the key has a higher bound.
//! * Acknowledgements come in sequence order: everything up to `durable` is on the medium.
//! * A tombstone stays until no record that it kills is left on the device, and a segment is reused only after a header
//!   that declares it free is durable, which itself is written only after all that emptied it is durable.
//! * A failed write or flush ends writing for good: what a device has after a failed flush is unknown.
//! * Chunks of one lifetime class share segments; tombstones have segments of their own, so that no two segments wait
//!   for each other. Only a nearly full drive mixes them.
//!
//! # The index
//!
//! The index is in memory and rebuilt by reading every record's header block ([`Scan`]). A checkpoint of it will be a
//! table in the host's key-value store, written with the `durable` sequence it was taken at: recovery then loads the
//! table and scans only segments whose last record is younger. Nothing on the device changes for that.
#![forbid(unsafe_code)]

mod clean;
mod core;
mod durability;
mod index;
mod layout;
mod reads;
mod record;
mod recovery;
mod scan;
mod space;
mod superblock;
#[cfg(test)]
mod world;

pub use crate::core::{
    ChunkInfo, ChunkPut, CoreStats, Done, DriveCore, Effect, Input, OpNumber, Purpose, ReadNumber, ReadOutcome, Refusal,
};
pub use clean::CleanPlan;
pub use index::ChunkKey;
pub use layout::{Layout, LayoutError, SUPERBLOCK_OFFSETS};
pub use record::{
    BLOCK, Chunk, FormatError, Record, RecordKind, SEGMENT_HEAD_BYTES, SegmentHeader, SegmentUse, Stream,
    TOMBSTONES_MAX, Tombstone,
};
pub use recovery::{CorruptRegion, Recovered, RecoveryReport};
pub use scan::{Need, Scan};
pub use superblock::{SUPERBLOCK_VERSION, Superblock, SuperblockError};
