use forebay_env::{Durability, Kv, MemoryKv};
use forebay_types::Epoch;

use super::*;

fn reply(n: u64) -> ClusterReply {
    ClusterReply::Done { epoch: Epoch(n) }
}

fn id(n: u64) -> Uuid {
    Uuid(u128::from(n).to_be_bytes())
}

fn load(kv: &MemoryKv) -> Answers {
    let end = [PREFIX, &[0xff; 9]].concat();
    Answers::load(kv.scan(PREFIX, &end, usize::MAX).unwrap())
}

#[test]
fn the_newest_answers_are_there_also_after_a_restart_and_the_store_does_not_grow() {
    let kv = MemoryKv::new();
    let mut answers = Answers::default();
    for n in 0..3 * KEPT as u64 {
        let mut stores = Batch::default();
        answers.keep(id(n), &reply(n), &mut stores);
        kv.write(stores, Durability::Flushed).unwrap();
        if n % 100 == 0 {
            answers = load(&kv);
        }
    }
    for answers in [answers, load(&kv)] {
        let newest = 2 * KEPT as u64;
        assert!((newest..newest + KEPT as u64).all(|n| answers.get(id(n)) == Some(&reply(n))));
        assert!((0..newest).all(|n| answers.get(id(n)).is_none()));
    }
    assert_eq!(kv.scan(b"", &[0xff], usize::MAX).unwrap().len(), KEPT);
}
