//! A host's port: lets in who has the key, and hands what they ask to a [`Handler`].
//!
//! Each connection has a reader, which starts a task for every request, and a writer, which sends the answers that
//! are ready in one call. A connection with as many requests as it may have, or as many bytes of them, is not read
//! any further until an answer has been written, so a peer that does not read its answers stops its own requests and
//! nobody else's. A request that has been read is carried out to its end, whether or not anybody is left to answer;
//! only [`Server::shutdown`]'s grace running out, or dropping the server, breaks it off.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_wire::frame::{FrameError, Header, Kind, Service};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::frame_io::{FRAMES_PER_WRITE, Frame, FrameReader, ReadError, write_frames};
use crate::handshake::{self, Endpoint, Refusal, Role};
use crate::key::ClusterKey;
use crate::socket;

/// How long a closing connection waits for the peer to have read what was said last.
const LINGER: Duration = Duration::from_secs(1);
/// Between attempts to accept while the process has no descriptor free: none of them is told when one is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerInfo {
    /// What it says it is; all that is sure is that it has the cluster's key.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Where its connection comes from.
    pub addr: SocketAddr,
}

/// What is behind a server.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers a request: the encoded reply and its bulk bytes. The caller waits for `deadline` from now. A handler
    /// that panics, or answers beyond the limits of a frame, closes the connection.
    async fn handle(
        &self,
        peer: &PeerInfo,
        service: Service,
        body: Bytes,
        payload: Bytes,
        deadline: Duration,
    ) -> (Vec<u8>, Bytes);
}

/// How much a server takes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerLimits {
    /// Most requests in flight on a connection.
    pub requests_per_connection: usize,
    /// Most bytes of requests in flight on a connection. One request larger than this is still taken, alone.
    pub bytes_per_connection: usize,
    /// Most connections that have not proved the key yet; more wait to be accepted.
    pub handshakes: usize,
    /// How long a connection may take to prove the key.
    pub handshake_deadline: Duration,
    /// Most connections; more wait to be accepted.
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            requests_per_connection: 256,
            bytes_per_connection: 64 * 1024 * 1024,
            handshakes: 256,
            handshake_deadline: handshake::DEADLINE,
            connections: 32 * 1024,
        }
    }
}

/// A listening port and its connections. Dropping it breaks everything off at once.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

/// What every connection of a server shares.
struct Shared {
    key: ClusterKey,
    us: Endpoint,
    handler: Arc<dyn Handler>,
    limits: ServerLimits,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Listens at `addr` (port 0 for any) with the default limits, as the host called `name`.
    pub async fn bind(
        addr: SocketAddr,
        key: ClusterKey,
        name: impl Into<String>,
        handler: Arc<dyn Handler>,
    ) -> io::Result<Self> {
        Self::bind_with(addr, key, name, handler, ServerLimits::default()).await
    }

    /// Listens at `addr` with limits of its own.
    pub async fn bind_with(
        addr: SocketAddr,
        key: ClusterKey,
        name: impl Into<String>,
        handler: Arc<dyn Handler>,
        limits: ServerLimits,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen at {addr}: {e}")))?;
        let local = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            key,
            us: Endpoint { role: Role::Host, name: name.into() },
            handler,
            limits,
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            connections: Arc::new(Semaphore::new(limits.connections)),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(listener, shared, stopping));
        Ok(Self { local, stop, accepting })
    }

    /// The address it listens at, with the port that was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts and reads no more, answers what has been read, and closes; after `grace`, breaks off what is left.
    /// Says whether everything was answered in time.
    pub async fn shutdown(mut self, grace: Duration) -> bool {
        self.stop.send_replace(true);
        timeout(grace, async { while self.accepting.join_next().await.is_some() {} }).await.is_ok()
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut serving = JoinSet::new();
    loop {
        while serving.try_join_next().is_some() {}
        tokio::select! {
            () = stopped(&mut stopping) => break,
            (stream, addr, turns) = accept_one(&listener, &shared) => {
                serving.spawn(admit(stream, addr, turns, shared.clone(), stopping.clone()));
            }
        }
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The server being gone without a word means the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// A connection's right to exist, and to be without proof for a while.
struct Turns {
    connection: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
}

async fn accept_one(listener: &TcpListener, shared: &Shared) -> (TcpStream, SocketAddr, Turns) {
    let connection = shared.connections.clone().acquire_owned().await.expect("never closed");
    let handshake = shared.handshakes.clone().acquire_owned().await.expect("never closed");
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => return (stream, addr, Turns { connection, handshake }),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Does the handshake, then serves.
async fn admit(
    mut stream: TcpStream,
    addr: SocketAddr,
    turns: Turns,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) {
    let proved = async {
        socket::configure(&stream)?;
        handshake::accept(&mut stream, &shared.key, &shared.us).await
    };
    let late = Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long").into());
    match timeout(shared.limits.handshake_deadline, proved).await.unwrap_or(late) {
        Ok(them) => {
            drop(turns.handshake);
            let peer = PeerInfo { role: them.role, name: them.name, addr };
            serve(stream, Arc::new(peer), shared, stopping).await;
        }
        Err(Refusal::Io(error)) => tracing::debug!(%addr, %error, "connection lost in the handshake"),
        Err(refusal) => {
            tracing::warn!(%addr, %refusal, "connection refused");
            // A FIN, so that what we said is read before the close.
            let (read, write) = stream.into_split();
            drop(write);
            socket::drain(read, LINGER).await;
        }
    }
    drop(turns.connection);
}

/// An answer on its way out, with the room that its request takes up until it has left.
struct Outgoing {
    frame: Frame,
    _room: Room,
}

struct Room {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// What the tasks of one connection share.
struct Line {
    peer: Arc<PeerInfo>,
    shared: Arc<Shared>,
    answers: mpsc::Sender<Outgoing>,
    /// Tells the reader that the connection is of no use any more.
    broken: Arc<Notify>,
}

async fn serve(stream: TcpStream, peer: Arc<PeerInfo>, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let (read, write) = stream.into_split();
    let (answers, outgoing) = mpsc::channel(shared.limits.requests_per_connection);
    let broken = Arc::new(Notify::new());
    let mut writer = JoinSet::new();
    writer.spawn(write_answers(outgoing, write, broken.clone()));
    let mut handlers = JoinSet::new();
    let mut from = FrameReader::new(read);
    let line = Line { peer, shared, answers, broken };
    let intact = tokio::select! {
        () = stopped(&mut stopping) => true,
        () = line.broken.notified() => false,
        end = read_requests(&mut from, &line, &mut handlers) => end.map_err(|e| tell(&line.peer, &e)).is_ok(),
    };
    if !intact {
        // The peer learns at once that there will be no answers, while what it asked for is carried to its end.
        writer.abort_all();
    }
    // Only the handlers hold senders from here on: when they have ended, the writer does.
    drop(line);
    while handlers.join_next().await.is_some() {}
    while writer.join_next().await.is_some() {}
    socket::drain(from.into_inner(), LINGER).await;
}

fn tell(peer: &PeerInfo, error: &ReadError) {
    match error {
        ReadError::Frame(error) => tracing::warn!(addr = %peer.addr, name = peer.name, %error, "connection closed"),
        ReadError::Io(error) => tracing::debug!(addr = %peer.addr, name = peer.name, %error, "connection lost"),
    }
}

/// Starts a task for each request; ends when the peer has closed.
async fn read_requests(
    from: &mut FrameReader<OwnedReadHalf>,
    line: &Line,
    handlers: &mut JoinSet<()>,
) -> Result<(), ReadError> {
    let limits = line.shared.limits;
    let requests = Arc::new(Semaphore::new(limits.requests_per_connection));
    let bytes_limit = u32::try_from(limits.bytes_per_connection).unwrap_or(u32::MAX);
    let bytes = Arc::new(Semaphore::new(bytes_limit as usize));
    loop {
        while handlers.try_join_next().is_some() {}
        let request = requests.clone().acquire_owned().await.expect("never closed");
        let Some(pending) = from.header().await? else { return Ok(()) };
        let header = pending.header;
        if header.kind != Kind::Request {
            return Err(FrameError::Field { field: "kind", value: header.kind as u64 }.into());
        }
        let size = header.body_bytes.saturating_add(header.payload_bytes).min(bytes_limit);
        let room =
            Room { _request: request, _bytes: bytes.clone().acquire_many_owned(size).await.expect("never closed") };
        let (body, payload) = from.parts(&pending).await?;
        let asked = Asked {
            header,
            body,
            payload,
            room,
            answers: line.answers.clone(),
            finish: Finish { broken: line.broken.clone(), answered: false },
        };
        handlers.spawn(answer(line.shared.handler.clone(), line.peer.clone(), asked));
    }
}

/// A request that has been read, and what its task needs beside.
struct Asked {
    header: Header,
    body: Bytes,
    payload: Bytes,
    room: Room,
    answers: mpsc::Sender<Outgoing>,
    finish: Finish,
}

async fn answer(handler: Arc<dyn Handler>, peer: Arc<PeerInfo>, asked: Asked) {
    let Asked { header, body, payload, room, answers, mut finish } = asked;
    let deadline = Duration::from_millis(header.deadline_ms.into());
    let (body, payload) = handler.handle(&peer, header.service, body, payload, deadline).await;
    match Frame::new(header.service, Kind::Reply, header.request_id, Duration::ZERO, body, payload) {
        Ok(frame) => {
            finish.answered = true;
            // Refused where the writer has ended, and then nobody is there to be answered.
            let _ = answers.send(Outgoing { frame, _room: room }).await;
        }
        Err(error) => tracing::error!(service = ?header.service, %error, "an answer is over the limit"),
    }
}

/// Closes the connection where a request ends without an answer: its caller must not wait for one.
struct Finish {
    broken: Arc<Notify>,
    answered: bool,
}

impl Drop for Finish {
    fn drop(&mut self) {
        if !self.answered {
            self.broken.notify_one();
        }
    }
}

async fn write_answers(mut outgoing: mpsc::Receiver<Outgoing>, mut write: OwnedWriteHalf, broken: Arc<Notify>) {
    let mut batch = Vec::with_capacity(FRAMES_PER_WRITE);
    while outgoing.recv_many(&mut batch, FRAMES_PER_WRITE).await > 0 {
        if let Err(error) = write_frames(&mut write, batch.iter().map(|answer: &Outgoing| &answer.frame)).await {
            tracing::debug!(%error, "connection lost");
            break;
        }
        batch.clear();
    }
    // Dropping the write half sends the peer a FIN.
    broken.notify_one();
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
