use forebay_env::{Batch, Durability, MemoryKv};

use super::*;

fn rows(reply: &RaftReply) -> Vec<(Bytes, Bytes)> {
    match reply {
        RaftReply::Rows { rows, .. } => rows.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_ask_for_a_page_at_a_time_get_the_same_and_none_is_passed_over() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let config = forebay_meta::ShardConfig {
        shard: ShardId(0),
        shard_count: 1,
        receipt_key: forebay_meta::ReceiptKey::derive(b"test"),
    };
    let shard = forebay_meta::Shard::open(kv.clone(), config).unwrap();
    let mut batch = Batch::default();
    // Of the cluster group's state, as much as several pages.
    for n in 0..40_u32 {
        batch.put([b"m\0\0c".as_slice(), &n.to_be_bytes()].concat(), vec![n as u8; 128 << 10]);
    }
    kv.write(batch, Durability::Flushed).unwrap();
    let transfers = Arc::new(Transfers::default());
    let RaftReply::State { transfer } = transfers.open(ShardId(0), shard.export()) else { panic!("not opened") };
    let mut got = Vec::new();
    for page in 0.. {
        let ask = || {
            let transfers = transfers.clone();
            tokio::spawn(async move { transfers.page(transfer, page).await })
        };
        // One whose connection breaks is given up; the others arrive together.
        ask().abort();
        let (first, second) = (ask(), ask());
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(rows(&first), rows(&second));
        got.extend(rows(&first));
        if matches!(first, RaftReply::Rows { end: true, .. }) {
            break;
        }
    }
    let keys: Vec<u32> =
        got.iter().map(|(key, _)| u32::from_be_bytes(key[key.len() - 4..].try_into().unwrap())).collect();
    assert_eq!(keys, (0..40).collect::<Vec<_>>());
    assert!(matches!(transfers.page(transfer, 0).await, RaftReply::Refused { .. }));
}
