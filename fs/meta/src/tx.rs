//! One entry's view of the store: reads see the entry's own writes, and nothing is written until it is whole.

use std::collections::{BTreeMap, BTreeSet};

use forebay_env::{Batch, Kv, Pair};
use forebay_types::{FsId, InodeId, OpId, SessionId, ShardId, StripeId, Timestamp};
use forebay_wire::meta::MetaError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry::Effect;
use crate::error::{Fault, ShardError};
use crate::key::{self, Keys, Range};
use crate::record::{Counters, Inode, Usage, decode, encode};

/// A new value; none where the key is deleted.
type Written = Option<Vec<u8>>;
type Writes = BTreeMap<Vec<u8>, Written>;

/// See the module.
pub(crate) struct Tx<'a> {
    kv: &'a dyn Kv,
    pub keys: Keys,
    pub me: ShardId,
    pub shard_count: u16,
    pub now: Timestamp,
    /// Inodes that nobody has open.
    pub closed: BTreeSet<InodeId>,
    /// The number that the next inode is to have, where a client has chosen it.
    pub given: Option<InodeId>,
    /// Whether the session has the inode open for writing.
    pub held: bool,
    /// The session whose operation it is, or is part of.
    pub author: Option<SessionId>,
    /// The mutation that it is, or whose transaction is driven on.
    pub operation: Option<OpId>,
    /// Stripes whose live bytes changed.
    pub touched: BTreeSet<StripeId>,
    pub effects: Vec<Effect>,
    /// What was refused for want of budget; outlives the refusal.
    pub wanted: Option<Effect>,
    /// Inodes that were given names, also where that was undone.
    pub named: Vec<(FsId, InodeId)>,
    writes: Writes,
    /// What was to be written before, for everything that was written since: newest last.
    undo: Vec<(Vec<u8>, Option<Written>)>,
}

/// A point to go back to.
pub(crate) struct Savepoint {
    undo: usize,
    touched: BTreeSet<StripeId>,
    effects: usize,
}

impl<'a> Tx<'a> {
    pub fn new(kv: &'a dyn Kv, keys: Keys, shard_count: u16, now: Timestamp) -> Self {
        Self {
            kv,
            keys,
            me: keys.1,
            shard_count,
            now,
            closed: BTreeSet::new(),
            given: None,
            held: false,
            author: None,
            operation: None,
            touched: BTreeSet::new(),
            effects: Vec::new(),
            wanted: None,
            named: Vec::new(),
            writes: Writes::new(),
            undo: Vec::new(),
        }
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub fn into_batch(self) -> Batch {
        Batch { writes: self.writes.into_iter().collect() }
    }

    /// Inodes of which anything is going to be written: attributes, names or bytes.
    pub fn changed(&self) -> Vec<(FsId, InodeId)> {
        let of_inode = self.writes.keys().filter(|key| matches!(key.get(3), Some(b'D' | b'E' | b'I' | b'K' | b'X')));
        let mut changed: Vec<(FsId, InodeId)> = of_inode.map(|key| (key::fs_of(key), key::ino_of(key))).collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Visits every row of a range that is going to be written, with what the store has of it and what it is to have.
    pub fn changed_rows(
        &self,
        (start, end): &Range,
        mut visit: impl FnMut(&[u8], Option<&[u8]>, Option<&[u8]>) -> Result<(), ShardError>,
    ) -> Result<(), ShardError> {
        for (key, after) in self.writes.range(start.clone()..end.clone()) {
            let before = self.kv.get(key)?;
            visit(key, before.as_deref(), after.as_deref())?;
        }
        Ok(())
    }

    pub fn savepoint(&self) -> Savepoint {
        Savepoint { undo: self.undo.len(), touched: self.touched.clone(), effects: self.effects.len() }
    }

    pub fn rollback(&mut self, to: Savepoint) {
        while self.undo.len() > to.undo {
            match self.undo.pop() {
                Some((key, Some(before))) => drop(self.writes.insert(key, before)),
                Some((key, None)) => drop(self.writes.remove(&key)),
                None => {}
            }
        }
        self.touched = to.touched;
        self.effects.truncate(to.effects);
    }

    pub fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.write(key, Some(value));
    }

    fn write(&mut self, key: Vec<u8>, value: Written) {
        let before = self.writes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    pub fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.put_raw(key, encode(value));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.write(key, None);
    }

    pub fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.kv.get(key)?),
        }
    }

    pub fn get<T: DeserializeOwned>(&self, what: &'static str, key: &[u8]) -> Result<Option<T>, Fault> {
        Ok(self.get_raw(key)?.map(|bytes| decode(what, &bytes)).transpose()?)
    }

    pub fn scan(&self, (start, end): &Range, limit: usize) -> Result<Vec<Pair>, Fault> {
        if start >= end {
            return Ok(Vec::new());
        }
        let mine = self.writes.range(start.clone()..end.clone());
        // Each of our deletions can hide at most one of the store's keys.
        let hidden = mine.clone().filter(|(_, value)| value.is_none()).count();
        let stored = self.kv.scan(start, end, limit.saturating_add(hidden))?;
        if mine.clone().next().is_none() {
            return Ok(stored);
        }
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in mine {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }

    pub fn last(&self, (start, end): &Range) -> Result<Option<Pair>, Fault> {
        if start >= end {
            return Ok(None);
        }
        let mine =
            self.writes.range(start.clone()..end.clone()).rev().find_map(|(k, v)| v.clone().map(|v| (k.clone(), v)));
        let mut end = end.clone();
        while let Some(stored) = self.kv.last(start, &end)? {
            if mine.as_ref().is_some_and(|(key, _)| *key >= stored.0) {
                break;
            }
            if !self.writes.contains_key(&stored.0) {
                return Ok(Some(stored));
            }
            end = stored.0;
        }
        Ok(mine)
    }

    pub fn any(&self, range: &Range) -> Result<bool, Fault> {
        Ok(!self.scan(range, 1)?.is_empty())
    }

    /// Deletes every key of a range, a page at a time.
    pub fn delete_all(&mut self, range: &Range) -> Result<(), Fault> {
        loop {
            let page = self.scan(range, 1024)?;
            let last = page.len() < 1024;
            for (key, _) in page {
                self.delete(key);
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Refuses a request that names another shard's inode.
    pub fn local(&self, ino: InodeId) -> Result<(), Fault> {
        if ino.shard() == self.me {
            return Ok(());
        }
        Err(MetaError::NotServed { shard: ino.shard(), epoch: forebay_types::Epoch(0), leader: None }.into())
    }

    pub fn inode(&self, fs: FsId, ino: InodeId) -> Result<Option<Inode>, Fault> {
        self.get("inode", &self.keys.inode(fs, ino))
    }

    /// Writes a changed inode: its version grows.
    pub fn put_inode(&mut self, fs: FsId, inode: &mut Inode) {
        inode.attr.version += 1;
        inode.attr.acl = inode.acl.is_some() || inode.default_acl.is_some();
        self.put(self.keys.inode(fs, inode.attr.ino), inode);
    }

    pub fn counters(&self) -> Result<Counters, Fault> {
        Ok(self.get("counters", &self.keys.counters())?.unwrap_or_default())
    }

    pub fn put_counters(&mut self, counters: &Counters) {
        self.put(self.keys.counters(), counters);
    }

    pub fn usage(&self, fs: FsId) -> Result<Usage, Fault> {
        Ok(self.get("usage", &self.keys.usage(fs))?.unwrap_or_default())
    }

    pub fn add_usage(&mut self, fs: FsId, inodes: i64, bytes: i64) -> Result<(), Fault> {
        if inodes == 0 && bytes == 0 {
            return Ok(());
        }
        let mut usage = self.usage(fs)?;
        usage.inodes = usage.inodes.checked_add_signed(inodes).expect("inodes in use are counted as they come and go");
        usage.bytes = usage.bytes.checked_add_signed(bytes).expect("bytes in use are counted as they come and go");
        self.put(self.keys.usage(fs), &usage);
        Ok(())
    }
}

#[cfg(test)]
#[path = "tx_tests.rs"]
mod tests;
