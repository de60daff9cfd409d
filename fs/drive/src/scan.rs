//! Reading a drive after it was closed or lost power.
//!
//! Protocol: ask [`Scan::need`], read that, hand it to [`Scan::feed`] (or `None` where the device refuses to read it),
//! until nothing is needed; then [`Scan::finish`]. The device is flushed once before, so that what is found stays.
//!
//! Of each segment the header is read, then record headers one after the other. Where a header is not one, the next
//! blocks are searched for a later record of the same generation: what was skipped is a gap. At the end the payloads of
//! those chunks are checked that nothing says were durable.

use forebay_types::Uuid;

use crate::index::{ChunkKey, Entry};
use crate::layout::Layout;
use crate::record::{
    BLOCK, Chunk, Record, RecordKind, SEGMENT_HEAD_BYTES, SegmentHeader, SegmentUse, Stream, Tombstone, fingerprint,
};
use crate::recovery::Recovered;

/// Bytes read at a time while searching.
const SEARCH_READ_BYTES: u32 = 1024 * 1024;
/// Bytes searched for a later record before the log is taken to end: far more than one record, and than what can be
/// in flight when power fails.
const SEARCH_MAX_BYTES: u32 = 128 * 1024 * 1024;

/// What the scan wants read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Bytes of a segment.
    Read {
        /// The segment.
        segment: u32,
        /// From its start, in bytes.
        offset: u32,
        /// How many.
        bytes: u32,
    },
    /// Nothing more.
    Nothing,
}

/// Something between a segment's header and its end.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A record whose header is whole. `intact` is false where its payload was checked and is not.
    Record { found: Found, intact: bool },
    /// Bytes that are no record although a later record follows.
    Gap { offset: u32, bytes: u32 },
}

/// What is kept of a record: not its CRC table, of which there are millions.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    pub(crate) sequence: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Chunk(ChunkKey, Entry),
    Tombstones(Vec<Tombstone>),
    Mark,
}

impl Found {
    fn new(record: Record) -> Self {
        let (segment, offset, bytes, sequence) = (record.segment, record.offset, record.bytes(), record.sequence);
        let what = match record.kind {
            RecordKind::Chunk(Chunk { key, geometry, epoch, crcs }) => {
                let (payload_bytes, fingerprint) = (bytes - BLOCK as u32, fingerprint(&crcs));
                let corrupt = false;
                let entry = Entry { segment, offset, payload_bytes, geometry, epoch, fingerprint, sequence, corrupt };
                What::Chunk(key, entry)
            }
            RecordKind::Tombstones(entries) => What::Tombstones(entries),
            RecordKind::Mark { .. } => What::Mark,
        };
        Self { offset, bytes, sequence, what }
    }
}

/// A segment with records.
#[derive(Clone, Debug)]
pub(crate) struct ScannedSegment {
    pub(crate) segment: u32,
    pub(crate) stream: Stream,
    pub(crate) generation: u64,
    /// Where the next record would go.
    pub(crate) end: u32,
    pub(crate) items: Vec<Item>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Header(u32),
    Record { offset: u32, last: u64 },
    Search { from: u32, at: u32, last: u64 },
    Verify { segment: usize, item: usize },
    Finished,
}

/// A scan under way.
#[derive(Debug)]
pub struct Scan {
    layout: Layout,
    drive: Uuid,
    phase: Phase,
    segments: Vec<ScannedSegment>,
    lost_segments: Vec<u32>,
    /// Headers with one bad or outdated copy.
    uneven: Vec<SegmentHeader>,
    /// Highest sequence seen anywhere.
    highest: u64,
    /// Everything up to here was durable.
    durable: u64,
}

impl Scan {
    /// A scan of the whole drive.
    #[must_use]
    pub fn new(layout: Layout, drive: Uuid) -> Self {
        let (segments, lost_segments, uneven) = Default::default();
        Self { layout, drive, phase: Phase::Header(0), segments, lost_segments, uneven, highest: 0, durable: 0 }
    }

    /// What to read next.
    #[must_use]
    pub fn need(&self) -> Need {
        match self.phase {
            Phase::Finished => Need::Nothing,
            Phase::Header(segment) => Need::Read { segment, offset: 0, bytes: SEGMENT_HEAD_BYTES as u32 },
            Phase::Record { offset, .. } => Need::Read { segment: self.current(), offset, bytes: BLOCK as u32 },
            Phase::Search { from, at, .. } => {
                let bytes = SEARCH_READ_BYTES.min(self.search_end(from) - at);
                Need::Read { segment: self.current(), offset: at, bytes }
            }
            Phase::Verify { segment, item } => match &self.segments[segment].items[item] {
                Item::Record { found, .. } => {
                    Need::Read { segment: self.segments[segment].segment, offset: found.offset, bytes: found.bytes }
                }
                Item::Gap { .. } => unreachable!("only records are verified"),
            },
        }
    }

    /// What was read; `None` where it could not be.
    pub fn feed(&mut self, bytes: Option<&[u8]>) {
        match self.phase {
            Phase::Finished => {}
            Phase::Header(segment) => self.feed_header(segment, bytes),
            Phase::Record { offset, last } => match bytes.and_then(|block| self.record(block, offset, last)) {
                Some(record) => self.take(record),
                None => self.search(offset, offset + BLOCK as u32, last),
            },
            Phase::Search { from, at, last } => self.feed_search(bytes, from, at, last),
            Phase::Verify { segment, item } => {
                if let Item::Record { found, intact } = &mut self.segments[segment].items[item] {
                    *intact = bytes.is_some_and(|bytes| payload_is_whole(found, bytes));
                }
                self.verify_from(segment, item + 1);
            }
        }
    }

    /// What the drive holds. To be called when nothing is needed any more.
    #[must_use]
    pub fn finish(self) -> Recovered {
        assert!(matches!(self.phase, Phase::Finished), "the scan is not over");
        let Self { layout, drive, segments, lost_segments, uneven, highest, durable, .. } = self;
        Recovered::new(layout, drive, segments, (lost_segments, uneven), highest, durable)
    }

    fn current(&self) -> u32 {
        self.segments.last().map_or(0, |segment| segment.segment)
    }

    fn search_end(&self, from: u32) -> u32 {
        self.layout.segment_bytes.min(from.saturating_add(SEARCH_MAX_BYTES))
    }

    fn feed_header(&mut self, segment: u32, bytes: Option<&[u8]>) {
        let copies = bytes.into_iter().flat_map(|bytes| bytes.chunks(BLOCK));
        let whole = copies.filter_map(|block| SegmentHeader::decode(block).ok());
        let own = whole.filter(|header| header.segment == segment && header.drive == self.drive);
        match own.max_by_key(|header| header.generation) {
            Some(header) => {
                if bytes != Some(&header.encode()) {
                    self.uneven.push(header);
                }
                self.highest = self.highest.max(header.generation);
                self.durable = self.durable.max(header.durable);
                if let SegmentUse::Used(stream) = header.used {
                    let (generation, end) = (header.generation, SEGMENT_HEAD_BYTES as u32);
                    self.segments.push(ScannedSegment { segment, stream, generation, end, items: Vec::new() });
                    self.go_to(end, generation);
                    return;
                }
            }
            None => self.lost_segments.push(segment),
        }
        self.next_segment(segment);
    }

    fn next_segment(&mut self, segment: u32) {
        if segment + 1 < self.layout.segments {
            self.phase = Phase::Header(segment + 1);
        } else {
            self.verify_from(0, 0);
        }
    }

    /// Expects a record at `offset`, of a later sequence than `last`.
    fn go_to(&mut self, offset: u32, last: u64) {
        if offset + BLOCK as u32 > self.layout.segment_bytes {
            self.next_segment(self.current());
        } else {
            self.phase = Phase::Record { offset, last };
        }
    }

    fn search(&mut self, from: u32, at: u32, last: u64) {
        if at >= self.search_end(from) {
            self.next_segment(self.current());
        } else {
            self.phase = Phase::Search { from, at, last };
        }
    }

    /// The record in `block`, if it is this segment's and in its place.
    fn record(&self, block: &[u8], offset: u32, last: u64) -> Option<Record> {
        let scanned = self.segments.last()?;
        let record = Record::decode(block).ok()?;
        let here = record.segment == scanned.segment && record.offset == offset;
        let fits = record.bytes() <= self.layout.segment_bytes - offset;
        (here && fits && record.generation == scanned.generation && record.sequence > last).then_some(record)
    }

    fn take(&mut self, record: Record) {
        let (next, last) = (record.offset + record.bytes(), record.sequence);
        self.highest = self.highest.max(last);
        self.durable = self.durable.max(record.durable);
        if let Some(scanned) = self.segments.last_mut() {
            scanned.end = next;
            scanned.items.push(Item::Record { found: Found::new(record), intact: true });
        }
        self.go_to(next, last);
    }

    fn feed_search(&mut self, bytes: Option<&[u8]>, from: u32, at: u32, last: u64) {
        let Need::Read { bytes: asked, .. } = self.need() else {
            return;
        };
        let blocks = bytes.into_iter().flat_map(|bytes| bytes.chunks(BLOCK)).zip((at..).step_by(BLOCK));
        let found = blocks.filter_map(|(block, offset)| self.record(block, offset, last)).next();
        match found {
            Some(record) => {
                if let Some(scanned) = self.segments.last_mut() {
                    scanned.items.push(Item::Gap { offset: from, bytes: record.offset - from });
                }
                self.take(record);
            }
            None => self.search(from, at + asked, last),
        }
    }

    /// Goes to the next chunk, from the given place on, that nothing says was durable.
    fn verify_from(&mut self, segment: usize, item: usize) {
        let mut first = item;
        for (s, scanned) in self.segments.iter().enumerate().skip(segment) {
            let doubtful = |item: &Item| match item {
                Item::Record { found, .. } => found.sequence > self.durable && matches!(found.what, What::Chunk(..)),
                Item::Gap { .. } => false,
            };
            if let Some(i) = (first..scanned.items.len()).find(|&i| doubtful(&scanned.items[i])) {
                self.phase = Phase::Verify { segment: s, item: i };
                return;
            }
            first = 0;
        }
        self.phase = Phase::Finished;
    }
}

fn payload_is_whole(found: &Found, bytes: &[u8]) -> bool {
    if bytes.len() != found.bytes as usize {
        return false;
    }
    match Record::decode(&bytes[..BLOCK]).map(|record| record.kind) {
        Ok(RecordKind::Chunk(chunk)) => forebay_erasure::crc::verify(&bytes[BLOCK..], &chunk.crcs).is_ok(),
        _ => false,
    }
}
