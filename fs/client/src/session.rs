//! The client's session: opened once, renewed in the background, closed at the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_types::{OpId, SessionId};
use forebay_wire::cluster::{ClusterError, ClusterReply, ClusterRequest};

use crate::{ClientError, Cluster};

/// A registration with the cluster, and the numbering of its mutations.
pub(crate) struct Session {
    pub id: SessionId,
    cluster: Cluster,
    ended: Arc<AtomicBool>,
    numbers: Mutex<Numbers>,
    renewal: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Numbers {
    last: u64,
    unanswered: BTreeSet<u64>,
}

/// A mutation's number, outstanding until dropped.
pub(crate) struct Numbered {
    session: Arc<Session>,
    pub id: OpId,
}

impl Session {
    /// Opens a session for a filesystem and keeps it alive until [`Self::close`] or drop.
    pub async fn open(cluster: &Cluster, client: &str, fs: &str) -> Result<Self, ClientError> {
        let request = ClusterRequest::OpenSession { client: client.into(), fs: fs.into() };
        let ClusterReply::Session { session: id, timeout_ms } = cluster.ask(&request).await? else {
            return Err(ClientError::UnexpectedReply { what: "OpenSession" });
        };
        let ended = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_millis(timeout_ms / 3);
        let renewal = tokio::spawn(renew(cluster.clone(), id, interval, ended.clone()));
        Ok(Self { id, cluster: cluster.clone(), ended, numbers: Mutex::default(), renewal })
    }

    /// Whether it goes on.
    pub fn check(&self) -> Result<(), ClientError> {
        if self.ended.load(Ordering::Relaxed) { Err(ClientError::SessionEnded) } else { Ok(()) }
    }

    /// A number for a mutation.
    pub fn number(self: &Arc<Self>) -> Result<Numbered, ClientError> {
        self.check()?;
        let mut numbers = self.lock();
        numbers.last += 1;
        let sequence = numbers.last;
        numbers.unanswered.insert(sequence);
        Ok(Numbered { session: self.clone(), id: OpId { session: self.id, sequence } })
    }

    /// Every mutation below this number has been answered.
    pub fn answered_below(&self) -> u64 {
        let numbers = self.lock();
        numbers.unanswered.first().copied().unwrap_or(numbers.last + 1)
    }

    /// The session has ended.
    pub fn mark_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Ends the session at the cluster, as far as it can be reached within `timeout`.
    pub async fn close(&self, timeout: Duration) {
        self.renewal.abort();
        let request = ClusterRequest::CloseSession { session: self.id };
        if let Err(error) = self.cluster.ask_within(&request, timeout).await {
            tracing::info!(%error, "session not closed; it ends by itself");
        }
        self.mark_ended();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.session.lock().unanswered.remove(&self.id.sequence);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Renews until the cluster says that the session has ended.
async fn renew(cluster: Cluster, session: SessionId, interval: Duration, ended: Arc<AtomicBool>) {
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        match cluster.ask_within(&ClusterRequest::RenewSession { session }, interval).await {
            // A good moment to learn of hosts that have gone or come back.
            Ok(_) => drop(cluster.refresh().await),
            Err(ClientError::Cluster(ClusterError::SessionEnded { .. })) => {
                tracing::error!(%session, "the cluster has ended this client's session");
                ended.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => tracing::info!(%error, %session, "session not renewed, trying again"),
        }
    }
}
