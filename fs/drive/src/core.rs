//! The drive's state machine: inputs, effects, and the decisions between them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use forebay_types::{Epoch, Geometry, Uuid, limits};

use crate::clean::Cleaning;
use crate::index::{ChunkKey, Entry, Index};
use crate::layout::Layout;
use crate::reads::info;
use crate::record::{
    BLOCK, Chunk, Record, RecordKind, SEGMENT_HEAD_BYTES, SegmentHeader, SegmentUse, Stream, TOMBSTONES_MAX, Tombstone,
    fingerprint,
};
use crate::space::{Place, Privilege, Space, State};

/// Names a request of the caller; comes back in [`Effect::Done`] or [`Effect::Read`].
pub type OpNumber = u64;
/// Names a read.
pub type ReadNumber = u64;

/// A chunk to store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkPut {
    /// Stripe and index.
    pub key: ChunkKey,
    /// How the stripe is cut.
    pub geometry: Geometry,
    /// Map epoch the writer knows.
    pub epoch: Epoch,
    /// The bytes: 1 to 64 blocks of 4096 bytes.
    pub payload: Bytes,
    /// CRC32C of each block; the caller has checked them.
    pub crcs: Vec<u32>,
}

/// What the drive knows of a chunk it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkInfo {
    /// How the stripe is cut.
    pub geometry: Geometry,
    /// Map epoch the writer knew.
    pub epoch: Epoch,
    /// Bytes of the whole chunk.
    pub chunk_bytes: u32,
}

/// What happens to a drive.
#[derive(Clone, Debug)]
pub enum Input {
    /// Store a chunk; done when durable.
    Put(OpNumber, ChunkPut),
    /// Where is a chunk? Answered by [`Effect::Read`] or a refusal.
    Get(OpNumber, ChunkKey),
    /// Erase chunks; done when durably erased. Chunks that are not there are as good as erased.
    Delete(OpNumber, Vec<ChunkKey>),
    /// A [`Effect::Write`] has ended, well or not.
    WriteDone {
        /// The write's number.
        number: u64,
        /// Whether all of it was written.
        ok: bool,
    },
    /// The [`Effect::Flush`] has ended, well or not.
    FlushDone {
        /// Whether everything written before it is durable.
        ok: bool,
    },
    /// A [`Effect::Read`] has ended and the device will not be read for it again.
    ReadDone {
        /// The read.
        read: ReadNumber,
        /// What was found.
        outcome: ReadOutcome,
    },
    /// Write down what is durable, before the drive is closed; done when that is durable.
    Shutdown(OpNumber),
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum ReadOutcome {
    /// The chunk as it was written; for [`Purpose::Move`] with its whole payload and its block CRCs.
    Good(Option<(Bytes, Vec<u32>)>),
    /// Something else than was written.
    Corrupt,
    /// The request was given up; nothing is known about the bytes.
    GivenUp,
}

/// What a read is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A [`Input::Get`].
    Get(OpNumber),
    /// The cleaner moves the chunk: read all of it and hand it back.
    Move,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Write `head`, then `payload`, at `offset` of the segment. Writes under way together never overlap.
    Write {
        /// Comes back in [`Input::WriteDone`].
        number: u64,
        /// The segment.
        segment: u32,
        /// Bytes from the segment's start.
        offset: u32,
        /// One or two blocks.
        head: Vec<u8>,
        /// Whole blocks, or nothing.
        payload: Bytes,
    },
    /// Make every write that has ended durable. At most one is under way.
    Flush,
    /// Read the record at `offset`: its header block, then those blocks of the payload that are wanted. The header must
    /// name `key` and `sequence`, else the chunk is corrupt.
    Read {
        /// Comes back in [`Input::ReadDone`].
        read: ReadNumber,
        /// What for.
        purpose: Purpose,
        /// The chunk.
        key: ChunkKey,
        /// The record's number.
        sequence: u64,
        /// The segment.
        segment: u32,
        /// Bytes from the segment's start.
        offset: u32,
        /// What is known of the chunk.
        info: ChunkInfo,
    },
    /// A request has ended.
    Done(OpNumber, Result<Done, Refusal>),
}

/// How a request ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Durable.
    Durable,
}

/// Why a request was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The chunk is not on the drive.
    NotFound,
    /// No room, and cleaning cannot make any.
    NoSpace,
    /// The drive has other bytes for the chunk, written under a later map.
    StaleEpoch {
        /// The epoch of what is there.
        held: Epoch,
    },
    /// The chunk breaks a limit; a defect of the caller.
    Invalid,
    /// A write or flush of the device has failed; the drive takes no more writes.
    Failed,
}

/// Figures of a drive. Counts of events are since the core was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoreStats {
    /// Bytes that records of chunks can have in all.
    pub capacity_bytes: u64,
    /// Bytes of payload alive.
    pub live_bytes: u64,
    /// Bytes a new chunk can still find room in, now or after cleaning.
    pub free_bytes: u64,
    /// Chunks alive.
    pub chunks: u64,
    /// Chunks found corrupt.
    pub corrupt_chunks: u64,
    /// Bytes the cleaner copied.
    pub cleaned_bytes: u64,
    /// Bytes written for chunks, headers included.
    pub written_bytes: u64,
    /// Chunks stored.
    pub puts: u64,
    /// Flushes.
    pub flushes: u64,
    /// Segments.
    pub segments: u32,
    /// Of those, free.
    pub free_segments: u32,
}

/// What becomes true when a write is durable.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    /// A segment has been opened.
    Opened,
    Chunk(ChunkKey, Entry),
    /// A copy of the record with sequence `from`.
    Moved {
        key: ChunkKey,
        entry: Entry,
        from: u64,
    },
    Tombstones(u32, Vec<Tombstone>),
    Mark(u32),
    Freed(u32),
    Ack(OpNumber),
}

/// What a key will be once everything issued is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Issued {
    Put { sequence: u64, fingerprint: u64, geometry: Geometry, epoch: Epoch },
    Deleted { sequence: u64 },
}

impl Issued {
    pub(crate) fn sequence(self) -> u64 {
        match self {
            Self::Put { sequence, .. } | Self::Deleted { sequence } => sequence,
        }
    }
}

/// The drive. Give it every input in the order things happen and carry out its effects; see the crate's documentation.
#[derive(Debug)]
pub struct DriveCore {
    pub(crate) drive: Uuid,
    pub(crate) index: Index,
    pub(crate) space: Space,
    /// Highest sequence handed out.
    pub(crate) last: u64,
    /// Everything up to here is written.
    pub(crate) written: u64,
    /// Ended writes after `written`.
    pub(crate) ended: BTreeSet<u64>,
    /// Everything up to here is durable.
    pub(crate) durable: u64,
    /// The last of the marks that cover what a crash tore, and what was durable before that crash: until all of these
    /// marks are durable no record may say more, else what is not covered yet would pass for damage.
    pub(crate) covered: (u64, u64),
    /// What the flush under way will make durable.
    pub(crate) flushing: Option<u64>,
    /// In sequence order.
    pub(crate) pending: VecDeque<(u64, Pending)>,
    pub(crate) issued: HashMap<ChunkKey, Issued>,
    /// Puts that wait for the cleaner; bounded by the caller's own bound on requests under way.
    pub(crate) parked: VecDeque<(OpNumber, ChunkPut)>,
    pub(crate) cleaning: Option<Cleaning>,
    pub(crate) reads: HashMap<ReadNumber, (ChunkKey, u64, u32, Purpose)>,
    pub(crate) last_read: ReadNumber,
    pub(crate) failed: bool,
    pub(crate) stats: CoreStats,
}

impl DriveCore {
    /// One thing happens.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Put(op, chunk) => self.put(op, chunk, effects),
            Input::Get(op, key) => self.get(op, key, effects),
            Input::Delete(op, keys) => self.delete(op, keys, effects),
            Input::WriteDone { number, ok } => self.write_done(number, ok, effects),
            Input::FlushDone { ok } => self.flush_done(ok, effects),
            Input::ReadDone { read, outcome } => self.read_done(read, outcome, effects),
            Input::Shutdown(op) => self.shut_down(op, effects),
        }
        self.settle(effects);
        // Checking takes time with the size of the drive; small ones, as tests have, show the same mistakes.
        if cfg!(debug_assertions) && self.index.live.len() + self.index.dead.len() < 256 {
            self.check_invariants();
        }
    }

    /// What is known of a durable chunk.
    #[must_use]
    pub fn info(&self, key: ChunkKey) -> Option<ChunkInfo> {
        self.index.live.get(&key).map(info)
    }

    /// Chunks alive after `after` in key order, at most `limit`, and whether there are no more.
    #[must_use]
    pub fn list(&self, after: Option<ChunkKey>, limit: usize) -> (Vec<ChunkKey>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut keys = self.index.live.range((from, Bound::Unbounded)).map(|(key, _)| *key);
        let page = keys.by_ref().take(limit).collect();
        (page, keys.next().is_none())
    }

    /// The drive's figures.
    #[must_use]
    pub fn stats(&self) -> CoreStats {
        let capacity_bytes = self.space.capacity_bytes();
        CoreStats {
            capacity_bytes,
            free_bytes: capacity_bytes.saturating_sub(self.space.live_record_bytes()),
            chunks: self.index.live.len() as u64,
            segments: self.space.segments.len() as u32,
            free_segments: self.space.free.len() as u32,
            ..self.stats
        }
    }

    /// Whether a write or flush has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// How the device is cut.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.space.layout
    }

    fn put(&mut self, op: OpNumber, chunk: ChunkPut, effects: &mut Vec<Effect>) {
        let bytes = chunk.payload.len();
        let blocks_fit = bytes.is_multiple_of(BLOCK) && (1..=limits::CHUNK_MAX_BYTES).contains(&bytes);
        if !blocks_fit || chunk.crcs.len() != bytes / BLOCK || usize::from(chunk.key.1) >= chunk.geometry.width() {
            return effects.push(Effect::Done(op, Err(Refusal::Invalid)));
        }
        if self.failed {
            return effects.push(Effect::Done(op, Err(Refusal::Failed)));
        }
        if let Some((print, geometry, held)) = self.held(chunk.key) {
            if print == fingerprint(&chunk.crcs) && geometry == chunk.geometry {
                return self.ack_when_all_is_durable(op, effects);
            }
            if chunk.epoch < held {
                return effects.push(Effect::Done(op, Err(Refusal::StaleEpoch { held })));
            }
        }
        if let Err(chunk) = self.append_chunk(op, chunk, effects) {
            self.parked.push_back((op, chunk));
        }
    }

    /// Content, geometry and epoch of what the key will be; `None` where it will not be, or is damaged.
    fn held(&self, key: ChunkKey) -> Option<(u64, Geometry, Epoch)> {
        match self.issued.get(&key) {
            Some(Issued::Put { fingerprint, geometry, epoch, .. }) => Some((*fingerprint, *geometry, *epoch)),
            Some(Issued::Deleted { .. }) => None,
            None => {
                let entry = self.index.live.get(&key).filter(|entry| !entry.corrupt)?;
                Some((entry.fingerprint, entry.geometry, entry.epoch))
            }
        }
    }

    /// Appends a chunk that was checked; gives it back where there is no room.
    pub(crate) fn append_chunk(
        &mut self,
        op: OpNumber,
        put: ChunkPut,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ChunkPut> {
        let ChunkPut { key, geometry, epoch, .. } = put;
        let bytes = (BLOCK + put.payload.len()) as u32;
        let Some(place) = self.space.place(Stream::Chunks(key.0.class()), bytes, Privilege::Put) else {
            return Err(put);
        };
        let fingerprint = fingerprint(&put.crcs);
        let chunk = Chunk { key, geometry, epoch, crcs: put.crcs };
        let payload_bytes = put.payload.len() as u32;
        let sequence = self.append(place, RecordKind::Chunk(chunk), put.payload, effects);
        let (segment, offset) = (place.segment, place.offset);
        let entry = Entry { segment, offset, payload_bytes, geometry, epoch, fingerprint, sequence, corrupt: false };
        self.pending.push_back((sequence, Pending::Chunk(key, entry)));
        self.pending.push_back((sequence, Pending::Ack(op)));
        self.issued.insert(key, Issued::Put { sequence, fingerprint, geometry, epoch });
        self.stats.puts += 1;
        self.stats.written_bytes += u64::from(bytes);
        Ok(())
    }

    /// Emits the write of a record, and before it that of its segment's header where the segment was free. Returns the
    /// record's sequence; what follows from the record is for the caller to put into `pending`.
    pub(crate) fn append(&mut self, place: Place, kind: RecordKind, payload: Bytes, effects: &mut Vec<Effect>) -> u64 {
        let Place { segment, offset, opened } = place;
        if let Some(stream) = opened {
            let generation = self.next();
            self.space.get(segment).generation = generation;
            self.write_segment_header(segment, generation, SegmentUse::Used(stream), effects);
            self.pending.push_back((generation, Pending::Opened));
        }
        let (sequence, durable) = (self.next(), self.durable_to_tell());
        let generation = self.space.get(segment).generation;
        let head = Record { segment, offset, generation, sequence, durable, kind }.encode();
        effects.push(Effect::Write { number: sequence, segment, offset, head, payload });
        sequence
    }

    pub(crate) fn write_segment_header(
        &mut self,
        segment: u32,
        generation: u64,
        used: SegmentUse,
        effects: &mut Vec<Effect>,
    ) {
        let head =
            SegmentHeader { segment, used, generation, durable: self.durable_to_tell(), drive: self.drive }.encode();
        debug_assert_eq!(head.len(), SEGMENT_HEAD_BYTES);
        effects.push(Effect::Write { number: generation, segment, offset: 0, head, payload: Bytes::new() });
    }

    fn durable_to_tell(&self) -> u64 {
        let (covered, before) = self.covered;
        if self.durable >= covered { self.durable } else { before }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn ack_when_all_is_durable(&mut self, op: OpNumber, effects: &mut Vec<Effect>) {
        if self.durable == self.last {
            effects.push(Effect::Done(op, Ok(Done::Durable)));
        } else {
            self.pending.push_back((self.last, Pending::Ack(op)));
        }
    }

    fn delete(&mut self, op: OpNumber, mut keys: Vec<ChunkKey>, effects: &mut Vec<Effect>) {
        if self.failed {
            return effects.push(Effect::Done(op, Err(Refusal::Failed)));
        }
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| match self.issued.get(key) {
            Some(Issued::Put { .. }) => true,
            Some(Issued::Deleted { .. }) => false,
            None => self.index.live.contains_key(key),
        });
        for some in keys.chunks(TOMBSTONES_MAX) {
            let Some(place) = self.space.place(Stream::Tombstones, BLOCK as u32, Privilege::Tombstones) else {
                return effects.push(Effect::Done(op, Err(Refusal::NoSpace)));
            };
            // The record's own sequence is the bound: it comes after the segment header's, where one is written.
            let bound = self.last + 1 + u64::from(place.opened.is_some());
            let entries: Vec<Tombstone> = some.iter().map(|&key| Tombstone { key, bound }).collect();
            let sequence = self.append(place, RecordKind::Tombstones(entries.clone()), Bytes::new(), effects);
            debug_assert_eq!(sequence, bound);
            self.pending.push_back((sequence, Pending::Tombstones(place.segment, entries)));
            for &key in some {
                self.issued.insert(key, Issued::Deleted { sequence });
            }
        }
        self.ack_when_all_is_durable(op, effects);
    }

    fn shut_down(&mut self, op: OpNumber, effects: &mut Vec<Effect>) {
        if self.failed {
            return effects.push(Effect::Done(op, Err(Refusal::Failed)));
        }
        // The mark tells the next start that everything acknowledged so far is durable, so that damage to it is
        // reported as damage and not taken for a torn write.
        if let Some(place) = self.space.place_mark() {
            let sequence = self.append(place, RecordKind::Mark { skip_bytes: 0 }, Bytes::new(), effects);
            self.pending.push_back((sequence, Pending::Mark(place.segment)));
        }
        self.ack_when_all_is_durable(op, effects);
    }

    pub(crate) fn free_if_empty(&mut self, segment: u32, effects: &mut Vec<Effect>) {
        if self.failed || !self.space.segments[segment as usize].is_freeable() {
            return;
        }
        let generation = self.next();
        self.space.get(segment).state = State::Freeing;
        self.space.freeing += 1;
        self.write_segment_header(segment, generation, SegmentUse::Free, effects);
        self.pending.push_back((generation, Pending::Freed(segment)));
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
