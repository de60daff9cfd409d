//! From written to durable: what takes effect when a flush ends.

use crate::core::{Done, DriveCore, Effect, Issued, OpNumber, Pending, Refusal};
use crate::index::{ChunkKey, Entry};
use crate::record::Tombstone;
use crate::space::{Segment, State};

impl DriveCore {
    pub(crate) fn write_done(&mut self, number: u64, ok: bool, effects: &mut Vec<Effect>) {
        if !ok {
            return self.fail(effects);
        }
        self.ended.insert(number);
        while self.ended.remove(&(self.written + 1)) {
            self.written += 1;
        }
    }

    pub(crate) fn flush_done(&mut self, ok: bool, effects: &mut Vec<Effect>) {
        let Some(upto) = self.flushing.take() else {
            return;
        };
        if !ok || self.failed {
            return self.fail(effects);
        }
        self.durable = upto;
        self.stats.flushes += 1;
        while self.pending.front().is_some_and(|(sequence, _)| *sequence <= upto) {
            if let Some((sequence, pending)) = self.pending.pop_front() {
                self.apply(sequence, pending, effects);
            }
        }
    }

    /// After every input: seals, frees, cleans, retries and flushes what the input made possible.
    pub(crate) fn settle(&mut self, effects: &mut Vec<Effect>) {
        if self.failed {
            return;
        }
        self.retry_parked(effects);
        self.clean(effects);
        for segment in std::mem::take(&mut self.space.sealed) {
            self.free_if_empty(segment, effects);
        }
        if !self.parked.is_empty() && self.cleaning.is_none() && self.space.freeing == 0 {
            for (op, _) in std::mem::take(&mut self.parked) {
                effects.push(Effect::Done(op, Err(Refusal::NoSpace)));
            }
        }
        if self.flushing.is_none() && self.written > self.durable {
            self.flushing = Some(self.written);
            effects.push(Effect::Flush);
        }
    }

    fn retry_parked(&mut self, effects: &mut Vec<Effect>) {
        for (op, chunk) in std::mem::take(&mut self.parked) {
            if let Err(chunk) = self.append_chunk(op, chunk, effects) {
                self.parked.push_back((op, chunk));
            }
        }
    }

    fn fail(&mut self, effects: &mut Vec<Effect>) {
        self.failed = true;
        self.cleaning = None;
        let waiting = std::mem::take(&mut self.pending).into_iter().filter_map(|(_, pending)| match pending {
            Pending::Ack(op) => Some(op),
            _ => None,
        });
        let parked = std::mem::take(&mut self.parked).into_iter().map(|(op, _)| op);
        effects.extend(waiting.chain(parked).map(|op: OpNumber| Effect::Done(op, Err(Refusal::Failed))));
    }

    fn apply(&mut self, sequence: u64, pending: Pending, effects: &mut Vec<Effect>) {
        match pending {
            Pending::Opened => {}
            Pending::Ack(op) => effects.push(Effect::Done(op, Ok(Done::Durable))),
            Pending::Mark(segment) => {
                self.space.get(segment).unapplied -= 1;
                self.free_if_empty(segment, effects);
            }
            Pending::Chunk(key, entry) => {
                self.forget_issued(key, sequence);
                self.land(key, entry, effects);
            }
            Pending::Moved { key, entry, from } => {
                self.stats.cleaned_bytes += entry.record_bytes();
                if self.index.live.get(&key).is_some_and(|live| live.sequence == from) {
                    self.land(key, entry, effects);
                } else {
                    self.space.get(entry.segment).unapplied -= 1;
                    self.space.get(entry.segment).keys.push(key);
                    self.index.dead.entry(key).or_default().copies.push(entry.segment);
                    self.free_if_empty(entry.segment, effects);
                }
            }
            Pending::Tombstones(segment, entries) => self.bury(sequence, segment, entries, effects),
            Pending::Freed(segment) => self.freed(segment, effects),
        }
    }

    fn forget_issued(&mut self, key: ChunkKey, sequence: u64) {
        if self.issued.get(&key).copied().map(Issued::sequence) == Some(sequence) {
            self.issued.remove(&key);
        }
    }

    /// A chunk's record is durable: it is what the key names from now on.
    fn land(&mut self, key: ChunkKey, entry: Entry, effects: &mut Vec<Effect>) {
        let segment = self.space.get(entry.segment);
        segment.unapplied -= 1;
        segment.live += 1;
        segment.live_bytes += entry.record_bytes();
        segment.keys.push(key);
        self.stats.live_bytes += u64::from(entry.payload_bytes);
        if let Some(old) = self.index.live.insert(key, entry) {
            self.die(key, &old, effects);
        }
    }

    /// A record that was alive is not any more; it stays on the device until its segment is reused.
    fn die(&mut self, key: ChunkKey, old: &Entry, effects: &mut Vec<Effect>) {
        self.stats.live_bytes -= u64::from(old.payload_bytes);
        let segment = self.space.get(old.segment);
        segment.live -= 1;
        segment.live_bytes -= old.record_bytes();
        self.index.dead.entry(key).or_default().copies.push(old.segment);
        self.free_if_empty(old.segment, effects);
    }

    fn bury(&mut self, sequence: u64, segment: u32, entries: Vec<Tombstone>, effects: &mut Vec<Effect>) {
        for Tombstone { key, bound } in entries {
            self.forget_issued(key, sequence);
            if let Some(old) = self.index.live.get(&key).copied().filter(|old| old.sequence < bound) {
                self.index.live.remove(&key);
                self.die(key, &old, effects);
            }
            let Some(dead) = self.index.dead.get_mut(&key) else {
                continue;
            };
            match dead.tombstone {
                Some((_, newer)) if newer > bound => continue,
                Some((before, _)) => self.space.get(before).tombstones -= 1,
                None => {}
            }
            let before = dead.tombstone.replace((segment, bound));
            self.space.get(segment).tombstones += 1;
            if let Some((before, _)) = before {
                self.free_if_empty(before, effects);
            }
        }
        self.space.get(segment).unapplied -= 1;
        self.free_if_empty(segment, effects);
    }

    /// The header that declares a segment free is durable: nothing in it will ever be read again.
    fn freed(&mut self, segment: u32, effects: &mut Vec<Effect>) {
        let old = std::mem::replace(self.space.get(segment), Segment::FREE);
        assert_eq!(old.state, State::Freeing, "segment {segment} was declared free by nobody");
        self.space.freeing -= 1;
        self.space.free.push_back(segment);
        for key in old.keys {
            let Some(dead) = self.index.dead.get_mut(&key) else {
                continue;
            };
            if let Some(at) = dead.copies.iter().position(|&copy| copy == segment) {
                dead.copies.swap_remove(at);
            }
            if !dead.copies.is_empty() {
                continue;
            }
            let tombstone = self.index.dead.remove(&key).and_then(|dead| dead.tombstone);
            if let Some((holder, _)) = tombstone {
                self.space.get(holder).tombstones -= 1;
                self.free_if_empty(holder, effects);
            }
        }
        self.cleaning.take_if(|cleaning| cleaning.victim == segment);
    }

    /// Panics where the books do not agree with each other.
    pub fn check_invariants(&self) {
        let mut live = vec![(0u32, 0u64); self.space.segments.len()];
        let mut tombstones = vec![0u32; self.space.segments.len()];
        for entry in self.index.live.values() {
            let (count, bytes) = &mut live[entry.segment as usize];
            *count += 1;
            *bytes += entry.record_bytes();
        }
        for (key, dead) in &self.index.dead {
            assert!(!dead.copies.is_empty(), "{key:?} is remembered as dead and has no record");
            if let Some((segment, _)) = dead.tombstone {
                tombstones[segment as usize] += 1;
            }
        }
        for (number, segment) in self.space.segments.iter().enumerate() {
            assert_eq!((segment.live, segment.live_bytes), live[number], "live chunks of segment {number}");
            assert_eq!(segment.tombstones, tombstones[number], "tombstones of segment {number}");
            assert!(segment.end <= self.space.layout.segment_bytes, "segment {number} is overfull");
            if matches!(segment.state, State::Free | State::Freeing) {
                assert_eq!(
                    (segment.live, segment.tombstones, segment.readers),
                    (0, 0, 0),
                    "segment {number} is in use"
                );
            }
        }
        let payload: u64 = self.index.live.values().map(|entry| u64::from(entry.payload_bytes)).sum();
        assert_eq!(self.stats.live_bytes, payload, "live bytes");
        assert!(self.durable <= self.written && self.written <= self.last, "durable, written, issued in order");
        let free = self.space.segments.iter().filter(|segment| segment.state == State::Free).count();
        assert_eq!(free, self.space.free.len(), "free segments");
    }
}
