//! A group's log and votes in the store.
//!
//! All replicas of a host share one store. Every key begins `r` (0x72), the shard (2 bytes), and a table letter; numbers
//! are big-endian.
//!
//! | table | rest of the key | value |
//! |---|---|---|
//! | `F` | | where a log that was erased ended at the latest (8 bytes) |
//! | `H` | | term, vote and commit index (8 + 8 + 8 bytes) |
//! | `L` | index 8 | version (1), then the entry in postcard |
//! | `T` | | index and term of the last entry cut off (8 + 8 bytes) |
//!
//! The newest entries are also kept in memory, where followers that keep up find them.

use std::collections::VecDeque;

use forebay_env::{Batch, Kv, KvError};
use forebay_types::{LogPosition, ShardId};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

use crate::codec;

/// Version of the encoding of an entry.
const VERSION: u8 = 1;
/// Entries and bytes of them kept in memory.
const CACHED_ENTRIES: usize = 1024;
const CACHED_BYTES: usize = 4 << 20;
/// Most entries [`Log::truncate`] removes at once.
const TRUNCATE_MAX: u64 = 4096;

/// A group that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The store.
    #[error(transparent)]
    Store(#[from] KvError),
    /// The store holds what no version of ours wrote.
    #[error("{what} of {shard} cannot be read: {reason}")]
    Corrupt {
        /// Kind of record.
        what: &'static str,
        /// The group.
        shard: ShardId,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refuses to go on.
    #[error("consensus on {shard} cannot go on: {reason}")]
    Raft {
        /// The group.
        shard: ShardId,
        /// What the library said.
        reason: String,
    },
}

#[derive(Clone, Copy)]
struct Keys(ShardId);

impl Keys {
    fn table(self, table: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = vec![b'r'];
        key.extend_from_slice(&self.0.0.to_be_bytes());
        key.push(table);
        key.extend_from_slice(rest);
        key
    }
    fn promises(self) -> Vec<u8> {
        self.table(b'H', &[])
    }
    fn floor(self) -> Vec<u8> {
        self.table(b'F', &[])
    }
    fn cut(self) -> Vec<u8> {
        self.table(b'T', &[])
    }
    fn entry(self, index: u64) -> Vec<u8> {
        self.table(b'L', &index.to_be_bytes())
    }
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut out = [0; N];
    if bytes.len() != N * 8 {
        return None;
    }
    for (n, chunk) in bytes.chunks_exact(8).enumerate() {
        out[n] = u64::from_be_bytes(chunk.try_into().ok()?);
    }
    Some(out)
}

fn bytes_of(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&forebay_wire::encode(&codec::entry_out(entry)));
    bytes
}

/// The log of one group, as the library asks for it.
pub(crate) struct Log<K> {
    kv: K,
    keys: Keys,
    promises: HardState,
    cut: LogPosition,
    last: u64,
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    floor: u64,
    /// What the shard has applied, and the members as of then: what a replica is sent that is too far behind.
    pub applied: LogPosition,
    pub members: ConfState,
}

impl<K: Kv> Log<K> {
    /// Writes of a group that begins at `first`; on every replica the same.
    pub fn first_batch(shard: ShardId, first: LogPosition) -> Batch {
        let keys = Keys(shard);
        let mut batch = Batch::default();
        batch.put(keys.promises(), bytes_of(&[first.term, 0, first.index]));
        batch.put(keys.cut(), bytes_of(&[first.index, first.term]));
        batch
    }

    /// Whether a store has a log of this group.
    pub fn exists(kv: &K, shard: ShardId) -> Result<bool, KvError> {
        Ok(kv.get(&Keys(shard).cut())?.is_some())
    }

    /// Adds to a batch what removes the log from the store. What stays: the term, now `term` at least, and `floor`, the
    /// index that a new log has to reach before it counts.
    pub fn forget(&self, batch: &mut Batch, term: u64, floor: u64) -> Result<(), KvError> {
        let keys = self.keys;
        self.kv.visit(&keys.table(0, &[]), &keys.table(0xff, &[]), &mut |key, _| {
            batch.delete(key);
            true
        })?;
        let vote = if self.promises.term >= term { self.promises.vote } else { 0 };
        batch.put(keys.promises(), bytes_of(&[self.promises.term.max(term), vote, 0]));
        batch.put(keys.floor(), bytes_of(&[self.floor.max(floor)]));
        Ok(())
    }

    /// Whether the log has everything that an earlier one, which was erased, may have had.
    pub fn is_whole(&self) -> bool {
        self.last >= self.floor
    }

    pub fn open(kv: K, shard: ShardId, applied: LogPosition, members: ConfState) -> Result<Self, ConsensusError> {
        let keys = Keys(shard);
        let corrupt = |what| ConsensusError::Corrupt { what, shard, reason: "it has the wrong length".into() };
        let [term, vote, commit] = match kv.get(&keys.promises())? {
            Some(bytes) => numbers(&bytes).ok_or_else(|| corrupt("vote"))?,
            None => [0; 3],
        };
        let [index, cut_term] = match kv.get(&keys.cut())? {
            Some(bytes) => numbers(&bytes).ok_or_else(|| corrupt("log's beginning"))?,
            None => [0; 2],
        };
        let cut = LogPosition { index, term: cut_term };
        let [floor] = match kv.get(&keys.floor())? {
            Some(bytes) => numbers(&bytes).ok_or_else(|| corrupt("floor"))?,
            None => [0],
        };
        let found = kv.last(&keys.table(b'L', &[]), &keys.table(b'M', &[]))?;
        let last = found.and_then(|(key, _)| numbers::<1>(&key[4..])).map_or(index, |[last]| last.max(index));
        // What is applied was committed, whether or not the store was told so before it stopped.
        let promises = HardState { term, vote, commit: commit.max(applied.index) };
        Ok(Self { kv, keys, promises, cut, last, recent: VecDeque::new(), recent_bytes: 0, floor, applied, members })
    }

    pub fn shard(&self) -> ShardId {
        self.keys.0
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    pub fn first(&self) -> u64 {
        self.cut.index + 1
    }

    /// Adds entries, in place of any that were at their indices and after.
    pub fn append(&mut self, batch: &mut Batch, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        for index in last.index + 1..=self.last {
            batch.delete(self.keys.entry(index));
        }
        while self.recent.back().is_some_and(|entry| entry.index >= first.index) {
            self.recent_bytes -= self.recent.pop_back().map_or(0, |entry| entry.data.len());
        }
        for entry in entries {
            batch.put(self.keys.entry(entry.index), encode(entry));
            self.recent_bytes += entry.data.len();
            self.recent.push_back(entry.clone());
        }
        while self.recent.len() > CACHED_ENTRIES || self.recent_bytes > CACHED_BYTES && self.recent.len() > 1 {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |entry| entry.data.len());
        }
        self.last = last.index;
    }

    pub fn promise(&mut self, batch: &mut Batch, promises: &HardState) {
        self.promises = promises.clone();
        batch.put(self.keys.promises(), bytes_of(&[promises.term, promises.vote, promises.commit]));
    }

    /// The state was replaced by one that contains everything up to `at`: the log begins anew after it.
    pub fn begin_at(&mut self, batch: &mut Batch, at: LogPosition, members: ConfState) {
        for index in self.first()..=self.last {
            batch.delete(self.keys.entry(index));
        }
        self.recent.clear();
        self.recent_bytes = 0;
        (self.cut, self.last, self.applied, self.members) = (at, at.index, at, members);
        batch.put(self.keys.cut(), bytes_of(&[at.index, at.term]));
    }

    /// Cuts off entries up to `upto`, as far as they are applied, and at most 4096 of them.
    pub fn truncate(&mut self, batch: &mut Batch, upto: u64) -> Result<(), ConsensusError> {
        let first = self.first();
        let end = upto.min(self.applied.index).min(first + TRUNCATE_MAX - 1);
        if end < first {
            return Ok(());
        }
        let term = self.term_of(end)?.ok_or_else(|| self.missing(end))?;
        (first..=end).for_each(|index| batch.delete(self.keys.entry(index)));
        while self.recent.front().is_some_and(|entry| entry.index <= end) {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |entry| entry.data.len());
        }
        self.cut = LogPosition { index: end, term };
        batch.put(self.keys.cut(), bytes_of(&[end, term]));
        Ok(())
    }

    fn missing(&self, index: u64) -> ConsensusError {
        let reason = format!("entry {index} is missing");
        ConsensusError::Corrupt { what: "log", shard: self.keys.0, reason }
    }

    fn term_of(&self, index: u64) -> Result<Option<u64>, ConsensusError> {
        if index == self.cut.index {
            return Ok(Some(self.cut.term));
        }
        if index < self.cut.index || index > self.last {
            return Ok(None);
        }
        Ok(Some(self.read(index, index + 1, 1)?.first().ok_or_else(|| self.missing(index))?.term))
    }

    fn read(&self, low: u64, high: u64, limit: usize) -> Result<Vec<Entry>, ConsensusError> {
        if let Some(first) = self.recent.front().map(|entry| entry.index).filter(|first| *first <= low) {
            let range = (low - first) as usize..((high - first) as usize).min(self.recent.len());
            return Ok(self.recent.range(range).take(limit).cloned().collect());
        }
        let rows = self.kv.scan(&self.keys.entry(low), &self.keys.entry(high), limit)?;
        let shard = self.keys.0;
        let corrupt = |reason: String| ConsensusError::Corrupt { what: "log entry", shard, reason };
        let mut entries = Vec::with_capacity(rows.len());
        for (index, (_, bytes)) in (low..).zip(rows) {
            let body = match bytes.split_first() {
                Some((&VERSION, body)) => body,
                Some((version, _)) => return Err(corrupt(format!("it has version {version}"))),
                None => return Err(corrupt("it is empty".into())),
            };
            let entry = codec::entry_in(forebay_wire::decode(body).map_err(|e| corrupt(e.to_string()))?);
            if entry.index != index {
                return Err(self.missing(index));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

fn failed(error: ConsensusError) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(error)))
}

impl<K: Kv> raft::Storage for Log<K> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.promises.clone(), conf_state: self.members.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.cut.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let (mut entries, mut bytes, mut low) = (Vec::new(), 0_u64, low);
        while low < high {
            let page = self.read(low, high, 256).map_err(failed)?;
            if page.is_empty() {
                return Err(failed(self.missing(low)));
            }
            for entry in page {
                bytes += entry.data.len() as u64;
                if bytes > max_bytes && !entries.is_empty() {
                    return Ok(entries);
                }
                low = entry.index + 1;
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(index).map_err(failed)? {
            Some(term) => Ok(term),
            None if index < self.cut.index => Err(raft::Error::Store(StorageError::Compacted)),
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// The state itself is fetched by whoever needs it; this says only what it will contain at least.
    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        if self.applied.index < request_index {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(codec::snapshot(self.applied, &self.members))
    }
}
