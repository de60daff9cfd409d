//! A model of Slurm, the filesystem and a cold tier for tests: performs effects at any time, any number of times, and
//! checks at each what the contract promises.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{InodeId, TierId, Uuid};
use forebay_wire::node::FaultClass;
use forebay_wire::tier::{Progress, TaskState};

use super::*;

/// What becomes of an effect that is performed. It may happen any number of times, but only until its answer has been
/// taken in: had it happened after that, the removal of one attempt's view could hit the next attempt's.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Its answer comes.
    Answered,
    /// Its answer comes twice.
    AnsweredTwice,
    /// It is still under way, and happens again.
    Again,
    /// The daemon dies before the answer comes.
    Lost,
}

pub struct World {
    pub core: Core,
    pub policy: Policy,
    pub now: Millis,
    pub journal: BTreeMap<JobKey, Record>,
    pub pending: Vec<(EffectId, Action)>,
    pub stopped: Vec<EffectId>,
    pub jobs: BTreeMap<u32, SlurmJob>,
    pub scripts: BTreeMap<u32, String>,
    pub sources: BTreeSet<String>,
    pub store_down: bool,
    pub nothing_written: bool,
    pub attach: BTreeMap<u32, AttachDocument>,
    pub nodes: BTreeMap<(u32, u32), Vec<NodeMark>>,
    pub views: BTreeSet<u32>,
    pub holds: BTreeSet<(Uuid, u32)>,
    pub exported: Vec<(u32, String)>,
    pub released: Vec<u32>,
    pub comments: Vec<(u32, String)>,
    /// Jobs whose user wrote into the scratch, with what the user wants out and has not got.
    pub owed: BTreeMap<u32, BTreeSet<String>>,
}

pub const SCRIPT: &str = "#!/bin/sh\n#FOREBAY in s3://b/data/ as=data\n#FOREBAY scratch\n\
    #FOREBAY out work:res/ s3://b/out/%j/\n";

pub fn policy() -> Policy {
    Policy { cluster: "lab".into(), max_transfers: 2, ..Policy::default() }
}

pub fn finished(files: u64, bytes: u64) -> Progress {
    Progress {
        version: 1,
        state: TaskState::Done,
        files,
        done_files: files,
        bytes,
        done_bytes: bytes,
        moved_bytes: bytes,
    }
}

pub fn infra() -> Failure {
    let (text, remedy) = ("store down".into(), "wait".into());
    Failure { code: "E-INFRA-STORE".into(), class: FaultClass::Infra, text, remedy, line: 0, column: 0 }
}

impl World {
    pub fn new() -> Self {
        Self::with(policy())
    }

    pub fn with(policy: Policy) -> Self {
        Self {
            core: Core::new(policy.clone()),
            policy,
            now: 1_000_000,
            journal: BTreeMap::new(),
            pending: vec![],
            stopped: vec![],
            jobs: BTreeMap::new(),
            scripts: BTreeMap::new(),
            sources: BTreeSet::from(["s3://b/data/".to_owned()]),
            store_down: false,
            nothing_written: false,
            attach: BTreeMap::new(),
            nodes: BTreeMap::new(),
            views: BTreeSet::new(),
            holds: BTreeSet::new(),
            exported: vec![],
            released: vec![],
            comments: vec![],
            owed: BTreeMap::new(),
        }
    }

    pub fn submit(&mut self, job: u32, script: &str) {
        self.scripts.insert(job, script.to_owned());
        let entry = SlurmJob {
            job,
            submit_s: 100 + u64::from(job),
            uid: 1000 + job % 2,
            gid: 1000,
            batch: true,
            held: true,
            name: "train".into(),
            admin_comment: forebay_directive::mark::COMMENT_WAITING.into(),
            ..SlurmJob::default()
        };
        self.jobs.insert(job, entry);
    }

    pub fn input(&mut self, input: Input) {
        let mut effects = vec![];
        self.core.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Journal(record) => {
                    self.journal.insert(record.key.clone(), *record);
                }
                Effect::Forget(key) => {
                    self.journal.remove(&key);
                }
                Effect::Perform { id, action } => self.pending.push((id, *action)),
                Effect::CancelTask(id) => self.stopped.push(id),
            }
        }
    }

    pub fn list(&mut self) {
        let jobs = self.jobs.values().cloned().collect();
        self.input(Input::Snapshot(jobs));
    }

    /// The daemon dies; what it had asked for and not done is lost.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.stopped.clear();
        // Through the journal's own format, as a restart does.
        let stored = self.journal.values().map(|record| serde_json::to_vec(record).unwrap());
        let records: Vec<Record> = stored.map(|json| serde_json::from_slice(&json).unwrap()).collect();
        self.core = Core::recover(self.policy.clone(), records, self.now);
        self.input(Input::Tick);
    }

    /// Performs one effect.
    pub fn perform(&mut self, index: usize, then: Then) {
        let (id, action) = self.pending[index].clone();
        let answer = match self.act(&id, action) {
            Ok(answer) => Input::Done(id, answer),
            Err(problem) => Input::Failed(id, problem),
        };
        if matches!(then, Then::Again) {
            return;
        }
        self.pending.remove(index);
        match then {
            Then::Lost => self.restart(),
            Then::AnsweredTwice => {
                self.input(answer.clone());
                self.input(answer);
            }
            _ => self.input(answer),
        }
    }

    /// Lets everything happen until nothing more does.
    pub fn settle(&mut self) {
        for _ in 0..500 {
            self.list();
            while !self.pending.is_empty() {
                self.perform(0, Then::Answered);
            }
            self.now += 1_000;
            self.input(Input::Tick);
        }
    }

    pub fn start(&mut self, job: u32) {
        let entry = self.jobs.get_mut(&job).unwrap();
        entry.state = SlurmState::Running;
        entry.nodes = "n[1-2]".into();
        let restart = entry.restart;
        let may = self.attach.get(&job).is_some_and(|doc| doc.ready && doc.restart == restart);
        if may {
            let mark = |node: &str| NodeMark { node: node.into(), detached: false };
            self.nodes.insert((job, restart), vec![mark("n1"), mark("n2")]);
            self.owed.entry(job).or_default();
        }
        self.list();
    }

    pub fn detach(&mut self, job: u32) {
        for ((of, _), marks) in &mut self.nodes {
            if *of == job {
                marks.iter_mut().for_each(|mark| mark.detached = true);
            }
        }
    }

    pub fn end(&mut self, job: u32, state: SlurmState) {
        let entry = self.jobs.get_mut(&job).unwrap();
        entry.state = state;
        let ran = self.owed.contains_key(&job);
        let ending = state.ending().unwrap();
        if let Some(record) = self.core.find(job).filter(|_| ran) {
            let due = record.outputs.iter().filter(|output| selects(output.when, ending));
            self.owed.insert(job, due.map(|output| output.path.clone()).collect());
        }
        self.detach(job);
        self.list();
    }

    pub fn requeue(&mut self, job: u32) {
        let entry = self.jobs.get_mut(&job).unwrap();
        entry.state = SlurmState::Pending;
        entry.restart += 1;
        entry.submit_s += 1_000;
        entry.nodes.clear();
        self.detach(job);
        self.list();
    }

    pub fn phase(&self, job: u32) -> forebay_wire::stager::JobPhase {
        self.core.find(job).unwrap().phase()
    }

    pub fn comment(&self, job: u32) -> String {
        self.comments.iter().rev().find(|(of, _)| *of == job).map(|(_, text)| text.clone()).unwrap_or_default()
    }

    fn entry(&mut self, reference: &JobRef) -> Option<&mut SlurmJob> {
        self.jobs.get_mut(&reference.0.parse().ok()?)
    }

    fn act(&mut self, id: &EffectId, action: Action) -> Result<Answer, Failure> {
        match action {
            Action::FetchScript(job) => Ok(Answer::Script(self.scripts.get(&job.job).cloned())),
            Action::Probe { uri, write, .. } => self.probe(&uri, write),
            Action::Dataset { dataset, job, .. } => {
                self.holds.insert((dataset, job));
                Ok(Answer::Dataset(InodeId(u64::from_le_bytes(dataset.0[..8].try_into().unwrap()))))
            }
            Action::CreateView(view) => {
                self.views.insert(view.job);
                Ok(Answer::Done)
            }
            Action::Run { job, work, .. } => self.run(id, job, work),
            Action::Control { job, file, json } => {
                if file == ControlFile::Attach && self.views.contains(&job) {
                    self.attach.insert(job, serde_json::from_str(&json).unwrap());
                }
                Ok(Answer::Done)
            }
            Action::Release(job) => {
                let id: u32 = job.0.parse().unwrap();
                let document = self.attach.get(&id).expect("released without a view");
                assert!(document.view.ends_with(&format!("/job/{id}")));
                self.released.push(id);
                if let Some(entry) = self.entry(&job) {
                    entry.held = false;
                }
                Ok(Answer::Done)
            }
            Action::Hold(job) => {
                if let Some(entry) = self.entry(&job) {
                    entry.held = entry.state == SlurmState::Pending;
                }
                Ok(Answer::Done)
            }
            Action::CancelJob(job) => {
                if let Some(entry) = self.entry(&job) {
                    entry.state = SlurmState::Cancelled;
                }
                Ok(Answer::Done)
            }
            Action::Comment { job, text } => {
                assert!(text.chars().count() <= 300, "{text}");
                self.comments.push((job.0.parse().unwrap(), text.clone()));
                if let Some(entry) = self.entry(&job) {
                    entry.admin_comment = text;
                }
                Ok(Answer::Done)
            }
            Action::ReadNodes { job, restart } => {
                Ok(Answer::Nodes(self.nodes.get(&(job, restart)).cloned().unwrap_or_default()))
            }
            Action::DropHold { dataset, job } => {
                self.holds.remove(&(dataset, job));
                Ok(Answer::Done)
            }
            Action::SplitArray { .. } => Ok(Answer::Done),
        }
    }

    fn probe(&self, uri: &str, write: bool) -> Result<Answer, Failure> {
        if self.store_down {
            return Err(infra());
        }
        if !write && !self.sources.contains(uri) {
            return Err(user_problem("E-IN-404", format!("{uri} does not exist"), "make it"));
        }
        let (tier, prefix) = (TierId(1), uri.trim_start_matches("s3://b/").to_owned());
        Ok(Answer::Probed(Probed { tier, prefix, file: None, files: 10, bytes: 1000, pin: "p".into() }))
    }

    fn run(&mut self, id: &EffectId, job: u32, work: Work) -> Result<Answer, Failure> {
        if self.store_down && work != Work::RemoveView {
            return Err(infra());
        }
        match work {
            Work::Import { .. } | Work::Recall { .. } => Ok(Answer::Finished(finished(10, 1000))),
            Work::Export { path, .. } => {
                assert!(self.views.contains(&job), "export of {job} after its removal");
                if self.nothing_written {
                    if let Some(owed) = self.owed.get_mut(&job) {
                        owed.clear();
                    }
                    return Ok(Answer::NothingThere);
                }
                if let Some(owed) = self.owed.get_mut(&job) {
                    owed.retain(|of| path != format!("work/{}", of.trim_end_matches('/')));
                }
                self.exported.push((job, path));
                Ok(Answer::Finished(finished(3, 30)))
            }
            Work::RemoveView => {
                let owed = self.owed.get(&job).map_or(0, BTreeSet::len);
                assert_eq!(owed, 0, "I1: {} removes what the user has not got: {:?}", id.key, self.owed[&job]);
                self.views.remove(&job);
                self.attach.remove(&job);
                Ok(Answer::Done)
            }
        }
    }
}
