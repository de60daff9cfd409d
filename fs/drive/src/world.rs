//! A device made of memory, with a cache that power failure takes away, and the books of what was promised.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_erasure::crc;
use forebay_types::{Epoch, Geometry, LifetimeClass, PgId, ShardId, StripeId, Uuid};

use crate::record::{BLOCK, Record, RecordKind};
use crate::{
    ChunkKey, ChunkPut, DriveCore, Effect, Input, Layout, Need, OpNumber, Purpose, ReadOutcome, Recovered,
    RecoveryReport, Refusal, Scan,
};

pub(crate) const DRIVE: Uuid = Uuid([0xd1; 16]);

pub(crate) fn layout() -> Layout {
    Layout::new(17 << 20, 1 << 20).unwrap()
}

pub(crate) fn key(n: u64) -> ChunkKey {
    let class = LifetimeClass::from_u8((n % 3) as u8).unwrap();
    (StripeId::new(PgId(1), ShardId(0), class, 1 + n / 6), (n % 6) as u8)
}

/// The content `version` of a key: `blocks` blocks.
pub(crate) fn content(key: ChunkKey, version: u8, blocks: usize) -> Bytes {
    let mut bytes = vec![version; blocks * BLOCK];
    for (i, block) in bytes.chunks_mut(BLOCK).enumerate() {
        block[..16].copy_from_slice(&key.0.to_bytes());
        block[16] = key.1;
        block[17] = i as u8;
    }
    bytes.into()
}

pub(crate) fn put(key: ChunkKey, version: u8, blocks: usize) -> ChunkPut {
    let payload = content(key, version, blocks);
    let crcs = crc::block_crcs(&payload);
    ChunkPut { key, geometry: Geometry { data: 4, parity: 2 }, epoch: Epoch(1), payload, crcs }
}

/// What an operation makes of a key: its content, or nothing.
type Made = Option<Bytes>;

struct Write {
    number: u64,
    at: usize,
    bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) core: DriveCore,
    /// What survives power failure.
    medium: Vec<u8>,
    /// Ended and not flushed.
    cached: Vec<Write>,
    /// Not ended.
    flying: Vec<Write>,
    flush: Option<usize>,
    reads: Vec<Effect>,
    next_op: OpNumber,
    open_ops: BTreeMap<OpNumber, Vec<(ChunkKey, Made)>>,
    /// The last acknowledged state of each key.
    acked: BTreeMap<ChunkKey, Made>,
    pub(crate) refused: Vec<(OpNumber, Refusal)>,
    pub(crate) report: RecoveryReport,
    starts: u32,
}

fn at(segment: u32, offset: u32) -> usize {
    segment as usize * layout().segment_bytes as usize + offset as usize
}

impl World {
    pub(crate) fn new() -> Self {
        let mut medium = vec![0u8; layout().segments as usize * layout().segment_bytes as usize];
        for (segment, head) in Recovered::first_headers(layout(), DRIVE) {
            medium[at(segment, 0)..][..head.len()].copy_from_slice(&head);
        }
        Self::on(medium, BTreeMap::new(), 1)
    }

    fn on(medium: Vec<u8>, acked: BTreeMap<ChunkKey, Made>, starts: u32) -> Self {
        let mut scan = Scan::new(layout(), DRIVE);
        while let Need::Read { segment, offset, bytes } = scan.need() {
            let from = at(segment, offset);
            scan.feed(Some(&medium[from..from + bytes as usize]));
        }
        let mut effects = Vec::new();
        let (core, report) = scan.finish().start(starts, &mut effects);
        let (cached, flying, reads, open_ops, refused) = Default::default();
        let mut world = Self {
            core,
            medium,
            cached,
            flying,
            flush: None,
            reads,
            next_op: 0,
            open_ops,
            acked,
            refused,
            report,
            starts,
        };
        world.absorb(effects);
        world
    }

    pub(crate) fn medium(&mut self) -> &mut Vec<u8> {
        &mut self.medium
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.step(input, &mut effects);
        self.absorb(effects);
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write { number, segment, offset, head, payload } => {
                    let at = at(segment, offset);
                    self.flying.push(Write { number, at, bytes: [head, payload.to_vec()].concat() });
                }
                Effect::Flush => {
                    assert!(self.flush.is_none(), "one flush at a time");
                    self.flush = Some(self.cached.len());
                }
                read @ Effect::Read { .. } => self.reads.push(read),
                Effect::Done(op, result) => {
                    let made = self.open_ops.remove(&op).expect("every operation ends once");
                    match result {
                        Ok(_) => self.acked.extend(made),
                        Err(refusal) => self.refused.push((op, refusal)),
                    }
                }
            }
        }
    }

    fn begin(&mut self, made: Vec<(ChunkKey, Made)>) -> OpNumber {
        self.next_op += 1;
        self.open_ops.insert(self.next_op, made);
        self.next_op
    }

    pub(crate) fn put(&mut self, chunk: ChunkPut) -> OpNumber {
        let op = self.begin(vec![(chunk.key, Some(chunk.payload.clone()))]);
        self.step(Input::Put(op, chunk));
        op
    }

    pub(crate) fn delete(&mut self, keys: Vec<ChunkKey>) -> OpNumber {
        let op = self.begin(keys.iter().map(|key| (*key, None)).collect());
        self.step(Input::Delete(op, keys));
        op
    }

    /// The bytes of a chunk as a reader gets them now; `None` where the drive says it has none.
    pub(crate) fn get(&mut self, key: ChunkKey) -> Option<Result<Bytes, ()>> {
        let op = self.begin(Vec::new());
        let before = self.reads.len();
        self.step(Input::Get(op, key));
        if self.reads.len() == before {
            self.refused.retain(|(refused, _)| *refused != op);
            return None;
        }
        self.open_ops.remove(&op);
        let effect = self.reads.pop()?;
        Some(self.perform(effect))
    }

    fn visible(&self, from: usize, bytes: usize) -> Vec<u8> {
        let mut out = self.medium[from..from + bytes].to_vec();
        for write in &self.cached {
            let (start, end) = (from.max(write.at), (from + bytes).min(write.at + write.bytes.len()));
            if start < end {
                out[start - from..end - from].copy_from_slice(&write.bytes[start - write.at..end - write.at]);
            }
        }
        out
    }

    fn perform(&mut self, effect: Effect) -> Result<Bytes, ()> {
        let Effect::Read { read, purpose, key, sequence, segment, offset, info } = effect else {
            panic!("only reads are performed");
        };
        let bytes = self.visible(at(segment, offset), BLOCK + info.chunk_bytes as usize);
        let found = Record::decode(&bytes[..BLOCK]).ok().filter(|record| record.sequence == sequence);
        let payload = Bytes::from(bytes).slice(BLOCK..);
        let good = match found.map(|record| record.kind) {
            Some(RecordKind::Chunk(chunk)) if chunk.key == key && crc::verify(&payload, &chunk.crcs).is_ok() => {
                Some(chunk.crcs)
            }
            _ => None,
        };
        let outcome = match &good {
            None => ReadOutcome::Corrupt,
            Some(crcs) => ReadOutcome::Good((purpose == Purpose::Move).then(|| (payload.clone(), crcs.clone()))),
        };
        self.step(Input::ReadDone { read, outcome });
        good.map(|_| payload).ok_or(())
    }

    /// Ends one thing under way; false where there is nothing.
    pub(crate) fn advance(&mut self, pick: usize) -> bool {
        let choices = self.flying.len() + self.reads.len() + usize::from(self.flush.is_some());
        if choices == 0 {
            return false;
        }
        let pick = pick % choices;
        if pick < self.flying.len() {
            let write = self.flying.remove(pick);
            let number = write.number;
            self.cached.push(write);
            self.step(Input::WriteDone { number, ok: true });
        } else if pick - self.flying.len() < self.reads.len() {
            let effect = self.reads.remove(pick - self.flying.len());
            let _ = self.perform(effect);
        } else if let Some(count) = self.flush.take() {
            for write in self.cached.drain(..count) {
                self.medium[write.at..][..write.bytes.len()].copy_from_slice(&write.bytes);
            }
            self.step(Input::FlushDone { ok: true });
        }
        true
    }

    pub(crate) fn drain(&mut self) {
        while self.advance(0) {}
        assert!(self.open_ops.is_empty(), "operations that never end: {:?}", self.open_ops.keys());
        self.core.check_invariants();
    }

    pub(crate) fn shut_down(&mut self) {
        let op = self.begin(Vec::new());
        self.step(Input::Shutdown(op));
        self.drain();
    }

    /// Power fails: of what was not flushed, any part of any write may be on the medium. Then the drive starts again.
    pub(crate) fn crash(mut self, seed: u64) -> Self {
        let mut state = seed | 1;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for write in self.cached.drain(..).chain(self.flying.drain(..)) {
            let keep = match random(4) {
                0 => 0,
                1 => random(write.bytes.len() as u64 / 512 + 1) as usize * 512,
                _ => write.bytes.len(),
            };
            self.medium[write.at..][..keep].copy_from_slice(&write.bytes[..keep]);
        }
        let mut allowed: BTreeMap<ChunkKey, Vec<Made>> = BTreeMap::new();
        for (key, made) in self.open_ops.into_values().flatten() {
            allowed.entry(key).or_default().push(made);
        }
        let mut next = Self::on(self.medium, self.acked.clone(), self.starts + 1);
        assert_eq!((&next.report.corrupt, &next.report.lost_segments.len()), (&Vec::new(), &0), "a crash is no damage");
        for (key, unsure) in allowed {
            let now = next.get(key).map(|read| read.expect("what recovery keeps is whole"));
            let sure = self.acked.get(&key).cloned().flatten();
            assert!(now == sure || unsure.contains(&now), "{key:?} is neither what it was nor what it was to be");
            next.acked.insert(key, now);
        }
        next.check();
        next
    }

    /// Every key is what was last acknowledged, or what an operation under way makes of it.
    pub(crate) fn check(&mut self) {
        let unsure: Vec<(ChunkKey, Made)> = self.open_ops.values().flatten().cloned().collect();
        for (key, sure) in self.acked.clone() {
            let now = self.get(key).map(|read| read.expect("an undamaged chunk is read whole"));
            assert!(now == sure || unsure.contains(&(key, now)), "{key:?} is not what was acknowledged");
        }
        let alive = self.acked.values().flatten().count();
        if unsure.is_empty() {
            assert_eq!(self.core.stats().chunks, alive as u64, "chunks nobody stored, or lost ones");
            let bytes: usize = self.acked.values().flatten().map(Bytes::len).sum();
            assert_eq!(self.core.stats().live_bytes, bytes as u64);
        }
    }
}
