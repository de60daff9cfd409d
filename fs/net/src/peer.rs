//! A host that we call: connects when needed, and again when the connection has gone.
//!
//! Callers that find no connection wait together for one attempt, each at most until its own deadline; the attempt
//! goes on without them. After a failed attempt, calls fail at once for a short while instead of trying again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_wire::frame::Service;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Answer, Connection, Connector};
use crate::error::NetError;

/// After a failed attempt to connect, how long calls fail without another.
const BACKOFF: Duration = Duration::from_millis(100);

/// A host that we call. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Peer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    address: String,
    /// The first is for everything but chunks, which take the others in turn; all share the one where there is one.
    lanes: Vec<Lane>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Lane {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// The attempt's task drops its end once it has changed the state.
    Connecting(watch::Receiver<()>),
    Up(Arc<Connection>),
    Failed {
        since: Instant,
        error: NetError,
    },
}

impl Peer {
    pub(crate) fn new(connector: Connector, address: String, lanes: usize) -> Self {
        let lanes = (0..lanes.max(1)).map(|_| Lane { state: Mutex::new(State::Idle) }).collect();
        Self { shared: Arc::new(Shared { connector, address, lanes, turn: AtomicUsize::new(0) }) }
    }

    /// The host's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Asks, and waits at most `deadline` for the answer, connecting included. Dropping the future stops waiting; a
    /// request that has not been written by then is not sent.
    pub async fn call(
        &self,
        service: Service,
        body: Vec<u8>,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Answer, NetError> {
        let until = Instant::now() + deadline;
        let lane = self.lane(service);
        let connection = match timeout_at(until, self.connection(lane)).await {
            Ok(connection) => connection?,
            Err(_) => {
                let reason = format!("no connection within {} ms", deadline.as_millis());
                return Err(NetError::NotSent { peer: self.shared.address.clone(), reason });
            }
        };
        connection.call(service, body, payload, until.saturating_duration_since(Instant::now())).await
    }

    fn lane(&self, service: Service) -> usize {
        let bulk = self.shared.lanes.len() - 1;
        if service != Service::Chunk || bulk == 0 {
            return 0;
        }
        1 + self.shared.turn.fetch_add(1, Ordering::Relaxed) % bulk
    }

    /// The lane's connection, made if need be.
    async fn connection(&self, lane: usize) -> Result<Arc<Connection>, NetError> {
        loop {
            let mut attempt = {
                let mut state = self.shared.lanes[lane].lock();
                match &*state {
                    State::Up(connection) if connection.is_open() => return Ok(connection.clone()),
                    State::Failed { since, error } if since.elapsed() < BACKOFF => return Err(error.clone()),
                    // Where its other end is gone, the attempt died with its runtime.
                    State::Connecting(attempt) if attempt.has_changed().is_ok() => attempt.clone(),
                    _ => {
                        let attempt = self.begin(lane);
                        *state = State::Connecting(attempt.clone());
                        attempt
                    }
                }
            };
            // The only news is that the other end is gone, which is what we wait for.
            let _ = attempt.changed().await;
        }
    }

    /// Starts an attempt to connect, which its callers may outlive or not.
    fn begin(&self, lane: usize) -> watch::Receiver<()> {
        let (done, attempt) = watch::channel(());
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let result = shared.connector.connect(&shared.address).await;
            *shared.lanes[lane].lock() = match result {
                Ok(connection) => State::Up(Arc::new(connection)),
                Err(error) => {
                    tracing::debug!(%error, "cannot connect");
                    State::Failed { since: Instant::now(), error }
                }
            };
            drop(done);
        });
        attempt
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is replaced whole, so it is whole whatever happened to whoever held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
