//! Sections and keys of `site.toml`, with their defaults.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::SiteError;
use crate::value::{Backoff, Endpoint, Retries, Seconds, SlurmVersion};

/// Everything `site.toml` says, defaults filled in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteConfig {
    /// Version of this schema; [`SiteConfig::SCHEMA`] is the only one.
    pub schema: u32,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[storage]`
    pub storage: Storage,
    /// `[socket]`
    #[serde(default)]
    pub socket: Socket,
    /// `[store]`
    #[serde(default)]
    pub store: Store,
    /// `[slurm]`
    #[serde(default)]
    pub slurm: Slurm,
    /// `[gate]`
    #[serde(default)]
    pub gate: Gate,
    /// `[stage_in]`
    #[serde(default)]
    pub stage_in: StageIn,
    /// `[stage_out]`
    #[serde(default)]
    pub stage_out: StageOut,
    /// `[flush]`
    #[serde(default)]
    pub flush: Flush,
    /// `[node]`
    #[serde(default)]
    pub node: Node,
    /// `[notify]`
    #[serde(default)]
    pub notify: Notify,
    /// `[paths]`
    #[serde(default)]
    pub paths: Paths,
}

impl SiteConfig {
    /// The schema this release reads.
    pub const SCHEMA: u32 = 1;
    /// Where the file is unless said otherwise.
    pub const DEFAULT_PATH: &'static str = "/etc/forebay/site.toml";
    /// Environment variable that names another file; for tests and for several clusters on one host.
    pub const PATH_VARIABLE: &'static str = "FOREBAY_SITE";

    /// Reads and checks the file at `path`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, SiteError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|reason| SiteError::Unreadable { path: path.to_path_buf(), reason })?;
        Self::parse(&text, path)
    }

    /// Reads and checks `text`; `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SiteError> {
        crate::check::parse(text, path)
    }

    /// The file to read where none is named: [`Self::PATH_VARIABLE`] of the environment, or [`Self::DEFAULT_PATH`].
    #[must_use]
    pub fn default_path() -> PathBuf {
        std::env::var_os(Self::PATH_VARIABLE).map_or_else(|| PathBuf::from(Self::DEFAULT_PATH), PathBuf::from)
    }

    /// Every path, with its section and key.
    pub(crate) fn every_path(&self) -> [(&'static str, &'static str, &Path); 11] {
        [
            ("storage", "key_file", &self.storage.key_file),
            ("socket", "stagerd", &self.socket.stagerd),
            ("socket", "node", &self.socket.node),
            ("store", "journal", &self.store.journal),
            ("slurm", "squeue", &self.slurm.squeue),
            ("slurm", "scontrol", &self.slurm.scontrol),
            ("slurm", "conf", &self.slurm.conf),
            ("node", "mount", &self.node.mount),
            ("paths", "libexec", &self.paths.libexec),
            ("paths", "spank", &self.paths.spank),
            ("paths", "bin", &self.paths.bin),
        ]
    }

    /// A configuration of nothing but defaults; what has no default is empty.
    pub(crate) fn blank() -> Self {
        Self {
            schema: Self::SCHEMA,
            cluster: Cluster { name: String::new(), slurm: SlurmVersion::default() },
            storage: Storage { hosts: Vec::new(), filesystem: String::new(), key_file: default_key_file() },
            socket: Socket::default(),
            store: Store::default(),
            slurm: Slurm::default(),
            gate: Gate::default(),
            stage_in: StageIn::default(),
            stage_out: StageOut::default(),
            flush: Flush::default(),
            node: Node::default(),
            notify: Notify::default(),
            paths: Paths::default(),
        }
    }
}

/// `[cluster]`: which cluster this is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Slurm's `ClusterName`. Required.
    pub name: String,
    /// Version of Slurm, as in "22.05", or "auto": ask `scontrol --version` when configuration is generated.
    #[serde(default)]
    pub slurm: SlurmVersion,
}

/// `[storage]`: where the bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Addresses of storage hosts, "host:port"; any that answers leads to the rest. Required.
    pub hosts: Vec<Endpoint>,
    /// Name of the filesystem that nodes mount. Required.
    pub filesystem: String,
    /// File with the cluster's key.
    #[serde(default = "default_key_file")]
    pub key_file: PathBuf,
}

fn default_key_file() -> PathBuf {
    "/etc/forebay/cluster.key".into()
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$kdoc:meta])* $key:ident: $type:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$kdoc])* pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }
    };
}

section! {
    /// `[socket]`: unix sockets of the daemons.
    Socket {
        /// The stager's; open to every user, who is known by the socket's peer credentials.
        stagerd: PathBuf = forebay_wire::stager::DEFAULT_SOCKET.into(),
        /// The node's client daemon's; root only.
        node: PathBuf = forebay_wire::node::DEFAULT_SOCKET.into(),
    }
}
section! {
    /// `[store]`: what the stager must not forget.
    Store {
        /// Directory of its journal.
        journal: PathBuf = "/var/lib/forebay/stagerd".into(),
    }
}
section! {
    /// `[slurm]`: how the stager sees Slurm.
    Slurm {
        /// Time between two looks at the queue, each of which compares every record with Slurm.
        poll: Seconds = Seconds(10),
        /// Least time between two progress comments on one job.
        comment_min_interval: Seconds = Seconds(30),
        /// The `squeue` to run.
        squeue: PathBuf = "/usr/bin/squeue".into(),
        /// The `scontrol` to run.
        scontrol: PathBuf = "/usr/bin/scontrol".into(),
        /// `SLURM_CONF` of both.
        conf: PathBuf = "/etc/slurm/slurm.conf".into(),
    }
}
section! {
    /// `[gate]`: how jobs are kept from starting before their data is there.
    Gate {
        /// What `gate=auto` means.
        default: GateKind = GateKind::Auto,
        /// Longest a job is held; after that it waits for its user.
        hold_max: Seconds = Seconds(48 * 3_600),
    }
}

/// Kinds of gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateKind {
    /// Whatever suits the job; in this release [`GateKind::Hold`].
    Auto,
    /// Held until the data is there.
    Hold,
    /// Started at once; reads of cold ranges recall them.
    Lazy,
}

section! {
    /// `[stage_in]`: recalling inputs.
    StageIn {
        /// Most transfers at a time, over all jobs.
        max_transfers: u32 = 256,
        /// Most tries of one step that fails for a passing reason; after that the job waits for its user.
        retries: Retries = Retries::Forever,
        /// Wait before the second try, and the longest wait between tries.
        backoff: Backoff = Backoff { first: Seconds(1), longest: Seconds(300) },
        /// Longest that tries go on; after that the job waits for its user.
        give_up: Seconds = Seconds(24 * 3_600),
    }
}
section! {
    /// `[stage_out]`: delivering outputs.
    StageOut {
        /// Most tries of one output that fails for a passing reason; after that it is parked.
        retries: Retries = Retries::Forever,
        /// Wait before the second try, and the longest wait between tries.
        backoff: Backoff = Backoff { first: Seconds(5), longest: Seconds(900) },
        /// Longest that tries go on; after that the output is parked.
        park_after: Seconds = Seconds(3_600),
        /// How long parked output is kept.
        keep_parked: Seconds = Seconds(30 * 86_400),
        /// How a reader of the destination knows that an output is complete.
        commit: Commit = Commit::ManifestLast,
    }
}

/// How outputs are committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Commit {
    /// Objects, then the manifest, then the marker.
    ManifestLast,
}

section! {
    /// `[flush]`: what happens to dirty data at the end of a job.
    Flush {
        /// Longest that Epilog waits for a node's data; the client daemon goes on with what is left then.
        epilog_budget: Seconds = Seconds(20),
    }
}

section! {
    /// `[node]`: compute nodes.
    Node {
        /// Where the filesystem is mounted.
        mount: PathBuf = "/mnt/forebay".into(),
        /// Longest that Prolog waits for the client daemon.
        prolog_budget: Seconds = Seconds(15),
    }
}
section! {
    /// `[notify]`: how users are told.
    Notify {
        /// Whether progress is written to the job's admin comment.
        admin_comment: bool = true,
    }
}
section! {
    /// `[paths]`: where Forebay is installed.
    Paths {
        /// Directory of `prolog` and `epilog`.
        libexec: PathBuf = "/usr/libexec/forebay".into(),
        /// The SPANK plugin.
        spank: PathBuf = "/usr/lib64/slurm/spank_forebay.so".into(),
        /// Directory of `forebay`, `forebayd`, `forebay-stagerd` and `forebay-client`.
        bin: PathBuf = "/usr/bin".into(),
    }
}
