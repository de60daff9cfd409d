//! Rows in memory: a store that never outlives its process.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use forebay_env::{Batch, Durability, Kv, KvError, Pair, Visitor};

use crate::key::Range;

#[derive(Default, Debug)]
struct Table {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl Table {
    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let len = key.len();
        let before = match value {
            Some(value) => {
                self.bytes += len + value.len();
                self.rows.insert(key, value)
            }
            None => self.rows.remove(&key),
        };
        self.bytes -= before.map_or(0, |before| len + before.len());
    }
}

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Rows(RwLock<Table>);

impl Rows {
    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        self.table_mut().set(key, Some(value));
    }

    pub fn has(&self, key: &[u8]) -> bool {
        self.table().rows.contains_key(key)
    }

    pub fn remove(&self, key: &[u8]) {
        self.table_mut().set(key.to_vec(), None);
    }

    pub fn remove_range(&self, (start, end): &Range) {
        let mut table = self.table_mut();
        let keys: Vec<Vec<u8>> = table.rows.range(start.clone()..end.clone()).map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| table.set(key, None));
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.table().bytes
    }
}

impl Kv for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.table().rows.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        let table = self.table();
        let range = table.rows.range(start.to_vec()..end.to_vec());
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        let table = self.table();
        let mut range = table.rows.range(start.to_vec()..end.to_vec());
        Ok(range.next_back().map(|(key, value)| (key.clone(), value.clone())))
    }

    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        for (key, value) in self.scan(start, end, usize::MAX)? {
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: Batch, _: Durability) -> Result<(), KvError> {
        let mut table = self.table_mut();
        batch.writes.into_iter().for_each(|(key, value)| table.set(key, value));
        Ok(())
    }
}
