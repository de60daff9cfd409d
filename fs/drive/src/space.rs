//! Segments: which are free, which are filled, how much of each is alive.

use std::collections::VecDeque;

use crate::index::ChunkKey;
use crate::layout::Layout;
use crate::record::{BLOCK, SEGMENT_HEAD_BYTES, Stream, TOMBSTONES_MAX};

/// Free segments that puts leave alone: one for tombstones and two for the cleaner, so that deleting and cleaning work
/// on a full drive.
pub(crate) const RESERVE_PUT: usize = 3;
const RESERVE_TOMBSTONES: usize = 1;

/// Who wants room, and so how deep into the reserve it may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Privilege {
    Put,
    Tombstones,
    Clean,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Free,
    /// Appended to.
    Open(Stream),
    /// Full, or not appended to any more.
    Sealed,
    /// The header that declares it free is on its way.
    Freeing,
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) state: State,
    pub(crate) generation: u64,
    /// Where the next record goes, in bytes.
    pub(crate) end: u32,
    /// Chunks alive in it.
    pub(crate) live: u32,
    /// Bytes of their records.
    pub(crate) live_bytes: u64,
    /// Tombstones in it that are still needed.
    pub(crate) tombstones: u32,
    /// Records written to it that are not durable yet.
    pub(crate) unapplied: u32,
    /// Reads under way.
    pub(crate) readers: u32,
    /// Holds something that cannot be moved.
    pub(crate) immovable: bool,
    /// The key of every durable chunk record in it, dead or alive.
    pub(crate) keys: Vec<ChunkKey>,
}

impl Segment {
    pub(crate) const FREE: Self = Self {
        state: State::Free,
        generation: 0,
        end: 0,
        live: 0,
        live_bytes: 0,
        tombstones: 0,
        unapplied: 0,
        readers: 0,
        immovable: false,
        keys: Vec::new(),
    };

    /// Nothing in it is needed and nobody looks at it.
    pub(crate) fn is_freeable(&self) -> bool {
        self.state == State::Sealed
            && self.live == 0
            && self.tombstones == 0
            && self.unapplied == 0
            && self.readers == 0
    }

    /// Bytes that moving everything needed out of it would take elsewhere.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.live_bytes + (self.tombstones as usize).div_ceil(TOMBSTONES_MAX) as u64 * BLOCK as u64
    }

    /// Bytes of records that nobody needs. What was never filled is not among them: moving wins it nowhere.
    pub(crate) fn dead_bytes(&self) -> u64 {
        u64::from(self.end).saturating_sub(SEGMENT_HEAD_BYTES as u64 + self.needed_bytes())
    }
}

/// Where a record goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// The segment was free until now: its header has to be written, for this stream.
    pub(crate) opened: Option<Stream>,
}

#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) layout: Layout,
    pub(crate) segments: Vec<Segment>,
    pub(crate) free: VecDeque<u32>,
    /// The segment each stream appends to.
    pub(crate) open: [Option<u32>; Stream::COUNT],
    /// Segments sealed by the last [`Space::place`] calls that nobody has looked at yet.
    pub(crate) sealed: Vec<u32>,
    /// Segments in state [`State::Freeing`].
    pub(crate) freeing: usize,
}

impl Space {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            segments: vec![Segment::FREE; layout.segments as usize],
            free: VecDeque::new(),
            open: [None; Stream::COUNT],
            sealed: Vec::new(),
            freeing: 0,
        }
    }

    pub(crate) fn get(&mut self, segment: u32) -> &mut Segment {
        &mut self.segments[segment as usize]
    }

    fn has_room(&self, segment: u32, bytes: u32) -> bool {
        self.layout.segment_bytes - self.segments[segment as usize].end >= bytes
    }

    /// Takes room for a record of `bytes` bytes; `None` where there is none for this privilege.
    pub(crate) fn place(&mut self, stream: Stream, bytes: u32, privilege: Privilege) -> Option<Place> {
        let own = self.open[usize::from(stream.number())];
        let (segment, opened) = match own.filter(|&s| self.has_room(s, bytes)) {
            Some(segment) => (segment, None),
            None => {
                let reserve = match privilege {
                    Privilege::Put => RESERVE_PUT,
                    Privilege::Tombstones => RESERVE_TOMBSTONES,
                    Privilege::Clean => 0,
                };
                if self.free.len() > reserve {
                    let segment = self.free.pop_front().expect("there are more than the reserve");
                    self.open_segment(stream, segment);
                    (segment, Some(stream))
                } else {
                    // Mixing streams costs a later copy; refusing would cost the caller the drive.
                    (self.open.iter().flatten().copied().find(|&s| self.has_room(s, bytes))?, None)
                }
            }
        };
        let target = self.get(segment);
        let offset = target.end;
        target.end += bytes;
        target.unapplied += 1;
        Some(Place { segment, offset, opened })
    }

    fn open_segment(&mut self, stream: Stream, segment: u32) {
        if let Some(full) = self.open[usize::from(stream.number())].replace(segment) {
            self.get(full).state = State::Sealed;
            self.sealed.push(full);
        }
        *self.get(segment) = Segment { state: State::Open(stream), end: SEGMENT_HEAD_BYTES as u32, ..Segment::FREE };
    }

    /// An open segment with room for a block, for a mark.
    pub(crate) fn place_mark(&mut self) -> Option<Place> {
        let segment = self.open.iter().flatten().copied().find(|&s| self.has_room(s, BLOCK as u32))?;
        let target = self.get(segment);
        let offset = target.end;
        target.end += BLOCK as u32;
        target.unapplied += 1;
        Some(Place { segment, offset, opened: None })
    }

    /// Bytes all records of chunks can have together.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        let usable = self.segments.len() - RESERVE_PUT - 1;
        usable as u64 * self.layout.record_bytes()
    }

    /// Bytes of records alive.
    pub(crate) fn live_record_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.live_bytes).sum()
    }
}
