use forebay_client::{ClientOptions, Cluster};
use forebay_net::{ClusterKey, Role};

use super::*;

fn stores() -> Arc<Stores> {
    let options = ClientOptions { timeout: Duration::from_secs(2), ..ClientOptions::default() };
    let key = ClusterKey::generate().unwrap();
    // Nothing listens on the discard port: the tier cannot be had for as long as the timeout.
    let cluster = Cluster::new(vec!["127.0.0.1:9".into()], key, Role::Host, "h", options);
    Arc::new(Stores::new(cluster, "h".into()))
}

fn source(prefix: &str) -> Source {
    Source { tier: TierId(1), prefix: prefix.into(), user: None, write: false }
}

#[tokio::test]
async fn who_asks_again_joins_the_listing_and_gets_its_answer_once() {
    let (probes, stores) = (Probes::default(), stores());
    let first = probes.probe_within(Duration::from_millis(1), &stores, source("a")).await.unwrap();
    assert!(matches!(first, TierReply::Progress(Progress { state: TaskState::Running, .. })), "{first:?}");
    probes.probe_within(Duration::from_millis(1), &stores, source("a")).await.unwrap();
    assert_eq!(lock(&probes.looks).len(), 1, "one listing for both");
    let answer = probes.probe_within(Duration::from_secs(30), &stores, source("a")).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(lock(&probes.looks).is_empty(), "the next who asks gets the source as it is then");
}

#[tokio::test]
async fn listings_have_a_limit_and_forgotten_ones_make_room() {
    let (probes, stores) = (Probes::default(), stores());
    for n in 0..LISTINGS_MAX {
        probes.probe_within(Duration::ZERO, &stores, source(&n.to_string())).await.unwrap();
    }
    let refused = probes.probe_within(Duration::ZERO, &stores, source("one more")).await;
    assert!(matches!(refused, Err(TierError::TooManyTasks { limit: 64 })), "{refused:?}");
    *lock(&lock(&probes.looks)[0].asked) = Instant::now().checked_sub(ASKED_WITHIN).unwrap();
    probes.probe_within(Duration::ZERO, &stores, source("one more")).await.unwrap();
    probes.shutdown().await;
}
