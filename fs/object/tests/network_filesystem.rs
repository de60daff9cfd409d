//! A directory as a tier on a filesystem that knows no `RENAME_NOREPLACE`, as network filesystems do not.

use bytes::Bytes;
use forebay_object::{PutMode, Tier};
use forebay_testbed::Disk;
use forebay_wire::cluster::TierCredentials;
use futures::stream::{self, StreamExt, TryStreamExt};

/// Writers of one new directory; objects of each.
const WRITERS: usize = 8;
const ROUNDS: usize = 40;

/// A directory that one write had just made was replaced by another's, and the first write ended in ENOENT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_make_the_same_directory_at_once_all_arrive() {
    let disk = Disk::mount();
    let tier = Tier::open(&format!("file://{}", disk.path().display()), "", "", &TierCredentials::default()).unwrap();
    for round in 0..ROUNDS {
        let puts = (0..WRITERS).map(|n| {
            let tier = tier.clone();
            tokio::spawn(async move {
                let data = stream::iter([Ok(Bytes::from(vec![n as u8; 100]))]);
                tier.put(&format!("d{round}/e/f{n}"), data, Some(100), PutMode::Create, None).await
            })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        let listed: Vec<_> = tier.list(&format!("d{round}"), None).boxed().try_collect().await.unwrap();
        assert_eq!(listed.len(), WRITERS, "round {round}");
    }
}
