//! Whatever rows are lost or altered, repairs do not panic and come to an end.

use forebay_types::{Cred, InodeId, ShardId};
use proptest::prelude::*;

use super::{assert_clean, listing, tree};

/// Tables that are examined.
const TABLES: &[u8] = b"CDEFGIKMNOSUV";

fn damage(world: &mut crate::tests::world::World) {
    let shard = ShardId(world.dice.roll(4) as u16);
    let table = TABLES[world.dice.roll(TABLES.len() as u64) as usize];
    let all = world.rows(shard).all(table);
    if all.is_empty() {
        return;
    }
    let any = |world: &mut crate::tests::world::World| world.dice.roll(all.len() as u64) as usize;
    let (place, other, how) = (any(world), any(world), world.dice.roll(4));
    let key = all[place].0.clone();
    let mut rows = world.rows(shard);
    match how {
        0 | 1 => rows.delete(key),
        2 => rows.put_raw(key, &all[other].1),
        _ => {
            let mut bytes = all[place].1.clone();
            let at = other % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (place % 8);
            }
            rows.put_raw(key, &bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_repaired(seed: u64, count in 1_usize..12) {
        let mut tree = tree();
        let world = &mut tree.world;
        world.dice.0 = seed;
        for _ in 0..count {
            damage(world);
        }
        let first = world.fsck(true);
        if first.findings.iter().any(|(_, repaired)| !repaired) {
            let second = world.fsck(true);
            prop_assert!(second.findings.iter().all(|(_, repaired)| *repaired), "left: {:?}", second.findings);
        }
        assert_clean(world);
        // And it can be used.
        listing(world);
        world.create(&Cred::ROOT, InodeId::ROOT, "new", 0o644);
        world.settle();
        assert_clean(world);
    }
}
