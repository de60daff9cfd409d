//! A host's store: what a crash leaves of it is what was flushed, and of the batches written since, the first few.
//!
//! That is the contract of [`forebay_env::kv`], and what a write-ahead log does whose end is torn: a batch is there as a
//! whole or not at all, and none is there without those before it.

use std::sync::Arc;

use forebay_env::{Batch, Durability, Kv, KvError, MemoryKv, Pair, Visitor};

use crate::dice::Dice;

/// Shared by the cores of a host.
pub(crate) type Store = Arc<Disk>;

/// See the module.
pub(crate) struct Disk {
    kv: MemoryKv,
    /// Says that it has flushed when it has not.
    lies: bool,
}

impl Disk {
    pub fn new(lies: bool) -> Store {
        Arc::new(Self { kv: MemoryKv::new(), lies })
    }

    /// Power fails.
    pub fn crash(&self, dice: &mut Dice) {
        let keep = dice.below(self.kv.unflushed() as u64 + 1);
        self.kv.crash(keep as usize);
    }

    /// Makes durable what has been written.
    pub fn flush(&self) -> Result<(), KvError> {
        self.write(Batch::default(), Durability::Flushed)
    }
}

impl Kv for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(key)
    }
    fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        self.kv.scan(start, end, limit)
    }
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Pair>, KvError> {
        self.kv.last(start, end)
    }
    fn visit(&self, start: &[u8], end: &[u8], visit: &mut Visitor<'_>) -> Result<(), KvError> {
        self.kv.visit(start, end, visit)
    }
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        self.kv.write(batch, if self.lies { Durability::Buffered } else { durability })
    }
}
