//! The Prolog binary as slurmd runs it, against a stand-in for the daemon.

#[path = "../hook/tests/fake_daemon/mod.rs"]
mod fake_daemon;

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Output};

use fake_daemon::{Calls, line, listen};
use forebay_hook::{CLIENT_AWAY, CLIENT_LATE, CLIENT_REPLY, HOOK_ENV, MAX_REPLY_BYTES, StateDir};
use forebay_wire::node::{Fault, FaultClass, JobState, NodeReply, NodeRequest};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use tempfile::TempDir;

const ENV: &[(&str, &str)] = &[
    ("SLURMD_NODENAME", "n1"),
    ("SLURM_JOB_ID", "43"),
    ("SLURM_JOB_UID", "2001"),
    ("SLURM_JOB_GID", "2002"),
    ("SLURM_JOB_RESTART_COUNT", "1"),
    ("SLURM_NODELIST", "n[1-2]"),
    // Users reach these: they must change nothing.
    ("SPANK_FOREBAY_SOCKET", "/tmp/evil.sock"),
    ("FOREBAY_SOCKET", "/tmp/evil.sock"),
];

struct Node {
    dir: TempDir,
}

impl Node {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("node.sock")
    }

    fn daemon(&self, answer: Option<Vec<u8>>) -> Calls {
        listen(&self.socket(), answer)
    }

    fn prolog(&self, budget_ms: &str, without: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_forebay-prolog"))
            .args(["--site", "/nonexistent/site.toml", "--budget-ms", budget_ms, "--socket"])
            .arg(self.socket())
            .arg("--job-dir")
            .arg(self.dir.path().join("job"))
            .env_clear()
            .envs(ENV.iter().filter(|(name, _)| !without.contains(name)).copied())
            .output()
            .unwrap()
    }

    /// Runs Prolog and expects it to let the job go.
    fn goes(&self, budget_ms: &str) {
        let output = self.prolog(budget_ms, &[]);
        assert!(output.status.success(), "{output:?}");
    }

    fn state(&self) -> Option<JobState> {
        StateDir::new(self.dir.path().join("job")).read(43).unwrap()
    }

    fn fault_code(&self) -> String {
        let fault = self.state().unwrap().fault.unwrap();
        assert_eq!(fault.class, FaultClass::Infra);
        assert!(fault.text.contains("n1"), "{}", fault.text);
        fault.code
    }
}

fn attached() -> NodeReply {
    let env = BTreeMap::from([("FOREBAY_WORK".to_owned(), "/mnt/forebay/job/43/work".to_owned())]);
    NodeReply::Attached { view: "/mnt/forebay/job/43".to_owned(), env }
}

fn failed(class: FaultClass) -> NodeReply {
    NodeReply::Failed(Fault { class, code: "E-TEST".to_owned(), text: "what is wrong and what to do".to_owned() })
}

#[test]
fn attached_leaves_view_and_environment() {
    let node = Node::new();
    let calls = node.daemon(line(&attached()));
    // Twice: Slurm may run it any number of times.
    for _ in 0..2 {
        node.goes("10000");
        let NodeRequest::Attach(question) = calls.next() else { panic!("attach expected") };
        assert_eq!((question.job, question.restart, question.uid, question.gid), (43, 1, 2001, 2002));
        assert_eq!((question.node.as_str(), question.budget_ms), ("n1", 9000));
        assert_eq!(question.nodes, ["n1", "n2"]);
        let state = node.state().unwrap();
        assert_eq!((state.restart, state.view.as_str(), &state.fault), (1, "/mnt/forebay/job/43", &None));
        assert_eq!(state.env["FOREBAY_WORK"], "/mnt/forebay/job/43/work");
    }
}

#[test]
fn no_view_leaves_nothing_and_takes_away_what_is_stale() {
    let node = Node::new();
    node.daemon(line(&NodeReply::NoView));
    node.goes("10000");
    assert_eq!(node.state(), None);
    assert!(!node.dir.path().join("job").exists());
    let stale = JobState { restart: 0, view: "/old".to_owned(), env: BTreeMap::new(), fault: None };
    StateDir::new(node.dir.path().join("job")).write(43, &stale).unwrap();
    node.goes("10000");
    assert_eq!(node.state(), None);
}

#[test]
fn a_users_fault_or_a_shared_one_never_drains() {
    for class in [FaultClass::User, FaultClass::Infra] {
        let node = Node::new();
        node.daemon(line(&failed(class)));
        node.goes("10000");
        let state = node.state().unwrap();
        assert_eq!(NodeReply::Failed(state.fault.unwrap()), failed(class));
        assert_eq!((state.restart, state.view.as_str()), (1, ""));
    }
}

#[test]
fn a_fault_of_this_node_drains_with_one_line() {
    let node = Node::new();
    node.daemon(line(&failed(FaultClass::Node)));
    let output = node.prolog("10000", &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "forebay-prolog: job 43: E-TEST: what is wrong and what to do\n");
}

#[test]
fn a_daemon_that_is_away_or_silent_is_a_shared_fault() {
    let node = Node::new();
    node.goes("10000");
    assert_eq!(node.fault_code(), CLIENT_AWAY);

    let node = Node::new();
    drop(std::os::unix::net::UnixListener::bind(node.socket()).unwrap());
    node.goes("10000");
    assert_eq!(node.fault_code(), CLIENT_AWAY);

    let node = Node::new();
    node.daemon(None);
    node.goes("200");
    assert_eq!(node.fault_code(), CLIENT_LATE);

    // Nobody accepts: the call itself goes through and the answer never comes.
    let node = Node::new();
    let _listener = std::os::unix::net::UnixListener::bind(node.socket()).unwrap();
    node.goes("200");
    assert_eq!(node.fault_code(), CLIENT_LATE);
}

#[test]
fn a_full_backlog_is_a_late_daemon() {
    let node = Node::new();
    let _listener = std::os::unix::net::UnixListener::bind(node.socket()).unwrap();
    let address = UnixAddr::new(&node.socket()).unwrap();
    // The length of the backlog is the kernel's affair: connect without waiting until it says that it is full.
    let mut waiting = Vec::new();
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        match socket::connect(fd.as_raw_fd(), &address) {
            Ok(()) => waiting.push(fd),
            Err(error) => break assert_eq!(error, nix::Error::EAGAIN),
        }
    }
    node.goes("200");
    assert_eq!(node.fault_code(), CLIENT_LATE);
}

#[test]
fn nonsense_is_a_shared_fault() {
    let mut oversized = vec![b' '; MAX_REPLY_BYTES + 1];
    oversized.push(b'\n');
    for answer in [
        b"hello\n".to_vec(),
        b"{\"attached\":{\"view\":\"/x\"".to_vec(),
        Vec::new(),
        vec![b'{'; 1 << 22],
        oversized,
        line(&NodeReply::Unmounting).unwrap(),
        line(&NodeReply::Error { text: "version 2 spoken here".to_owned() }).unwrap(),
    ] {
        let node = Node::new();
        node.daemon(Some(answer));
        node.goes("10000");
        assert_eq!(node.fault_code(), CLIENT_REPLY);
    }
}

#[test]
fn an_environment_without_something_is_a_shared_fault_or_a_line() {
    for missing in ["SLURM_JOB_UID", "SLURM_JOB_GID", "SLURM_NODELIST"] {
        let node = Node::new();
        let output = node.prolog("10000", &[missing]);
        assert!(output.status.success());
        assert_eq!(node.fault_code(), HOOK_ENV);
        assert!(String::from_utf8(output.stderr).unwrap().contains(missing));
    }
    let node = Node::new();
    assert!(node.prolog("10000", &["SLURMD_NODENAME"]).status.success());
    assert_eq!(node.state().unwrap().fault.unwrap().code, HOOK_ENV);

    let node = Node::new();
    let output = node.prolog("10000", &["SLURM_JOB_ID"]);
    assert!(output.status.success() && !node.dir.path().join("job").exists());
    assert!(String::from_utf8(output.stderr).unwrap().contains("SLURM_JOB_ID"));
}

#[test]
fn a_state_that_cannot_be_written_does_not_drain() {
    let node = Node::new();
    node.daemon(line(&attached()));
    std::fs::write(node.dir.path().join("job"), "in the way").unwrap();
    let output = node.prolog("10000", &[]);
    assert!(output.status.success());
    assert!(!output.stderr.is_empty());
}
