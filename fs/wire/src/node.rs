//! Service *node*: Prolog, Epilog, SPANK plugin and `forebay local` to the client daemon of their node.
//!
//! Protocol: a unix stream socket (default [`DEFAULT_SOCKET`], root only); the caller writes one JSON object and a
//! newline, the daemon answers with one JSON object and a newline, and either side closes. JSON, because the callers
//! are short-lived and an admin can speak it with `socat`. Every request is idempotent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of this protocol; a daemon that speaks another answers [`NodeReply::Error`] naming both.
pub const VERSION: u32 = 1;
/// Where the daemon listens unless `site.toml` says otherwise (`[socket] node`).
pub const DEFAULT_SOCKET: &str = "/run/forebay/node.sock";
/// Where Prolog leaves one [`JobState`] file a job, `<job>.json`, for the SPANK plugin (root only, mode 0700).
pub const DEFAULT_JOB_DIR: &str = "/run/forebay/job";

/// What a caller sends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct NodeCall {
    /// [`VERSION`] of the caller.
    pub version: u32,
    /// What is asked.
    pub request: NodeRequest,
}

/// What can be asked of the node's client daemon.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum NodeRequest {
    /// Prolog: make the job's view usable on this node.
    Attach(Attach),
    /// Epilog: flush the job's dirty data of this node and end its attachment.
    Detach(Detach),
    /// Report what is mounted and attached.
    Status,
    /// End the daemon: flush, unmount, exit. With `force`, do not wait for the servers.
    Unmount {
        /// Unmount even when data cannot be flushed or files are open.
        force: bool,
    },
}

/// Prolog's question.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Attach {
    /// Slurm's job id (for a het job the leader's, for an array task its own).
    pub job: u32,
    /// `SLURM_JOB_RESTART_COUNT`: which attempt of the job this is, from 0.
    pub restart: u32,
    /// The job's user.
    pub uid: u32,
    /// The job's group.
    pub gid: u32,
    /// This node's name as Slurm knows it.
    pub node: String,
    /// All nodes of the job, expanded.
    pub nodes: Vec<String>,
    /// Longest time the answer may take, in milliseconds.
    pub budget_ms: u64,
}

/// Epilog's question.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Detach {
    /// Slurm's job id.
    pub job: u32,
    /// `SLURM_JOB_RESTART_COUNT`.
    pub restart: u32,
    /// This node's name as Slurm knows it.
    pub node: String,
    /// Longest time the answer may take, in milliseconds.
    pub budget_ms: u64,
}

/// Whose fault a failure is: it decides whether a job fails, is tried elsewhere, or a node is drained.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// The job's own: raised in SPANK `task_init`, never drains.
    User,
    /// Shared infrastructure: the job is tried again, never drains.
    Infra,
    /// Proven to be of this node alone.
    Node,
}

/// A failure that a person reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Fault {
    /// Whose fault.
    pub class: FaultClass,
    /// Stable code, as in `E-JOB-NOTREADY`.
    pub code: String,
    /// What is wrong and what to do, one line.
    pub text: String,
}

/// What the daemon answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum NodeReply {
    /// The job has no view: it carries no directives.
    NoView,
    /// The view is usable on this node.
    Attached {
        /// Absolute path of the view, as in `/mnt/forebay/job/4711`.
        view: String,
        /// Variables for the job's tasks (`FOREBAY_*`); no secrets.
        env: BTreeMap<String, String>,
    },
    /// The job's data of this node is flushed and its attachment ended (or there was none).
    Detached {
        /// Bytes that were still dirty and have been written.
        flushed_bytes: u64,
    },
    /// The request could not be met, and why.
    Failed(Fault),
    /// Answer to [`NodeRequest::Status`].
    Status(NodeStatus),
    /// The daemon unmounts.
    Unmounting,
    /// The call itself was wrong: malformed, or of another version.
    Error {
        /// What and how to mend it.
        text: String,
    },
}

/// State of a node's mount.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NodeStatus {
    /// Version of the client daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Where it is mounted.
    pub mountpoint: String,
    /// Name of the filesystem.
    pub filesystem: String,
    /// Cluster's name.
    pub cluster: String,
    /// Map epoch the client knows.
    pub epoch: u64,
    /// Jobs attached here.
    pub jobs: Vec<u32>,
    /// Bytes written by applications and not yet durable.
    pub dirty_bytes: u64,
    /// Hosts of the map that do not answer this client.
    pub unreachable_hosts: Vec<String>,
}

/// What Prolog leaves for SPANK in [`DEFAULT_JOB_DIR`]`/<job>.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct JobState {
    /// Attempt it is for.
    pub restart: u32,
    /// Path of the view; empty where there is none.
    pub view: String,
    /// Variables for the tasks.
    pub env: BTreeMap<String, String>,
    /// A failure SPANK raises in `task_init`.
    pub fault: Option<Fault>,
}
