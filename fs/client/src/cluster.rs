//! The cluster as a client sees it: the map, the connections, the cluster group.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use forebay_net::{ClusterKey, Connector, NetError, Peer, Role, call_cluster};
use forebay_types::{Epoch, HostId, ShardId};
use forebay_wire::cluster::{AdminRequest, ClusterError, ClusterReply, ClusterRequest};
use forebay_wire::map::{ClusterMap, HostState};
use tokio::time::Instant;

use crate::ClientError;

/// Connections to a host: one for metadata, two for chunks.
const LANES: usize = 3;
/// Longest wait for one answer before the call is tried again or elsewhere.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one answer of a shard's leader before another replica is asked who leads: less than it takes to
/// notice, by an election, that the leader is gone.
pub(crate) const SHARD_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Pause before a call that met a passing fault is tried again: first and longest.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LONGEST: Duration = Duration::from_millis(250);

/// Settings of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long an operation is tried before it fails (mount option `timeo`).
    pub timeout: Duration,
    /// Dirty bytes held in memory, over all files, before writers wait.
    pub dirty_limit_bytes: u64,
    /// Whether directories that nobody else uses may be delegated to it. What is done there is durable after `fsync`
    /// only, as on a local filesystem; without, when it ends.
    pub delegate: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), dirty_limit_bytes: 256 << 20, delegate: false }
    }
}

/// A cluster's map and the connections to its hosts. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    seeds: Vec<String>,
    map: RwLock<Option<Arc<ClusterMap>>>,
    peers: Mutex<HashMap<String, Peer>>,
    leaders: Mutex<HashMap<ShardId, HostId>>,
    options: ClientOptions,
    answers: AtomicU64,
}

/// Deadline of an operation, with pauses between attempts that grow.
pub(crate) struct Attempts {
    until: Instant,
    timeout: Duration,
    pause: Duration,
}

impl Attempts {
    pub fn new(timeout: Duration) -> Self {
        Self { until: Instant::now() + timeout, timeout, pause: RETRY_FIRST }
    }

    /// Time left for one call, at most [`CALL_TIMEOUT`].
    pub fn call_timeout(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now()).min(CALL_TIMEOUT)
    }

    /// Waits before the next attempt. Nothing tells a client when a host answers again, so it asks, ever less often.
    pub async fn pause(&mut self, reason: impl std::fmt::Display) -> Result<(), ClientError> {
        if Instant::now() + self.pause >= self.until {
            let timeout_ms = self.timeout.as_millis() as u64;
            return Err(ClientError::TimedOut { timeout_ms, reason: reason.to_string() });
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY_LONGEST);
        Ok(())
    }

    /// Waits for something, at most until the deadline.
    pub async fn within<T>(
        &self,
        reason: &str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let late = || ClientError::TimedOut { timeout_ms: self.timeout.as_millis() as u64, reason: reason.into() };
        tokio::time::timeout_at(self.until, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Asks for a newer map, at most until the deadline: hosts that are silent are waited for one after the other. That
    /// nobody answers this question is shown soon enough by the next attempt at what was wanted.
    pub async fn refresh(&self, cluster: &Cluster) {
        let _ = tokio::time::timeout_at(self.until, cluster.refresh()).await;
    }
}

impl Cluster {
    /// A handle that knows some hosts' addresses, as `10.0.0.1:7440`. Connects to nobody yet.
    #[must_use]
    pub fn new(seeds: Vec<String>, key: ClusterKey, role: Role, name: &str, options: ClientOptions) -> Self {
        let connector = Connector::new(key, role, name);
        let (map, peers, leaders) = (RwLock::new(None), Mutex::default(), Mutex::default());
        let shared = Shared { connector, seeds, map, peers, leaders, options, answers: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// Answers had from hosts so far: while the number grows, somebody is there.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Relaxed)
    }

    /// A host has answered.
    pub(crate) fn count_answer(&self) {
        self.shared.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest that one call may take.
    pub(crate) fn call_timeout(&self) -> Duration {
        CALL_TIMEOUT.min(self.shared.options.timeout)
    }

    /// The connection to an address, shared by everyone in this process.
    #[must_use]
    pub fn peer(&self, address: &str) -> Peer {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(address.to_string()).or_insert_with(|| self.shared.connector.peer(address, LANES)).clone()
    }

    pub(crate) fn leaders(&self) -> std::sync::MutexGuard<'_, HashMap<ShardId, HostId>> {
        self.shared.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The map known so far, fetched from any host the first time.
    pub async fn map(&self) -> Result<Arc<ClusterMap>, ClientError> {
        if let Some(map) = self.known_map() {
            return Ok(map);
        }
        let mut attempts = Attempts::new(self.shared.options.timeout);
        loop {
            let late = || ClientError::TimedOut {
                timeout_ms: self.shared.options.timeout.as_millis() as u64,
                reason: format!("none of {} tells the cluster's map", self.shared.seeds.join(", ")),
            };
            match tokio::time::timeout_at(attempts.until, self.refresh()).await.unwrap_or_else(|_| Err(late())) {
                Ok(map) => return Ok(map),
                Err(error @ (ClientError::NoHost { .. } | ClientError::Net(_))) if is_passing(&error) => {
                    attempts.pause(&error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The map known so far.
    #[must_use]
    pub fn known_map(&self) -> Option<Arc<ClusterMap>> {
        self.shared.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a map in, unless a newer one is known.
    pub fn learn(&self, map: ClusterMap) -> Arc<ClusterMap> {
        let mut known = self.shared.map.write().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(old) if old.epoch >= map.epoch => old.clone(),
            _ => known.insert(Arc::new(map)).clone(),
        }
    }

    /// Asks for a newer map: the host of the cluster group first, then everyone.
    pub async fn refresh(&self) -> Result<Arc<ClusterMap>, ClientError> {
        let known = self.known_map();
        let newer_than = known.as_ref().map_or(Epoch(0), |map| map.epoch);
        let mut reason = ClientError::NoHost { seeds: self.shared.seeds.join(", "), reason: "none is named".into() };
        for address in self.addresses(known.as_deref()) {
            let peer = self.peer(&address);
            match call_cluster(&peer, &ClusterRequest::GetMap { newer_than }, self.call_timeout()).await {
                Ok(ClusterReply::Map(Some(map))) => return Ok(self.learn(*map)),
                Ok(ClusterReply::Map(None)) => match &known {
                    Some(known) => return Ok(known.clone()),
                    None => reason = ClusterError::NotFormed { name: address }.into(),
                },
                Ok(ClusterReply::Error(error)) => reason = error.into(),
                Ok(_) => reason = ClientError::UnexpectedReply { what: "GetMap" },
                Err(error @ (NetError::Auth { .. } | NetError::Version { .. } | NetError::Frame { .. })) => {
                    reason = error.into();
                }
                Err(error) => {
                    let seeds = self.shared.seeds.join(", ");
                    // A host that refuses us says more than one that is silent.
                    if matches!(reason, ClientError::NoHost { .. }) {
                        reason = ClientError::NoHost { seeds, reason: error.to_string() };
                    }
                }
            }
        }
        Err(reason)
    }

    /// Addresses to ask, the cluster group's host first, hosts that are down last.
    fn addresses(&self, map: Option<&ClusterMap>) -> Vec<String> {
        let Some(map) = map else { return self.shared.seeds.clone() };
        let group = self.leader(map, ShardId(0)).map(|host| host.id);
        let mut hosts: Vec<_> = map.hosts.iter().collect();
        hosts.sort_by_key(|host| (Some(host.id) != group, host.state == HostState::Down));
        let mut addresses: Vec<String> = hosts.into_iter().map(|host| host.address.clone()).collect();
        addresses
            .extend(self.shared.seeds.iter().filter(|seed| !map.hosts.iter().any(|h| h.address == **seed)).cloned());
        addresses
    }

    /// The connection to a host of the map.
    pub(crate) fn host(&self, map: &ClusterMap, id: HostId) -> Option<Peer> {
        map.host(id).map(|host| self.peer(&host.address))
    }

    /// Asks the cluster group, trying again while it cannot be reached. Only for requests that may happen twice.
    pub async fn ask(&self, request: &ClusterRequest) -> Result<ClusterReply, ClientError> {
        self.ask_within(request, self.shared.options.timeout).await
    }

    /// Asks the cluster group for a change, which happens once however often it is asked: an answer that was lost on the
    /// way comes again.
    pub async fn administer(&self, request: AdminRequest) -> Result<ClusterReply, ClientError> {
        self.ask(&ClusterRequest::Admin { id: crate::task::random_id()?, request }).await
    }

    /// The map as it is now, by the cluster group: every change that was answered before is in it. What any host tells
    /// ([`Self::refresh`]) may be some moments old.
    pub async fn current_map(&self) -> Result<Arc<ClusterMap>, ClientError> {
        match self.ask(&ClusterRequest::CurrentMap).await? {
            ClusterReply::Map(Some(map)) => Ok(self.learn(*map)),
            _ => Err(ClientError::UnexpectedReply { what: "CurrentMap" }),
        }
    }

    /// [`Self::ask`] with a deadline of its own.
    pub async fn ask_within(&self, request: &ClusterRequest, timeout: Duration) -> Result<ClusterReply, ClientError> {
        let mut attempts = Attempts::new(timeout);
        loop {
            let map = self.map().await?;
            let host = self.leader(&map, ShardId(0)).ok_or(ClientError::UnexpectedReply { what: "the map" })?;
            let timeout = attempts.call_timeout().min(SHARD_TIMEOUT);
            match call_cluster(&self.peer(&host.address), request, timeout).await {
                Ok(ClusterReply::Error(error @ ClusterError::NotHere { leader })) => {
                    self.not_leader(&map, ShardId(0), host.id, leader);
                    attempts.pause(&error).await?;
                    attempts.refresh(self).await;
                }
                Ok(ClusterReply::Error(error)) => return Err(error.into()),
                Ok(reply) => {
                    self.count_answer();
                    return Ok(reply);
                }
                Err(error) if error.is_transient() => {
                    self.not_leader(&map, ShardId(0), host.id, None);
                    attempts.pause(&error).await?;
                    attempts.refresh(self).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Net(error) => error.is_transient(),
        ClientError::NoHost { .. } => true,
        _ => false,
    }
}
