//! A whole cluster in one process, over loopback TCP: the ground that tests of its clients stand on.
//!
//! Job: start hosts in a temporary folder or on a [`Disk`] whose power can fail, form a cluster of them, make one
//! filesystem in it and, where it is wanted, attach a folder as its cold tier; kill and restart hosts, and cut them off
//! from each other. Everything ends with the [`Testbed`]. For tests only, so whatever goes wrong is a panic that says
//! what. Does not know namespaces and processes: that is `forebay-tests`.
#![forbid(unsafe_code)]

mod disk;
mod medium;
mod wires;

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_client::{ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role, call_cluster};
use forebay_server::{DriveSpec, Host, HostConfig};
use forebay_types::{Geometry, TierId, Uuid};
use forebay_wire::cluster::{
    AdminRequest, AttachTier, ClusterReply, ClusterRequest, Formation, FormingHost, TierCredentials,
};
use tokio::time::Instant;

pub use disk::{Disk, Spoil};
use wires::Wires;

/// How long an operation may take: far more than any does.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Name of the filesystem.
pub const FILESYSTEM: &str = "scratch";
/// Pause between two attempts to start a host again.
const RESTART_PAUSE: Duration = Duration::from_millis(20);

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Storage hosts, with a drive each.
    pub hosts: usize,
    /// How stripes are cut.
    pub geometry: Geometry,
    /// Metadata shards.
    pub shards: u16,
    /// Size of a drive.
    pub drive_bytes: u64,
}

impl Plan {
    /// The least that has parity: three hosts, 2+1.
    pub const THREE: Self =
        Self { hosts: 3, geometry: Geometry { data: 2, parity: 1 }, shards: 4, drive_bytes: 256 << 20 };
    /// What the demo has too: six hosts, 4+2.
    pub const SIX: Self =
        Self { hosts: 6, geometry: Geometry { data: 4, parity: 2 }, shards: 8, drive_bytes: 256 << 20 };
}

/// A running cluster with the filesystem [`FILESYSTEM`].
pub struct Testbed {
    /// Folder of everything that is stored.
    dir: PathBuf,
    /// The same, where it is ours.
    _own: Option<tempfile::TempDir>,
    plan: Plan,
    key: ClusterKey,
    hosts: Vec<Option<Host>>,
    /// Where each host listens.
    listens: Vec<String>,
    /// Where the map says it does.
    addresses: Vec<String>,
    wires: Option<Wires>,
}

impl Testbed {
    /// Starts the hosts, forms the cluster and makes the filesystem.
    pub async fn start(plan: Plan) -> Self {
        Self::start_in(plan, None, None).await
    }

    /// [`Self::start`] with wires between the hosts that [`Self::cut_off`] cuts.
    pub async fn start_wired(plan: Plan) -> Self {
        Self::start_in(plan, None, Some(Wires::new())).await
    }

    /// [`Self::start`] on a disk, which must be there until the testbed has gone.
    pub async fn start_on(plan: Plan, disk: &Disk) -> Self {
        Self::start_in(plan, Some(disk), None).await
    }

    async fn start_in(plan: Plan, disk: Option<&Disk>, wires: Option<Wires>) -> Self {
        let own = disk.is_none().then(|| tempfile::tempdir().expect("a temporary folder"));
        let dir = disk.map(Disk::path).or(own.as_ref().map(|own| own.path())).expect("one of both").to_owned();
        let key = ClusterKey::generate().expect("random numbers");
        let (hosts, listens, addresses) = Default::default();
        let mut bed = Self { dir, _own: own, plan, key, hosts, listens, addresses, wires };
        let mut forming = Vec::new();
        for n in 0..plan.hosts {
            let host = Host::start(bed.config(n, "127.0.0.1:0")).await.unwrap_or_else(|error| panic!("h{n}: {error}"));
            let listens = host.address();
            let address = match &mut bed.wires {
                Some(wires) => wires.lead_to(n, listens).await,
                None => listens.to_string(),
            };
            let reply = bed.call(&address, ClusterRequest::Identify).await;
            let ClusterReply::Identity(identity) = reply else { panic!("h{n} does not say who it is: {reply:?}") };
            forming.push(FormingHost { name: identity.name, address: address.clone(), drives: identity.drives });
            bed.hosts.push(Some(host));
            bed.listens.push(listens.to_string());
            bed.addresses.push(address);
        }
        bed.form(forming).await;
        let request = AdminRequest::CreateFs { name: FILESYSTEM.into() };
        let reply = bed.cluster("maker").administer(request).await.expect("the cluster group answers");
        assert!(matches!(reply, ClusterReply::Filesystem { .. }), "no filesystem is made: {reply:?}");
        bed
    }

    async fn form(&self, hosts: Vec<FormingHost>) {
        let Plan { geometry, shards, .. } = self.plan;
        let formation = Formation { name: "test".into(), cluster: Uuid([7; 16]), geometry, shards, hosts };
        let map = forebay_cluster::form(&formation).expect("hosts that fit the plan");
        for host in &map.hosts {
            let reply =
                self.call(&host.address, ClusterRequest::Form { map: Box::new(map.clone()), you: host.id }).await;
            assert!(matches!(reply, ClusterReply::Done { .. }), "{} does not join: {reply:?}", host.name);
        }
    }

    fn config(&self, n: usize, listen: &str) -> HostConfig {
        let (name, dir) = (wires::name(n), self.dir.join(wires::name(n)));
        let drive = DriveSpec { path: dir.join("drive"), size_bytes: self.plan.drive_bytes };
        let listen = listen.parse().expect("an address");
        HostConfig { dir, name, listen, key: self.key.clone(), drives: vec![drive] }
    }

    async fn call(&self, address: &str, request: ClusterRequest) -> ClusterReply {
        let cluster = self.cluster("former");
        let called = call_cluster(&cluster.peer(address), &request, TIMEOUT).await;
        called.unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// The cluster's key.
    #[must_use]
    pub fn key(&self) -> &ClusterKey {
        &self.key
    }

    /// Where the hosts are reached.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// A client of the cluster, called `name`.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Cluster {
        self.cluster_within(name, TIMEOUT)
    }

    /// [`Self::cluster`] whose operations end after `timeout`.
    #[must_use]
    pub fn cluster_within(&self, name: &str, timeout: Duration) -> Cluster {
        let options = ClientOptions { timeout, ..ClientOptions::default() };
        Cluster::new(self.addresses.clone(), self.key.clone(), Role::Client, name, options)
    }

    /// A session of a client that has directories delegated to it, as mounts do.
    pub async fn mount_delegating(&self, name: &str) -> Filesystem {
        let options = ClientOptions { timeout: TIMEOUT, delegate: true, ..ClientOptions::default() };
        let cluster = Cluster::new(self.addresses.clone(), self.key.clone(), Role::Client, name, options);
        Filesystem::mount(&cluster, FILESYSTEM, name).await.expect("the filesystem is mounted")
    }

    /// A session on the filesystem, of a client called `name`.
    pub async fn mount(&self, name: &str) -> Filesystem {
        self.mount_within(name, TIMEOUT).await
    }

    /// [`Self::mount`] whose operations end after `timeout`.
    pub async fn mount_within(&self, name: &str, timeout: Duration) -> Filesystem {
        let cluster = self.cluster_within(name, timeout);
        Filesystem::mount(&cluster, FILESYSTEM, name).await.expect("the filesystem is mounted")
    }

    /// Attaches a new folder as the cold tier `cold`; its id, and where it lies.
    pub async fn attach_cold(&self) -> (TierId, PathBuf) {
        let folder = self.dir.join("cold");
        std::fs::create_dir(&folder).expect("a folder for the cold tier");
        (self.attach_cold_at(&folder).await, folder)
    }

    /// Attaches a folder as the cold tier `cold`; its id.
    pub async fn attach_cold_at(&self, folder: &Path) -> TierId {
        let attach = AttachTier {
            fs: FILESYSTEM.into(),
            name: "cold".into(),
            url: format!("file://{}", folder.display()),
            endpoint: String::new(),
            region: String::new(),
            credentials: TierCredentials::default(),
        };
        let reply = self.cluster("maker").administer(AdminRequest::AttachTier(attach)).await;
        let Ok(ClusterReply::Tier { tier, .. }) = reply else { panic!("no tier is attached: {reply:?}") };
        tier
    }

    /// Cuts these hosts off from all others, not from clients, and connects all others again.
    pub fn cut_off(&self, hosts: &[usize]) {
        self.wires.as_ref().expect("started with wires").cut(hosts);
    }

    /// Stops a host as a crash would.
    pub fn kill(&mut self, n: usize) {
        self.hosts[n] = None;
    }

    /// The folder of a host's metadata store: whoever opens it has to kill the host before.
    #[must_use]
    pub fn store(&self, n: usize) -> PathBuf {
        self.config(n, &self.listens[n]).dir.join("meta")
    }

    /// Starts a host again that was killed, where it was.
    pub async fn restart(&mut self, n: usize) {
        let config = self.config(n, &self.listens[n]);
        let until = Instant::now() + TIMEOUT;
        let host = loop {
            match Host::start(config.clone()).await {
                Ok(host) => break host,
                // Threads of the killed host may still be letting go of its files.
                Err(error) => assert!(Instant::now() < until, "h{n} does not start again: {error}"),
            }
            tokio::time::sleep(RESTART_PAUSE).await;
        };
        self.hosts[n] = Some(host);
    }
}
