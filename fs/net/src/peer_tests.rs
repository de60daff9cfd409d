use tokio::net::TcpListener;

use super::*;
use crate::handshake::{self, Endpoint, Role};
use crate::key::ClusterKey;

fn peer(address: &str, lanes: usize) -> Peer {
    Connector::new(ClusterKey::from_bytes([1; 32]), Role::Client, "node1").peer(address, lanes)
}

fn failed(since: Instant) -> State {
    State::Failed { since, error: NetError::NotSent { peer: "p".into(), reason: "refused a moment ago".into() } }
}

#[tokio::test]
async fn after_a_failed_attempt_calls_fail_for_a_while_and_then_try_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(&listener.local_addr().unwrap().to_string(), 1);
    *peer.shared.lanes[0].lock() = failed(Instant::now() + Duration::from_secs(3600));
    let error = peer.call(Service::Meta, Vec::new(), Bytes::new(), Duration::from_secs(60)).await.unwrap_err();
    assert!(error.to_string().contains("a moment ago"), "{error}");

    *peer.shared.lanes[0].lock() = failed(Instant::now() - BACKOFF);
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let us = Endpoint { role: Role::Host, name: "host1".into() };
        handshake::accept(&mut stream, &ClusterKey::from_bytes([1; 32]), &us).await.unwrap();
        stream
    };
    let (connection, _stream) = tokio::join!(peer.connection(0), accept);
    assert!(connection.unwrap().is_open());
}

#[tokio::test]
async fn callers_wait_together_for_one_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(&listener.local_addr().unwrap().to_string(), 1);
    let impatient = peer.call(Service::Meta, Vec::new(), Bytes::new(), Duration::from_millis(1));
    assert!(matches!(impatient.await, Err(NetError::NotSent { .. })));
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let us = Endpoint { role: Role::Host, name: "host1".into() };
        handshake::accept(&mut stream, &ClusterKey::from_bytes([1; 32]), &us).await.unwrap();
        stream
    };
    let (first, second, _stream) = tokio::join!(peer.connection(0), peer.connection(0), accept);
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()), "the attempt outlived who began it");
}

#[test]
fn chunks_take_the_lanes_that_nothing_else_takes() {
    let peer = peer("host:1", 3);
    let lanes: Vec<usize> = (0..4).map(|_| peer.lane(Service::Chunk)).collect();
    assert_eq!(lanes, [1, 2, 1, 2]);
    assert_eq!((peer.lane(Service::Meta), peer.lane(Service::Cluster)), (0, 0));
    assert_eq!(self::peer("host:1", 1).lane(Service::Chunk), 0);
}
