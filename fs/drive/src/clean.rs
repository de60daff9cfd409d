//! Making free segments out of half-dead ones.
//!
//! One victim at a time: its live chunks are read and appended elsewhere under new sequence numbers, its needed tombstones are
//! written again with their old bounds. When all of that is durable the victim is empty and is freed like any other
//! segment. Victims are sealed segments with the least that has to be copied; a segment with a damaged chunk is left
//! alone, so that the chunk's other bytes stay where they can be looked at.

use std::collections::BTreeSet;

use bytes::Bytes;
use forebay_types::Epoch;

use crate::core::{DriveCore, Effect, Pending, Purpose, ReadOutcome};
use crate::index::{ChunkKey, Entry};
use crate::layout::RECORD_MAX_BYTES;
use crate::record::{BLOCK, Chunk, RecordKind, Stream, TOMBSTONES_MAX, Tombstone};
use crate::space::{Privilege, RESERVE_PUT, State};

/// Reads of the cleaner under way at once.
const MOVES_IN_FLIGHT: usize = 4;

/// What moving a segment's needed content takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CleanPlan {
    /// The segment to empty.
    pub victim: u32,
    /// Chunks alive in it, with the sequence of their records.
    pub moves: Vec<(ChunkKey, u64)>,
    /// Tombstones in it that are still needed.
    pub tombstones: Vec<Tombstone>,
    /// Bytes that are dead in it, so won.
    pub dead_bytes: u64,
}

/// A cleaning under way.
#[derive(Clone, Debug)]
pub(crate) struct Cleaning {
    pub(crate) victim: u32,
    queue: Vec<(ChunkKey, u64)>,
    in_flight: usize,
}

impl DriveCore {
    /// The segment that is cheapest to empty, where free segments are scarce and there is one worth emptying.
    #[must_use]
    pub fn plan_clean(&self) -> Option<CleanPlan> {
        if self.space.free.len() + self.space.freeing > RESERVE_PUT + 1 {
            return None;
        }
        let layout = self.space.layout;
        let worth =
            if self.parked.is_empty() { u64::from(layout.segment_bytes / 8) } else { u64::from(RECORD_MAX_BYTES) };
        let room = self.space.free.len() as u64 * layout.record_bytes().saturating_sub(u64::from(RECORD_MAX_BYTES));
        let (victim, _, dead_bytes) = (0..layout.segments)
            .map(|number| (number, &self.space.segments[number as usize]))
            .filter(|(_, segment)| segment.state == State::Sealed && segment.unapplied == 0 && !segment.immovable)
            .map(|(number, segment)| (number, segment.needed_bytes(), segment.dead_bytes()))
            .filter(|(_, needed, dead)| *needed > 0 && *needed <= room && *dead >= worth)
            .min_by_key(|(_, needed, _)| *needed)?;
        let keys: BTreeSet<ChunkKey> = self.space.segments[victim as usize].keys.iter().copied().collect();
        let live = |key: &ChunkKey| self.index.live.get(key).filter(|entry| entry.segment == victim);
        let moves = keys.iter().filter_map(|key| Some((*key, live(key)?.sequence))).collect();
        let tombstones = self.index.dead.iter().filter_map(|(key, dead)| match dead.tombstone {
            Some((segment, bound)) if segment == victim => Some(Tombstone { key: *key, bound }),
            _ => None,
        });
        let mut tombstones: Vec<Tombstone> = tombstones.collect();
        tombstones.sort_unstable_by_key(|tombstone| tombstone.key);
        Some(CleanPlan { victim, moves, tombstones, dead_bytes })
    }

    /// Starts a cleaning where one is due, and goes on with the one under way.
    pub(crate) fn clean(&mut self, effects: &mut Vec<Effect>) {
        if self.cleaning.is_none() {
            let Some(plan) = self.plan_clean() else {
                return;
            };
            if !self.rewrite_tombstones(&plan, effects) {
                return;
            }
            self.cleaning = Some(Cleaning { victim: plan.victim, queue: plan.moves, in_flight: 0 });
        }
        while let Some(cleaning) = self.cleaning.as_mut().filter(|cleaning| cleaning.in_flight < MOVES_IN_FLIGHT) {
            let Some((key, sequence)) = cleaning.queue.pop() else {
                return;
            };
            let entry = self.index.live.get(&key).copied().filter(|entry| entry.sequence == sequence);
            if let Some(entry) = entry.filter(|_| !self.issued.contains_key(&key)) {
                cleaning.in_flight += 1;
                self.read(key, &entry, Purpose::Move, effects);
            }
        }
    }

    fn rewrite_tombstones(&mut self, plan: &CleanPlan, effects: &mut Vec<Effect>) -> bool {
        for some in plan.tombstones.chunks(TOMBSTONES_MAX) {
            let Some(place) = self.space.place(Stream::Tombstones, BLOCK as u32, Privilege::Clean) else {
                return false;
            };
            let sequence = self.append(place, RecordKind::Tombstones(some.to_vec()), Bytes::new(), effects);
            self.pending.push_back((sequence, Pending::Tombstones(place.segment, some.to_vec())));
        }
        true
    }

    /// A chunk to move has been read.
    pub(crate) fn moved(
        &mut self,
        key: ChunkKey,
        from: u64,
        victim: u32,
        outcome: ReadOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(cleaning) = self.cleaning.as_mut().filter(|cleaning| cleaning.victim == victim) else {
            return;
        };
        cleaning.in_flight -= 1;
        let ReadOutcome::Good(Some((payload, crcs))) = outcome else {
            self.space.get(victim).immovable = true;
            self.cleaning = None;
            return;
        };
        // Deleted or replaced since: a copy with a later sequence would bring it back.
        if self.failed || self.issued.contains_key(&key) {
            return;
        }
        let Some(old) = self.index.live.get(&key).copied().filter(|entry| entry.sequence == from) else {
            return;
        };
        let bytes = old.record_bytes() as u32;
        let Some(place) = self.space.place(Stream::Chunks(key.0.class()), bytes, Privilege::Clean) else {
            self.cleaning = None;
            return;
        };
        let (geometry, epoch): (_, Epoch) = (old.geometry, old.epoch);
        let sequence = self.append(place, RecordKind::Chunk(Chunk { key, geometry, epoch, crcs }), payload, effects);
        let entry = Entry { segment: place.segment, offset: place.offset, sequence, ..old };
        self.pending.push_back((sequence, Pending::Moved { key, entry, from }));
    }
}
