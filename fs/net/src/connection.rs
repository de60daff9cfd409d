//! A connection that we made: requests out, answers in, any number in flight up to a bound.
//!
//! Two tasks serve it. The writer takes requests from a bounded queue and writes those that wait together in one
//! call; the reader hands each answer to whoever waits for it. A request is *sent* from the moment the writer has
//! picked it: until then a failure, or a caller who leaves, means it was not carried out; from then on nobody knows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_wire::frame::{FrameError, Kind, Service};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::NetError;
use crate::frame_io::{FRAMES_PER_WRITE, Frame, FrameReader, ReadError, check, write_frames};
use crate::handshake::{self, Endpoint, Role};
use crate::key::ClusterKey;
use crate::peer::Peer;
use crate::socket;

/// Most requests in flight on a connection.
const IN_FLIGHT: usize = 256;

/// What connections are made with: our key and who we are.
#[derive(Clone, Debug)]
pub struct Connector {
    key: ClusterKey,
    us: Endpoint,
}

impl Connector {
    /// Connections made with this will say that we are `name`, in `role`.
    #[must_use]
    pub fn new(key: ClusterKey, role: Role, name: impl Into<String>) -> Self {
        Self { key, us: Endpoint { role, name: name.into() } }
    }

    /// A handle for the host at `address` (`name:port`, `1.2.3.4:port` or `[::1]:port`) that connects when first
    /// called. `lanes` connections at most: with two or more, chunks do not stand in the way of everything else.
    #[must_use]
    pub fn peer(&self, address: impl Into<String>, lanes: usize) -> Peer {
        Peer::new(self.clone(), address.into(), lanes)
    }

    /// Connects to `address` and does the handshake, in at most [`handshake::DEADLINE`].
    pub async fn connect(&self, address: &str) -> Result<Connection, NetError> {
        let not_sent = |reason: String| NetError::NotSent { peer: address.to_owned(), reason };
        let begin = async {
            let mut stream = TcpStream::connect(address).await.map_err(|e| not_sent(e.to_string()))?;
            socket::configure(&stream).map_err(|e| not_sent(e.to_string()))?;
            let them = handshake::connect(&mut stream, &self.key, &self.us, address).await?;
            Ok(Connection::start(stream, address, them))
        };
        let late = |_| not_sent(format!("no connection within {} s", handshake::DEADLINE.as_secs()));
        timeout(handshake::DEADLINE, begin).await.map_err(late)?
    }
}

/// What a request was answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The encoded reply.
    pub body: Bytes,
    /// Bulk bytes; from one block on, they begin on a block boundary in memory.
    pub payload: Bytes,
}

/// An open connection; closed when dropped.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    them: Endpoint,
    next_id: AtomicU64,
    queue: mpsc::Sender<Queued>,
    room: Semaphore,
    tasks: [AbortHandle; 2],
}

#[derive(Debug)]
struct Shared {
    address: String,
    waiting: Mutex<Waiting>,
}

#[derive(Default, Debug)]
struct Waiting {
    /// Why the connection is closed; open where absent.
    closed: Option<String>,
    callers: HashMap<u64, Caller>,
}

#[derive(Debug)]
struct Caller {
    answer: oneshot::Sender<Result<Answer, NetError>>,
    sent: bool,
}

struct Queued {
    id: u64,
    frame: Frame,
}

impl Connection {
    fn start(stream: TcpStream, address: &str, them: Endpoint) -> Self {
        let (read, write) = stream.into_split();
        let (queue, requests) = mpsc::channel(IN_FLIGHT);
        let shared = Arc::new(Shared { address: address.to_owned(), waiting: Mutex::default() });
        let reader = tokio::spawn(read_answers(FrameReader::new(read), shared.clone()));
        let writer = tokio::spawn(write_requests(requests, write, shared.clone()));
        let tasks = [reader.abort_handle(), writer.abort_handle()];
        Self { shared, them, next_id: AtomicU64::new(1), queue, room: Semaphore::new(IN_FLIGHT), tasks }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn them(&self) -> &Endpoint {
        &self.them
    }

    /// Whether requests can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.lock().closed.is_none()
    }

    /// Asks, and waits at most `deadline` for the answer. A caller who drops the future only stops waiting.
    pub async fn call(
        &self,
        service: Service,
        body: Vec<u8>,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Answer, NetError> {
        let refuse = |e: FrameError| NetError::Frame { peer: self.shared.address.clone(), error: Arc::new(e) };
        check(&body, &payload).map_err(refuse)?;
        let until = Instant::now() + deadline;
        let late = || self.shared.not_sent(format!("no turn on the connection within {} ms", deadline.as_millis()));
        let _turn = match timeout_at(until, self.room.acquire()).await {
            Ok(turn) => turn.expect("never closed"),
            Err(_) => return Err(late()),
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let left = until.saturating_duration_since(Instant::now());
        let frame = Frame::new(service, Kind::Request, id, left, body, payload).map_err(refuse)?;
        let mut waiter = self.shared.register(id)?;
        match timeout_at(until, self.queue.send(Queued { id, frame })).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return waiter.leave("the connection is closed"),
            Err(_) => return Err(late()),
        }
        match timeout_at(until, &mut waiter.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => waiter.leave("the connection is closed"),
            Err(_) => waiter.leave(&format!("no answer within {} ms", deadline.as_millis())),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A caller's place in the table of those who wait; given up when dropped.
struct Waiter<'a> {
    shared: &'a Shared,
    id: u64,
    answer: oneshot::Receiver<Result<Answer, NetError>>,
}

impl Waiter<'_> {
    /// Stops waiting; says what that means for the request.
    fn leave(&mut self, reason: &str) -> Result<Answer, NetError> {
        let caller = self.shared.lock().callers.remove(&self.id);
        // The answer, or the reader's word on how the connection ended, may have come just now.
        if let Ok(result) = self.answer.try_recv() {
            return result;
        }
        Err(self.shared.lost(caller.is_none_or(|c| c.sent), reason))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.shared.lock().callers.remove(&self.id);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing that holds the lock can leave the table half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_sent(&self, reason: String) -> NetError {
        NetError::NotSent { peer: self.address.clone(), reason }
    }

    fn lost(&self, sent: bool, reason: &str) -> NetError {
        match sent {
            true => NetError::Unknown { peer: self.address.clone(), reason: reason.to_owned() },
            false => self.not_sent(reason.to_owned()),
        }
    }

    fn register(&self, id: u64) -> Result<Waiter<'_>, NetError> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some(reason) = &waiting.closed {
            return Err(self.not_sent(reason.clone()));
        }
        waiting.callers.insert(id, Caller { answer: sender, sent: false });
        Ok(Waiter { shared: self, id, answer })
    }

    /// Ends every wait: no answer will come any more.
    fn close(&self, reason: &str) {
        let mut waiting = self.lock();
        if waiting.closed.is_some() {
            return;
        }
        waiting.closed = Some(reason.to_owned());
        for (_, caller) in waiting.callers.drain() {
            // A caller who has left does not mind.
            let _ = caller.answer.send(Err(self.lost(caller.sent, reason)));
        }
    }
}

async fn write_requests(mut requests: mpsc::Receiver<Queued>, mut write: OwnedWriteHalf, shared: Arc<Shared>) {
    let mut batch = Vec::with_capacity(FRAMES_PER_WRITE);
    while requests.recv_many(&mut batch, FRAMES_PER_WRITE).await > 0 {
        {
            let mut waiting = shared.lock();
            batch.retain(|queued: &Queued| match waiting.callers.get_mut(&queued.id) {
                Some(caller) => {
                    caller.sent = true;
                    true
                }
                None => false,
            });
        }
        if let Err(e) = write_frames(&mut write, batch.iter().map(|queued| &queued.frame)).await {
            shared.close(&format!("connection lost: {e}"));
            return;
        }
        batch.clear();
    }
}

async fn read_answers(mut from: FrameReader<OwnedReadHalf>, shared: Arc<Shared>) {
    let reason = loop {
        match read_answer(&mut from).await {
            Ok(Some((id, answer))) => {
                // Nobody there: the caller has left, which is no fault of the peer's.
                if let Some(caller) = shared.lock().callers.remove(&id) {
                    let _ = caller.answer.send(Ok(answer));
                }
            }
            Ok(None) => break "the peer closed the connection".to_owned(),
            Err(e) => break format!("connection lost: {e}"),
        }
    };
    shared.close(&reason);
}

async fn read_answer(from: &mut FrameReader<OwnedReadHalf>) -> Result<Option<(u64, Answer)>, ReadError> {
    let Some(pending) = from.header().await? else { return Ok(None) };
    if pending.header.kind != Kind::Reply {
        return Err(FrameError::Field { field: "kind", value: pending.header.kind as u64 }.into());
    }
    let (body, payload) = from.parts(&pending).await?;
    Ok(Some((pending.header.request_id, Answer { body, payload })))
}
