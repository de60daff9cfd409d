//! Reading: a segment is not reused while a read of it is under way, and damage that a read finds is remembered.

use crate::core::{ChunkInfo, DriveCore, Effect, OpNumber, Purpose, ReadNumber, ReadOutcome, Refusal};
use crate::index::{ChunkKey, Entry};

impl DriveCore {
    pub(crate) fn get(&mut self, op: OpNumber, key: ChunkKey, effects: &mut Vec<Effect>) {
        match self.index.live.get(&key).copied() {
            None => effects.push(Effect::Done(op, Err(Refusal::NotFound))),
            Some(entry) => self.read(key, &entry, Purpose::Get(op), effects),
        }
    }

    pub(crate) fn read(&mut self, key: ChunkKey, entry: &Entry, purpose: Purpose, effects: &mut Vec<Effect>) {
        self.last_read += 1;
        let (read, Entry { sequence, segment, offset, .. }) = (self.last_read, *entry);
        self.reads.insert(read, (key, sequence, segment, purpose));
        self.space.get(segment).readers += 1;
        effects.push(Effect::Read { read, purpose, key, sequence, segment, offset, info: info(entry) });
    }

    pub(crate) fn read_done(&mut self, read: ReadNumber, outcome: ReadOutcome, effects: &mut Vec<Effect>) {
        let Some((key, sequence, segment, purpose)) = self.reads.remove(&read) else {
            return;
        };
        self.space.get(segment).readers -= 1;
        if let (ReadOutcome::Corrupt, Some(entry)) = (&outcome, self.index.live.get_mut(&key))
            && entry.sequence == sequence
            && !std::mem::replace(&mut entry.corrupt, true)
        {
            self.stats.corrupt_chunks += 1;
            self.space.get(segment).immovable = true;
        }
        if purpose == Purpose::Move {
            self.moved(key, sequence, segment, outcome, effects);
        }
        self.free_if_empty(segment, effects);
    }
}

pub(crate) fn info(entry: &Entry) -> ChunkInfo {
    ChunkInfo { geometry: entry.geometry, epoch: entry.epoch, chunk_bytes: entry.payload_bytes }
}
