use std::collections::BTreeMap;

use forebay_env::{Durability, MemoryKv};
use proptest::prelude::*;

use super::*;
use crate::key::Slot;

fn key(n: u8) -> Vec<u8> {
    vec![b'k', n]
}

proptest! {
    #[test]
    fn a_view_reads_as_if_its_writes_were_done(
        stored in proptest::collection::vec(0u8..20, 0..20),
        written in proptest::collection::vec((0u8..20, any::<bool>()), 0..20),
        from in 0u8..20, to in 0u8..22, limit in 1usize..8,
    ) {
        let kv = MemoryKv::new();
        let mut want = BTreeMap::new();
        let mut batch = Batch::default();
        for n in stored {
            batch.put(key(n), vec![n]);
            want.insert(key(n), vec![n]);
        }
        kv.write(batch, Durability::Buffered).unwrap();
        let mut tx = Tx::new(&kv, Keys(Slot::M, ShardId(0)), 1, Timestamp::default());
        for (n, keep) in written {
            if keep {
                tx.put_raw(key(n), vec![n, n]);
                want.insert(key(n), vec![n, n]);
            } else {
                tx.delete(key(n));
                want.remove(&key(n));
            }
        }
        let range = (key(from), key(to));
        let within: Vec<Pair> =
            want.iter().filter(|(k, _)| **k >= range.0 && **k < range.1).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(tx.scan(&range, limit).unwrap(), within.iter().take(limit).cloned().collect::<Vec<_>>());
        prop_assert_eq!(tx.last(&range).unwrap(), within.last().cloned());
    }
}
