//! A replica's state received from another replica: written beside the state in use, then put in its place.
//!
//! Nothing of it is seen until [`Staging::install`]'s batch is written; a crash before that leaves rows that the next
//! [`Staging::begin`] removes.

use forebay_env::{Batch, Durability, Kv};
use forebay_types::{LogPosition, ShardId};

use crate::error::ShardError;
use crate::key::{self, Keys, Slot};
use crate::shard::{decode_position, slot};

/// Rows removed with one batch.
const PAGE: usize = 1024;

/// A state on its way in. One at a time for a shard.
#[derive(Clone, Copy, Debug)]
pub struct Staging {
    keys: Keys,
}

impl Staging {
    /// Makes room for a state of `shard`.
    pub fn begin(kv: &dyn Kv, shard: ShardId) -> Result<Self, ShardError> {
        let keys = Keys(slot(kv, shard)?.other(), shard);
        remove(kv, keys)?;
        Ok(Self { keys })
    }

    /// Takes rows as `Shard::visit` gave them.
    pub fn receive(&self, kv: &dyn Kv, rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<(), ShardError> {
        let (prefix, _) = self.keys.everything();
        let mut batch = Batch::default();
        for (key, value) in rows {
            batch.put([prefix.as_slice(), &key].concat(), value);
        }
        Ok(kv.write(batch, Durability::Buffered)?)
    }

    /// What has been received, once it is whole: the last entry it contains and the group's members.
    pub fn received(&self, kv: &dyn Kv) -> Result<(LogPosition, Vec<u8>), ShardError> {
        let missing = |what| ShardError::Corrupt { what: "state from another replica", reason: format!("no {what}") };
        let position = kv.get(&self.keys.applied())?.ok_or_else(|| missing("position"))?;
        let members = kv.get(&self.keys.members())?.ok_or_else(|| missing("members"))?;
        Ok((decode_position(&position), members))
    }

    /// Adds to a batch what puts the received state in place of the one in use. Write it flushed, together with the
    /// change of the log; then open the shard again.
    pub fn install(&self, batch: &mut Batch) {
        batch.put(key::slot_in_use(self.keys.1), vec![self.keys.0 as u8]);
    }
}

/// Adds to a batch what makes the store forget a shard's state: opened again, the shard has none. What [`erase`] removes
/// is of no use from then on.
pub fn forget(shard: ShardId, batch: &mut Batch) {
    for slot in [Slot::M, Slot::N] {
        batch.delete(Keys(slot, shard).applied());
        batch.delete(Keys(slot, shard).members());
    }
    batch.delete(key::slot_in_use(shard));
}

/// Removes every row of a shard's state that was forgotten. Nobody may use or receive the state meanwhile.
pub fn erase(kv: &dyn Kv, shard: ShardId) -> Result<(), ShardError> {
    remove(kv, Keys(Slot::M, shard))?;
    remove(kv, Keys(Slot::N, shard))
}

fn remove(kv: &dyn Kv, keys: Keys) -> Result<(), ShardError> {
    let (start, end) = keys.everything();
    loop {
        let page = kv.scan(&start, &end, PAGE)?;
        let last = page.len() < PAGE;
        let mut batch = Batch::default();
        page.into_iter().for_each(|(key, _)| batch.delete(key));
        kv.write(batch, Durability::Buffered)?;
        if last {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
