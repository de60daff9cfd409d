use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_types::limits;
use forebay_wire::VERSION;
use forebay_wire::frame::{HEADER_BYTES, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;
use crate::{AuthFailure, Connector, NetError};

const LONG: Duration = Duration::from_secs(60);

/// Says back what it is told; told "hang" it waits for [`Echo::release`], told "panic" it does, told "huge" it answers
/// too much.
struct Echo {
    running: AtomicUsize,
    most: AtomicUsize,
    release: Semaphore,
}

impl Echo {
    fn new() -> Arc<Self> {
        Arc::new(Self { running: AtomicUsize::new(0), most: AtomicUsize::new(0), release: Semaphore::new(0) })
    }

    async fn wait_for_running(&self, count: usize) {
        let reached = async {
            while self.running.load(Ordering::SeqCst) != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LONG, reached).await.expect("requests reach the handler");
    }
}

#[async_trait::async_trait]
impl Handler for Echo {
    async fn handle(&self, _: &PeerInfo, _: Service, body: Bytes, payload: Bytes, _: Duration) -> (Vec<u8>, Bytes) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        match &body[..] {
            b"hang" => self.release.acquire().await.unwrap().forget(),
            b"panic" => panic!("asked to"),
            _ => {}
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        match &body[..] {
            b"huge" => (Vec::new(), vec![0; limits::PAYLOAD_MAX_BYTES + 1].into()),
            _ => (body.to_vec(), payload),
        }
    }
}

fn key() -> ClusterKey {
    ClusterKey::from_bytes([3; 32])
}

fn client() -> Connector {
    Connector::new(key(), Role::Client, "node1")
}

async fn start(handler: Arc<Echo>, limits: ServerLimits) -> Server {
    Server::bind_with("127.0.0.1:0".parse().unwrap(), key(), "host1", handler, limits).await.unwrap()
}

async fn start_default(handler: Arc<Echo>) -> (Server, String) {
    let server = start(handler, ServerLimits::default()).await;
    let addr = server.local_addr().to_string();
    (server, addr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_every_size_come_back() {
    let (_server, addr) = start_default(Echo::new()).await;
    let peer = client().peer(&addr, 2);
    for len in [0, 1, 4095, 4096, 16 * 1024, 256 * 1024, limits::PAYLOAD_MAX_BYTES] {
        for service in [Service::Meta, Service::Chunk] {
            let payload: Bytes = (0..len).map(|i| (i * 31 % 251) as u8).collect::<Vec<u8>>().into();
            let answer = peer.call(service, vec![5; 300], payload.clone(), LONG).await.unwrap();
            assert_eq!((&answer.body[..], answer.payload), (&[5; 300][..], payload));
        }
    }
    let body = vec![9; limits::BODY_MAX_BYTES];
    assert_eq!(peer.call(Service::Meta, body.clone(), Bytes::new(), LONG).await.unwrap().body, body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_each_get_their_own_answer() {
    let (_server, addr) = start_default(Echo::new()).await;
    let peer = client().peer(&addr, 2);
    let mut calls = JoinSet::new();
    for i in 0..1000u32 {
        let peer = peer.clone();
        let service = if i % 2 == 0 { Service::Meta } else { Service::Chunk };
        let payload: Bytes = vec![i as u8; i as usize * 13].into();
        calls.spawn(async move {
            let answer = peer.call(service, i.to_le_bytes().to_vec(), payload.clone(), LONG).await.unwrap();
            assert_eq!((&answer.body[..], answer.payload), (&i.to_le_bytes()[..], payload));
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn another_key_is_refused_and_no_key_learns_nothing() {
    let echo = Echo::new();
    let (_server, addr) = start_default(echo.clone()).await;
    let stranger = Connector::new(ClusterKey::from_bytes([4; 32]), Role::Host, "host9").peer(&addr, 1);
    let error = stranger.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG).await.unwrap_err();
    assert_eq!(error, NetError::Auth { peer: addr.clone(), failure: AuthFailure::Refused });
    assert!(!error.may_have_happened());

    let mut garbage = TcpStream::connect(&addr).await.unwrap();
    garbage.write_all(&[0xff; 200]).await.unwrap();
    let mut told = Vec::new();
    // A reset is as good as an end: what counts is that nothing was said before it.
    let _ = timeout(LONG, garbage.read_to_end(&mut told)).await.expect("closed");
    assert!(told.is_empty());
    assert_eq!(echo.most.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_silent_connector_is_closed() {
    let limits = ServerLimits { handshake_deadline: Duration::from_millis(20), ..ServerLimits::default() };
    let server = start(Echo::new(), limits).await;
    let mut silent = TcpStream::connect(server.local_addr()).await.unwrap();
    assert_eq!(timeout(LONG, silent.read(&mut [0; 1])).await.expect("closed").unwrap(), 0);
}

#[tokio::test]
async fn an_older_program_is_told_the_version() {
    let (_server, addr) = start_default(Echo::new()).await;
    let mut older = TcpStream::connect(&addr).await.unwrap();
    let mut hello = b"forebay\n".to_vec();
    hello.extend_from_slice(&(VERSION - 1).to_le_bytes());
    hello.extend_from_slice(&[1; 32]);
    older.write_all(&hello).await.unwrap();
    let mut told = Vec::new();
    timeout(LONG, older.read_to_end(&mut told)).await.expect("closed").unwrap();
    assert_eq!(told, [&b"forebay\n"[..], &VERSION.to_le_bytes()].concat());
}

#[tokio::test]
async fn a_damaged_request_closes_the_connection() {
    let echo = Echo::new();
    let (_server, addr) = start_default(echo.clone()).await;
    for damage in [0, 10, 17, 29, HEADER_BYTES] {
        let mut stream = TcpStream::connect(&addr).await.unwrap();
        let us = Endpoint { role: Role::Client, name: "node1".into() };
        handshake::connect(&mut stream, &key(), &us, &addr).await.unwrap();
        let header = Header {
            service: Service::Meta,
            kind: Kind::Request,
            request_id: 1,
            body_bytes: 4,
            payload_bytes: 0,
            deadline_ms: 1000,
        };
        let mut raw = [&header.encode(b"body")[..], b"body"].concat();
        raw[damage] ^= 0x80;
        stream.write_all(&raw).await.unwrap();
        // The length may be what is damaged: then it is the end of the stream that shows it.
        stream.shutdown().await.unwrap();
        let mut told = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut told)).await.expect("closed");
        assert!(told.is_empty(), "byte {damage}");
    }
    assert_eq!(echo.most.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_damaged_answer_ends_every_call_as_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let liar = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let us = Endpoint { role: Role::Host, name: "host1".into() };
        handshake::accept(&mut stream, &key(), &us).await.unwrap();
        let mut request = [0; HEADER_BYTES + 1];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&[0x55; HEADER_BYTES]).await.unwrap();
        stream
    };
    let peer = client().peer(&addr, 1);
    let call = || peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG);
    let (first, second, _stream) = tokio::join!(call(), call(), liar);
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(&error, NetError::Unknown { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_leaves_the_outcome_unknown_and_its_successor_is_found() {
    let echo = Echo::new();
    let (server, addr) = start_default(echo.clone()).await;
    let peer = client().peer(&addr, 1);
    let hanging = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call(Service::Meta, b"hang".to_vec(), Bytes::new(), LONG).await }
    });
    echo.wait_for_running(1).await;
    let local = server.local_addr();
    drop(server);
    assert!(matches!(hanging.await.unwrap(), Err(NetError::Unknown { .. })));

    let error = peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG).await.unwrap_err();
    assert!(matches!(error, NetError::NotSent { .. }), "{error}");

    let _server = Server::bind(local, key(), "host1", Echo::new()).await.unwrap();
    let until = Instant::now() + LONG;
    loop {
        match peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG).await {
            Ok(answer) => break assert_eq!(answer.body, "x"),
            Err(error) => assert!(matches!(error, NetError::NotSent { .. }) && Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn deadlines_end_calls() {
    let echo = Echo::new();
    let (_server, addr) = start_default(echo.clone()).await;
    let peer = client().peer(&addr, 1);
    let error = peer.call(Service::Meta, b"hang".to_vec(), Bytes::new(), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, NetError::Unknown { .. }), "{error}");
    // The connection is none the worse, and the late answer is nobody's.
    echo.release.add_permits(1);
    assert_eq!(peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG).await.unwrap().body, "x");
}

#[tokio::test]
async fn a_host_that_never_completes_a_handshake_costs_only_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = client().peer(listener.local_addr().unwrap().to_string(), 1);
    let error = peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, NetError::NotSent { .. }), "{error}");
}

#[tokio::test]
async fn refused_connections_fail_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let error = client().peer(addr.to_string(), 1).call(Service::Meta, vec![1], Bytes::new(), LONG).await.unwrap_err();
    assert!(matches!(&error, NetError::NotSent { reason, .. } if reason.contains("refused")), "{error}");
}

#[tokio::test]
async fn requests_over_the_limit_are_not_sent() {
    let (_server, addr) = start_default(Echo::new()).await;
    let peer = client().peer(&addr, 1);
    let error = peer.call(Service::Meta, vec![0; limits::BODY_MAX_BYTES + 1], Bytes::new(), LONG).await.unwrap_err();
    assert!(matches!(error, NetError::Frame { .. }), "{error}");
    let payload = vec![0; limits::PAYLOAD_MAX_BYTES + 1].into();
    let error = peer.call(Service::Meta, Vec::new(), payload, LONG).await.unwrap_err();
    assert!(error.to_string().contains("payload bytes 1048577"), "{error}");
}

#[tokio::test]
async fn a_handler_that_fails_to_answer_closes_the_connection() {
    let (_server, addr) = start_default(Echo::new()).await;
    let peer = client().peer(&addr, 1);
    for ask in ["panic", "huge"] {
        let error = peer.call(Service::Meta, ask.into(), Bytes::new(), LONG).await.unwrap_err();
        assert!(matches!(error, NetError::Unknown { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_no_more_requests_in_flight_than_it_may() {
    let echo = Echo::new();
    let limits = ServerLimits { requests_per_connection: 4, ..ServerLimits::default() };
    let server = start(echo.clone(), limits).await;
    let peer = client().peer(server.local_addr().to_string(), 1);
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let peer = peer.clone();
        calls.spawn(
            async move { peer.call(Service::Meta, b"hang".to_vec(), vec![0; 4096].into(), LONG).await.unwrap() },
        );
    }
    echo.wait_for_running(4).await;
    echo.release.add_permits(64);
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert_eq!(echo.most.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_its_answers_stops_being_read() {
    let echo = Echo::new();
    let limits = ServerLimits { requests_per_connection: 8, ..ServerLimits::default() };
    let server = start(echo.clone(), limits).await;
    let addr = server.local_addr().to_string();
    let mut stream = TcpStream::connect(&addr).await.unwrap();
    let us = Endpoint { role: Role::Client, name: "node1".into() };
    handshake::connect(&mut stream, &key(), &us, &addr).await.unwrap();
    let payload = vec![0; limits::PAYLOAD_MAX_BYTES];
    let header = Header {
        service: Service::Chunk,
        kind: Kind::Request,
        request_id: 1,
        body_bytes: 0,
        payload_bytes: payload.len() as u32,
        deadline_ms: 1000,
    };
    let request = [&header.encode(b"")[..], &payload].concat();
    // Far more than sockets buffer: at some point the server must stop taking them.
    let sent = async {
        for _ in 0..1000 {
            stream.write_all(&request).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(2), sent).await.is_err(), "everything was taken");
    // And nobody else suffers.
    let peer = client().peer(&addr, 1);
    assert_eq!(peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG).await.unwrap().body, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_answers_what_was_asked_and_then_closes() {
    let echo = Echo::new();
    let (server, addr) = start_default(echo.clone()).await;
    let peer = client().peer(&addr, 1);
    let hanging = tokio::spawn({
        let peer = peer.clone();
        async move { peer.call(Service::Meta, b"hang".to_vec(), Bytes::new(), LONG).await }
    });
    echo.wait_for_running(1).await;
    let stopping = tokio::spawn(server.shutdown(LONG));
    echo.release.add_permits(1);
    assert_eq!(hanging.await.unwrap().unwrap().body, "hang");
    assert!(stopping.await.unwrap(), "everything was answered in time");
    assert!(peer.call(Service::Meta, b"x".to_vec(), Bytes::new(), LONG).await.is_err());
}

#[tokio::test]
async fn ipv6_works_where_the_machine_has_it() {
    let Ok(server) = Server::bind("[::1]:0".parse().unwrap(), key(), "host1", Echo::new()).await else { return };
    let connection = client().connect(&server.local_addr().to_string()).await.unwrap();
    assert_eq!(connection.them(), &Endpoint { role: Role::Host, name: "host1".into() });
    assert_eq!(connection.call(Service::Tier, b"x".to_vec(), Bytes::new(), LONG).await.unwrap().body, "x");
}
