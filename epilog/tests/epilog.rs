//! The Epilog binary as slurmd runs it, against a stand-in for the daemon.

#[path = "../../prolog/hook/tests/fake_daemon/mod.rs"]
mod fake_daemon;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use fake_daemon::{Calls, line, listen};
use forebay_hook::{MAX_REPLY_BYTES, StateDir};
use forebay_wire::node::{Fault, FaultClass, JobState, NodeReply, NodeRequest};
use tempfile::TempDir;

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

    fn states(&self) -> StateDir {
        StateDir::new(self.dir.path().join("job"))
    }

    /// As Prolog of attempt `restart` leaves it.
    fn leave_state(&self, restart: u32) {
        let state = JobState { restart, view: "/mnt/forebay/job/43".to_owned(), env: BTreeMap::new(), fault: None };
        self.states().write(43, &state).unwrap();
    }

    fn epilog(&self, budget_ms: &str, env: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_forebay-epilog"))
            .args(["--site", "/nonexistent/site.toml", "--budget-ms", budget_ms, "--socket"])
            .arg(self.socket())
            .arg("--job-dir")
            .arg(self.dir.path().join("job"))
            .env_clear()
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    /// Runs Epilog of attempt 1 and expects it to succeed and to leave no state.
    fn succeeds(&self, budget_ms: &str) -> String {
        let output = self.epilog(budget_ms, ENV);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(self.states().read(43).unwrap(), None);
        String::from_utf8(output.stderr).unwrap()
    }
}

const ENV: &[(&str, &str)] = &[("SLURMD_NODENAME", "n1"), ("SLURM_JOB_ID", "43"), ("SLURM_JOB_RESTART_COUNT", "1")];

fn failed(class: FaultClass) -> NodeReply {
    NodeReply::Failed(Fault { class, code: "E-TEST".to_owned(), text: "what is wrong and what to do".to_owned() })
}

#[test]
fn detaches_and_removes_the_state_any_number_of_times() {
    let node = Node::new();
    let calls = node.daemon(line(&NodeReply::Detached { flushed_bytes: 7 }));
    node.leave_state(1);
    for _ in 0..3 {
        assert_eq!(node.succeeds("10000"), "");
        let NodeRequest::Detach(question) = calls.next() else { panic!("detach expected") };
        assert_eq!((question.job, question.restart, question.budget_ms), (43, 1, 9000));
        assert_eq!(question.node, "n1");
    }
}

#[test]
fn succeeds_where_there_is_nothing() {
    let node = Node::new();
    assert!(node.succeeds("10000").contains("no Forebay client"));
    node.leave_state(1);
    node.succeeds("10000");
    let output = node.epilog("10000", &[]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("SLURM_JOB_ID"));
}

#[test]
fn succeeds_whatever_the_daemon_does() {
    for (answer, budget_ms) in [
        (line(&NodeReply::NoView), "10000"),
        (line(&failed(FaultClass::User)), "10000"),
        (line(&failed(FaultClass::Infra)), "10000"),
        (line(&NodeReply::Unmounting), "10000"),
        (line(&NodeReply::Error { text: "version 2 spoken here".to_owned() }), "10000"),
        (Some(b"hello\n".to_vec()), "10000"),
        (Some(vec![b'x'; MAX_REPLY_BYTES * 2]), "10000"),
        (None, "200"),
    ] {
        let node = Node::new();
        node.daemon(answer);
        node.leave_state(0);
        node.succeeds(budget_ms);
    }
}

#[test]
fn a_fault_of_this_node_drains_with_one_line() {
    let node = Node::new();
    node.daemon(line(&failed(FaultClass::Node)));
    node.leave_state(1);
    let output = node.epilog("10000", ENV);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "forebay-epilog: job 43: E-TEST: what is wrong and what to do\n");
    assert_eq!(node.states().read(43).unwrap(), None);
}

#[test]
fn a_late_epilog_leaves_the_next_attempts_state() {
    let node = Node::new();
    node.daemon(line(&NodeReply::Detached { flushed_bytes: 0 }));
    node.leave_state(2);
    assert!(node.epilog("10000", ENV).status.success());
    assert_eq!(node.states().read(43).unwrap().unwrap().restart, 2);
}
