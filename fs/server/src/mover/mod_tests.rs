use forebay_client::ClientOptions;
use forebay_net::{ClusterKey, Role};
use forebay_types::{FsId, InodeId, Uuid};

use super::*;

const ID: TaskId = Uuid([1; 16]);

/// A mover of a cluster none of whose hosts is there.
fn lonely() -> Arc<Mover> {
    let options = ClientOptions { timeout: Duration::from_millis(30), ..ClientOptions::default() };
    let key = ClusterKey::generate().unwrap();
    // Nothing listens on the discard port.
    Mover::new(Cluster::new(vec!["127.0.0.1:9".into()], key, Role::Host, "h", options), "h".into())
}

fn start(root: u64) -> TierRequest {
    let spec = TaskSpec::Recall { fs: FsId(1), root: InodeId(root), range: None };
    TierRequest::Start { task: ID, spec: Box::new(spec) }
}

async fn until(mover: &Mover, wanted: impl Fn(&TaskState) -> bool) -> Progress {
    let waiting = async {
        let mut version = 0;
        loop {
            let reply = mover.handle(TierRequest::Poll { task: ID, wait_ms: 1000, version }).await;
            let TierReply::Progress(progress) = reply else { panic!("{reply:?}") };
            if wanted(&progress.state) {
                return progress;
            }
            version = progress.version;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("the state is reached")
}

#[tokio::test]
async fn a_task_without_its_cluster_tries_again_until_it_is_stopped() {
    let mover = lonely();
    assert_eq!(mover.handle(TierRequest::Cancel { task: ID }).await, TierReply::Error(TierError::NoTask));
    assert!(matches!(mover.handle(start(1024)).await, TierReply::Progress(_)));
    until(&mover, |state| matches!(state, TaskState::Retrying(error) if error.is_transient())).await;
    assert!(matches!(mover.handle(start(1024)).await, TierReply::Progress(_)), "it is joined");
    assert!(matches!(mover.handle(start(2048)).await, TierReply::Error(TierError::Invalid { .. })));
    mover.handle(TierRequest::Cancel { task: ID }).await;
    let stopped = until(&mover, |state| *state == TaskState::Cancelled).await;
    let TierReply::Progress(again) = mover.handle(start(1024)).await else { panic!("not started again") };
    assert!(again.version > stopped.version && again.state == TaskState::Running);
    mover.shutdown().await;
    until(&mover, |state| matches!(state, TaskState::Failed(_))).await;
}

#[tokio::test]
async fn a_poll_without_news_is_answered_all_the_same() {
    let mover = lonely();
    let TierReply::Progress(first) = mover.handle(start(1024)).await else { panic!("not started") };
    mover.shutdown().await;
    let ended = until(&mover, |state| matches!(state, TaskState::Failed(_))).await;
    let reply = mover.handle(TierRequest::Poll { task: ID, wait_ms: 1, version: ended.version }).await;
    assert!(ended.version > first.version);
    assert_eq!(reply, TierReply::Progress(ended));
}
