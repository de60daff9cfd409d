use super::*;
use crate::host::Context;
use forebay_wire::node::FaultClass;
use std::collections::BTreeMap;
use std::path::Path;

#[path = "../../prolog/hook/tests/fake_daemon/mod.rs"]
mod fake_daemon;

/// A Slurm program that remembers what was done to it.
pub struct Fake {
    pub context: Context,
    pub restart: u32,
    pub task: u32,
    pub env: BTreeMap<String, String>,
    pub registers: Result<(), i32>,
    pub sets: Result<(), i32>,
    pub panics: bool,
    pub forgotten: Vec<String>,
    pub told: Vec<String>,
    pub errors: Vec<String>,
}

impl Fake {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            restart: 1,
            task: 0,
            env: BTreeMap::new(),
            registers: Ok(()),
            sets: Ok(()),
            panics: false,
            forgotten: Vec::new(),
            told: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn with_directives() -> Self {
        let mut fake = Self::new(Context::Remote);
        fake.env.insert(DIRECTIVES.to_owned(), "1".to_owned());
        fake.env.insert("SLURM_JOB_NODELIST".to_owned(), "n[1-2]".to_owned());
        fake
    }
}

impl Host for Fake {
    fn context(&self) -> Context {
        self.context
    }
    fn job_id(&self) -> Option<u32> {
        assert!(!self.panics, "as a bug would");
        Some(43)
    }
    fn owner(&self) -> Option<(u32, u32)> {
        Some((2001, 2002))
    }
    fn restart(&self) -> Option<u32> {
        Some(self.restart)
    }
    fn local_task(&self) -> Option<u32> {
        Some(self.task)
    }
    fn machine(&self) -> String {
        "n1".to_owned()
    }
    fn getenv(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }
    fn setenv(&mut self, name: &str, value: &str) -> Result<(), i32> {
        self.env.insert(name.to_owned(), value.to_owned());
        self.sets
    }
    fn register_options(&mut self) -> Result<(), i32> {
        assert!(!self.panics, "as a bug would");
        self.registers
    }
    fn forget_own_env(&mut self, prefix: &str) {
        self.forgotten.push(prefix.to_owned());
    }
    fn tell_user(&mut self, line: &str) {
        self.told.push(line.to_owned());
    }
    fn log_error(&mut self, line: &str) {
        self.errors.push(line.to_owned());
    }
}

const NOTHING: Chosen = Chosen { spec: None, strict: false };
const STRICT: Chosen = Chosen { spec: None, strict: true };

fn spec() -> Chosen {
    Chosen { spec: Some("scratch".to_owned()), strict: false }
}

fn view() -> JobState {
    let env = [("FOREBAY_WORK", "/mnt/forebay/job/43/work"), ("LD_PRELOAD", "/evil.so")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    JobState { restart: 1, view: "/mnt/forebay/job/43".to_owned(), env, fault: None }
}

fn fault(class: FaultClass, code: &str) -> JobState {
    let fault = Fault { class, code: code.to_owned(), text: "the set is not there; mend it".to_owned() };
    JobState { view: String::new(), env: BTreeMap::new(), fault: Some(fault), ..view() }
}

/// A job directory with a state in it.
fn left(state: Option<&JobState>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    if let Some(state) = state {
        StateDir::new(dir.path().join("job")).write(43, state).unwrap();
    }
    dir
}

fn args(dir: &Path) -> PluginArgs {
    PluginArgs { job_dir: dir.join("job"), socket: dir.join("node.sock"), unknown: Vec::new() }
}

/// Prepares a task where there is a state, or none, and no daemon.
fn prepared(host: &mut Fake, state: Option<&JobState>, chosen: &Chosen) -> Result<(), Refused> {
    prepare(host, &args(left(state).path()), chosen)
}

/// Prepares a task where Prolog has left no answer and the daemon answers now; also, what is left in the end.
fn asked(host: &mut Fake, state: Option<&JobState>, reply: &NodeReply) -> (Result<(), Refused>, Option<JobState>) {
    let dir = left(state);
    let calls = fake_daemon::listen(&dir.path().join("node.sock"), fake_daemon::line(reply));
    let result = prepare(host, &args(dir.path()), &NOTHING);
    let NodeRequest::Attach(question) = calls.next() else { panic!("attach expected") };
    assert_eq!((question.job, question.restart, question.uid, question.gid), (43, 1, 2001, 2002));
    assert_eq!(question.nodes, ["n1", "n2"]);
    (result, StateDir::new(dir.path().join("job")).read(43).unwrap())
}

#[test]
fn a_view_gives_its_variables_and_no_others() {
    for chosen in [NOTHING, STRICT, spec()] {
        let mut host = Fake::new(Context::Remote);
        assert_eq!(prepared(&mut host, Some(&view()), &chosen), Ok(()));
        assert_eq!(host.env["FOREBAY_WORK"], "/mnt/forebay/job/43/work");
        assert!(!host.env.contains_key("LD_PRELOAD") && host.told.is_empty());
        assert_eq!(host.env.contains_key(DIRECTIVES), chosen.spec.is_some());
    }
}

#[test]
fn a_slurm_that_does_not_count_attempts_still_gets_the_view() {
    let mut host = Fake { restart: 0, ..Fake::with_directives() };
    assert_eq!(prepared(&mut host, Some(&view()), &NOTHING), Ok(()));
    assert_eq!(host.env["FOREBAY_WORK"], "/mnt/forebay/job/43/work");
}

#[test]
fn i6_a_job_with_directives_never_runs_without_its_view() {
    let empty = JobState { view: String::new(), ..view() };
    let other_attempt = JobState { restart: 0, ..view() };
    for (state, code) in
        [(None, "E-CLIENT-AWAY"), (Some(&other_attempt), "E-CLIENT-AWAY"), (Some(&empty), "E-JOB-NOVIEW")]
    {
        for (mut host, chosen) in [
            (Fake::with_directives(), NOTHING),
            (Fake::new(Context::Remote), spec()),
            (Fake::new(Context::Remote), STRICT),
        ] {
            assert_eq!(prepared(&mut host, state, &chosen), Err(Refused));
            assert!(host.told[0].contains(code) && host.told[0].contains("n1"), "{:?}", host.told);
        }
    }
    for state in [None, Some(&other_attempt)] {
        let mut host = Fake::new(Context::Remote);
        assert_eq!(prepared(&mut host, state, &NOTHING), Ok(()));
        assert!(host.told.is_empty() && !host.env.contains_key("FOREBAY_WORK"));
    }
}

#[test]
fn i3_the_daemon_is_asked_where_prolog_did_not_run() {
    let JobState { view: path, env, .. } = view();
    let mut host = Fake::with_directives();
    let attached = NodeReply::Attached { view: path, env };
    let away = fault(FaultClass::Infra, forebay_hook::CLIENT_AWAY);
    for left in [None, Some(&away)] {
        let (result, state) = asked(&mut host, left, &attached);
        assert_eq!((result, state), (Ok(()), Some(view())));
        assert_eq!(host.env["FOREBAY_WORK"], "/mnt/forebay/job/43/work");
    }

    let failed = NodeReply::Failed(fault(FaultClass::User, "E-IN-404").fault.unwrap());
    for (reply, code) in [(NodeReply::NoView, "E-JOB-NOVIEW"), (failed, "E-IN-404")] {
        let mut host = Fake::with_directives();
        assert_eq!(asked(&mut host, None, &reply), (Err(Refused), None));
        assert!(host.told[0].contains(code), "{:?}", host.told);
    }
}

#[test]
fn what_the_daemon_says_is_wrong_ends_the_job() {
    for class in [FaultClass::User, FaultClass::Infra, FaultClass::Node] {
        let mut host = Fake::new(Context::Remote);
        assert_eq!(prepared(&mut host, Some(&fault(class, "E-IN-404")), &NOTHING), Err(Refused));
        assert_eq!(host.told, ["forebay: E-IN-404: the set is not there; mend it"]);
    }
}

#[test]
fn an_outage_ends_only_jobs_that_use_forebay() {
    let away = fault(FaultClass::Infra, forebay_hook::CLIENT_AWAY);
    let mut host = Fake::new(Context::Remote);
    assert_eq!(prepared(&mut host, Some(&away), &NOTHING), Ok(()));
    assert_eq!(prepared(&mut host, Some(&away), &STRICT), Err(Refused));
    let mut host = Fake::with_directives();
    assert_eq!(prepared(&mut host, Some(&away), &NOTHING), Err(Refused));
}

#[test]
fn one_task_of_a_node_tells() {
    let mut host = Fake { task: 3, ..Fake::with_directives() };
    assert_eq!(prepared(&mut host, None, &NOTHING), Err(Refused));
    assert!(host.told.is_empty());
}

#[test]
fn an_unreadable_state_ends_only_jobs_that_use_forebay() {
    let dir = left(Some(&view()));
    std::fs::write(dir.path().join("job/43.json"), "{").unwrap();
    let mut host = Fake::new(Context::Remote);
    assert_eq!(prepare(&mut host, &args(dir.path()), &NOTHING), Ok(()));
    assert_eq!(host.errors.len(), 1);
    let mut host = Fake::with_directives();
    assert_eq!(prepare(&mut host, &args(dir.path()), &NOTHING), Err(Refused));
}

#[test]
fn a_variable_that_cannot_be_set_ends_the_job() {
    let mut host = Fake { sets: Err(3001), ..Fake::new(Context::Remote) };
    assert_eq!(prepared(&mut host, Some(&view()), &NOTHING), Err(Refused));
    assert!(host.told[0].contains("FOREBAY_WORK"));
}
