//! An ordered key-value store with atomic batches and one durable order of writes.
//!
//! Contract: batches become visible atomically and in order. A batch written [`Durability::Buffered`] may be lost in a
//! crash, but never while a later one survives: what survives is always a prefix of the batches written, and includes
//! every batch up to the last one written [`Durability::Flushed`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A store that failed. The caller must not assume that the batch was, or was not, written.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("key-value store: {reason}")]
pub struct KvError {
    /// What the store said.
    pub reason: String,
}

/// When a batch survives a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Before `write` returns.
    Flushed,
    /// With the next flushed batch at the latest.
    Buffered,
}

/// Writes that happen together, in the order they were added: a later one to the same key wins.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Key and new value; no value deletes the key.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), Some(value.into())));
    }

    /// Deletes a key; one that is not there stays away.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), None));
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The door.
pub trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Up to `limit` keys with `start <= key < end`, in order, with their values.
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError>;

    /// The last key with `start <= key < end`, with its value.
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError>;

    /// Visits every key with `start <= key < end`, in order, as of the moment of the call: what is written meanwhile is
    /// not seen. Ends early when `visit` says false.
    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError>;

    /// Writes a batch.
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError>;
}

/// Is shown a key and its value, and says whether to go on.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

impl<T: Kv + ?Sized> Kv for &T {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        (**self).get(key)
    }
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        (**self).scan(start, end, limit)
    }
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        (**self).last(start, end)
    }
    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        (**self).visit(start, end, visit)
    }
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        (**self).write(batch, durability)
    }
}

impl<T: Kv + ?Sized> Kv for Arc<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        (**self).get(key)
    }
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        (**self).scan(start, end, limit)
    }
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        (**self).last(start, end)
    }
    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        (**self).visit(start, end, visit)
    }
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        (**self).write(batch, durability)
    }
}

/// The keys of a store that begin with a prefix, as a store of their own.
#[derive(Clone, Debug)]
pub struct Prefixed<K> {
    kv: K,
    prefix: Vec<u8>,
}

impl<K: Kv> Prefixed<K> {
    /// The part of `kv` under `prefix`.
    pub fn new(kv: K, prefix: Vec<u8>) -> Self {
        Self { kv, prefix }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    fn strip(&self, (key, value): Pair) -> Pair {
        (key[self.prefix.len()..].to_vec(), value)
    }
}

impl<K: Kv> Kv for Prefixed<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(&self.key(key))
    }
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        let page = self.kv.scan(&self.key(start), &self.key(end), limit)?;
        Ok(page.into_iter().map(|pair| self.strip(pair)).collect())
    }
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        Ok(self.kv.last(&self.key(start), &self.key(end))?.map(|pair| self.strip(pair)))
    }
    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        let skip = self.prefix.len();
        self.kv.visit(&self.key(start), &self.key(end), &mut |key, value| visit(&key[skip..], value))
    }
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let writes = batch.writes.into_iter().map(|(key, value)| (self.key(&key), value)).collect();
        self.kv.write(Batch { writes }, durability)
    }
}

/// The twin of the real store: in memory, able to crash.
#[derive(Default)]
pub struct MemoryKv {
    inner: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    now: BTreeMap<Vec<u8>, Vec<u8>>,
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    pending: Vec<Batch>,
}

impl MemoryKv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Crashes: of the batches not flushed, the first `keep` survive.
    pub fn crash(&self, keep: usize) {
        let mut inner = self.lock();
        let pending = std::mem::take(&mut inner.pending);
        for batch in pending.iter().take(keep) {
            apply(&mut inner.durable, batch);
        }
        inner.now = inner.durable.clone();
    }

    /// Batches that a crash could lose.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.lock().pending.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn apply(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &Batch) {
    for (key, value) in &batch.writes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.lock().now.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let inner = self.lock();
        Ok(inner
            .now
            .range(start.to_vec()..end.to_vec())
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        if start >= end {
            return Ok(None);
        }
        let inner = self.lock();
        Ok(inner.now.range(start.to_vec()..end.to_vec()).next_back().map(|(key, value)| (key.clone(), value.clone())))
    }

    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        let all = self.scan(start, end, usize::MAX)?;
        // Whether the visitor wants to go on is its own affair.
        let _ = all.iter().all(|(key, value)| visit(key, value));
        Ok(())
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let mut inner = self.lock();
        apply(&mut inner.now, &batch);
        inner.pending.push(batch);
        if durability == Durability::Flushed {
            let pending = std::mem::take(&mut inner.pending);
            for batch in &pending {
                apply(&mut inner.durable, batch);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
