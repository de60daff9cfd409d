//! From what a scan found to a drive that goes on.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use forebay_types::Uuid;

use crate::core::{CoreStats, DriveCore, Effect, Pending};
use crate::index::{ChunkKey, Entry, Index};
use crate::layout::{Layout, RECORD_MAX_BYTES};
use crate::record::{BLOCK, Record, RecordKind, SegmentHeader, SegmentUse, Stream};
use crate::scan::{Found, Item, ScannedSegment, What};
use crate::space::{Segment, Space, State};

/// Each start hands out sequences from its own number times this: what an earlier start wrote and recovery does not see,
/// for its segment's header was lost with the power, can never be taken for something new.
const SEQUENCES_PER_START: u64 = 1 << 40;

/// Bytes that were durable and are no record any more. Which chunk they were is not known; the chunk is missing, and is
/// rebuilt like any other that is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CorruptRegion {
    /// The segment.
    pub segment: u32,
    /// Bytes from the segment's start.
    pub offset: u32,
    /// Number of bytes.
    pub bytes: u32,
}

/// What recovery has to say. Nothing but `torn_records` is expected after a crash.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// Chunks alive.
    pub chunks: u64,
    /// Records that were being written when the drive lost power, none of them acknowledged, all dropped.
    pub torn_records: u64,
    /// Damage of what was durable.
    pub corrupt: Vec<CorruptRegion>,
    /// Segments both of whose headers are unreadable. They are taken as free.
    pub lost_segments: Vec<u32>,
}

/// A drive as a scan found it.
#[derive(Debug)]
pub struct Recovered {
    layout: Layout,
    drive: Uuid,
    segments: Vec<ScannedSegment>,
    /// Headers to be written again as they are.
    uneven: Vec<SegmentHeader>,
    highest: u64,
    durable: u64,
    /// Segment, offset, bytes, sequence of what is to be covered with marks.
    voids: Vec<(u32, u32, u32, u64)>,
    report: RecoveryReport,
}

impl Recovered {
    /// The headers that make every segment of a new drive free, in order: 8192 bytes each, for the segment's start.
    pub fn first_headers(layout: Layout, drive: Uuid) -> impl Iterator<Item = (u32, Vec<u8>)> {
        (0..layout.segments).map(move |segment| {
            let header = SegmentHeader { segment, used: SegmentUse::Free, generation: 0, durable: 0, drive };
            (segment, header.encode())
        })
    }

    pub(crate) fn new(
        layout: Layout,
        drive: Uuid,
        mut segments: Vec<ScannedSegment>,
        (lost_segments, uneven): (Vec<u32>, Vec<SegmentHeader>),
        highest: u64,
        durable: u64,
    ) -> Self {
        let mut report = RecoveryReport { lost_segments, ..RecoveryReport::default() };
        let mut voids = Vec::new();
        for scanned in &mut segments {
            judge(scanned, durable, &mut voids, &mut report);
        }
        Self { layout, drive, segments, uneven, highest, durable, voids, report }
    }

    /// What was found wrong; complete once the drive is started.
    #[must_use]
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// The drive, going on as its start number `starts`, which the superblock already says. The effects cover what was
    /// torn and free what is empty; they come before any other.
    #[must_use]
    pub fn start(mut self, starts: u32, effects: &mut Vec<Effect>) -> (DriveCore, RecoveryReport) {
        let last = self.highest.max(u64::from(starts) * SEQUENCES_PER_START);
        let (mut index, mut space) = (Index::default(), Space::new(self.layout));
        fill(&self.segments, &mut index, &mut space);
        let live_bytes = index.live.values().map(|entry| u64::from(entry.payload_bytes)).sum();
        self.report.chunks = index.live.len() as u64;
        let mut core = DriveCore {
            drive: self.drive,
            index,
            space,
            last,
            written: last,
            ended: BTreeSet::new(),
            durable: last,
            covered: (last + self.voids.len() as u64, self.durable),
            flushing: None,
            pending: VecDeque::new(),
            issued: HashMap::new(),
            parked: VecDeque::new(),
            cleaning: None,
            reads: HashMap::new(),
            last_read: 0,
            failed: false,
            stats: CoreStats { live_bytes, ..CoreStats::default() },
        };
        for (segment, offset, bytes, sequence) in self.voids {
            let number = core.next();
            let generation = core.space.get(segment).generation;
            let kind = RecordKind::Mark { skip_bytes: bytes - BLOCK as u32 };
            let head = Record { segment, offset, generation, sequence, durable: self.durable, kind }.encode();
            core.space.get(segment).unapplied += 1;
            core.pending.push_back((number, Pending::Mark(segment)));
            effects.push(Effect::Write { number, segment, offset, head, payload: Bytes::new() });
        }
        let (drive, durable) = (self.drive, self.durable);
        for &segment in &self.report.lost_segments {
            let generation = core.last + 1;
            rewrite(&mut core, SegmentHeader { segment, used: SegmentUse::Free, generation, durable, drive }, effects);
        }
        for header in self.uneven {
            rewrite(&mut core, header, effects);
        }
        core.settle(effects);
        core.check_invariants();
        (core, self.report)
    }
}

/// Makes both copies of a segment's header whole before the segment's next header is written: a second power failure
/// then finds at least one of them. The good copy is written over with what it has already.
fn rewrite(core: &mut DriveCore, header: SegmentHeader, effects: &mut Vec<Effect>) {
    let (number, segment) = (core.next(), header.segment);
    effects.push(Effect::Write { number, segment, offset: 0, head: header.encode(), payload: Bytes::new() });
    if header.used == SegmentUse::Free {
        core.space.free.retain(|&free| free != segment);
        core.space.get(segment).state = State::Freeing;
        core.space.freeing += 1;
        core.pending.push_back((number, Pending::Freed(segment)));
    } else {
        core.space.get(segment).unapplied += 1;
        core.pending.push_back((number, Pending::Mark(segment)));
    }
}

/// Sorts a segment's damage into torn and corrupt, and takes the torn records out.
fn judge(
    scanned: &mut ScannedSegment,
    durable: u64,
    voids: &mut Vec<(u32, u32, u32, u64)>,
    report: &mut RecoveryReport,
) {
    let segment = scanned.segment;
    let mut last = scanned.generation;
    let items = std::mem::take(&mut scanned.items);
    let mut following: Vec<u64> = items.iter().map(sequence_of).collect();
    // For a gap: the sequence of the record after it.
    for i in (1..following.len()).rev() {
        if matches!(items[i - 1], Item::Gap { .. }) {
            following[i - 1] = following[i];
        }
    }
    for (item, sequence) in items.into_iter().zip(following) {
        match item {
            Item::Record { found, intact: false } => {
                voids.push((segment, found.offset, found.bytes, found.sequence));
                report.torn_records += 1;
            }
            Item::Gap { offset, bytes } if sequence > durable => {
                voids.push((segment, offset, bytes, last + 1));
                report.torn_records += 1;
            }
            Item::Gap { offset, bytes } => report.corrupt.push(CorruptRegion { segment, offset, bytes }),
            kept @ Item::Record { .. } => scanned.items.push(kept),
        }
        last = sequence;
    }
}

fn sequence_of(item: &Item) -> u64 {
    match item {
        Item::Record { found, .. } => found.sequence,
        Item::Gap { .. } => 0,
    }
}

/// Everything there is of a key.
#[derive(Default)]
struct Traces {
    records: Vec<Entry>,
    tombstone: Option<(u32, u64)>,
}

fn fill(scanned: &[ScannedSegment], index: &mut Index, space: &mut Space) {
    let mut traces: HashMap<ChunkKey, Traces> = HashMap::new();
    for segment in scanned {
        let target = space.get(segment.segment);
        *target = Segment { state: State::Sealed, generation: segment.generation, end: segment.end, ..Segment::FREE };
        for item in &segment.items {
            if let Item::Record { found, .. } = item {
                collect(found, &mut traces, space.get(segment.segment), segment.segment);
            }
        }
    }
    for (key, Traces { mut records, tombstone }) in traces {
        records.sort_unstable_by_key(|entry| entry.sequence);
        let bound = tombstone.map_or(0, |(_, bound)| bound);
        if let Some(newest) = records.pop_if(|newest| newest.sequence >= bound) {
            let segment = space.get(newest.segment);
            segment.live += 1;
            segment.live_bytes += newest.record_bytes();
            index.live.insert(key, newest);
        }
        if !records.is_empty() {
            let dead = index.dead.entry(key).or_default();
            dead.copies = records.iter().map(|entry| entry.segment).collect();
            dead.tombstone = tombstone;
            if let Some((holder, _)) = tombstone {
                space.get(holder).tombstones += 1;
            }
        }
    }
    reopen(scanned, space);
}

fn collect(found: &Found, traces: &mut HashMap<ChunkKey, Traces>, target: &mut Segment, segment: u32) {
    match &found.what {
        What::Chunk(key, entry) => {
            target.keys.push(*key);
            traces.entry(*key).or_default().records.push(*entry);
        }
        What::Tombstones(entries) => {
            for entry in entries {
                let known = &mut traces.entry(entry.key).or_default().tombstone;
                // Equal bounds are the cleaner's copies of one tombstone; either keeps the key dead.
                if known.is_none_or(|(_, bound)| bound < entry.bound) {
                    *known = Some((segment, entry.bound));
                }
            }
        }
        What::Mark => {}
    }
}

/// Goes on with the youngest segment of each stream that has room; everything else is sealed or free.
fn reopen(scanned: &[ScannedSegment], space: &mut Space) {
    let mut youngest: HashMap<Stream, (u64, u32)> = HashMap::new();
    for segment in scanned {
        let room = space.layout.segment_bytes - segment.end;
        let least = if segment.stream == Stream::Tombstones { BLOCK as u32 } else { RECORD_MAX_BYTES };
        let best = youngest.entry(segment.stream).or_default();
        if room >= least && segment.generation > best.0 {
            *best = (segment.generation, segment.segment);
        }
    }
    for (stream, (generation, segment)) in youngest {
        if generation > 0 {
            space.get(segment).state = State::Open(stream);
            space.open[usize::from(stream.number())] = Some(segment);
        }
    }
    space.free = (0..space.layout.segments).filter(|&s| space.segments[s as usize].state == State::Free).collect();
    space.sealed = (0..space.layout.segments).filter(|&s| space.segments[s as usize].state == State::Sealed).collect();
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
