//! The staging state machine: pure, synchronous, knows no I/O, clock or randomness.
//!
//! Protocol: the shell calls [`Core::step`] with one [`Input`] at a time, makes the journal effects durable, performs
//! the others (in any order) and brings every answer back as an input. An effect may happen any number of times until
//! its answer is brought back, and never after: what undoes it is asked for only once it is no longer under way.
//! [`Core::recover`] starts from the journal; every effect that was under way is asked for again.
//!
//! Invariants, checked after each step in debug builds ([`Core::check_invariants`]): a job is released only once its
//! nodes may attach it; nothing of a job that had nodes is removed before its selected outputs are settled and its
//! scratch has expired; at most [`Policy::max_transfers`] transfers are under way.

mod actions;
mod answers;
mod attach;
mod comment;
mod effect;
mod ids;
mod live;
mod plan;
mod policy;
mod record;
mod release;
mod requests;
mod run;
mod slurm_job;
mod snapshot;
mod stage_in;
mod stage_out;
mod status;
mod turn;

use std::collections::BTreeMap;

use forebay_wire::stager::{JobReport, JobStatus};
use forebay_wire::tier::Progress;

pub use actions::{MANIFEST, export_prefix};
pub use attach::{AttachDocument, environment};
pub use comment::{MAX_CHARS as COMMENT_MAX_CHARS, merge as merge_comment, short_size};
pub use effect::{
    Action, Answer, ControlFile, Effect, EffectId, Failure, InputLink, JobRef, NodeMark, Probed, ScratchDir, Slot,
    ViewSpec, Work,
};
pub use ids::{JobKey, Millis, TaskKind, dataset_id, task_id};
pub use plan::{MARK, read_directives, substitutions, user_problem};
pub use policy::Policy;
pub use record::{InputRecord, NodeRecord, OutputRecord, OutputState, RECORD_VERSION, Record, Retry, Stage};
pub use slurm_job::{Ending, SlurmJob, SlurmState};
pub use stage_out::selects;

use live::Live;
use turn::Turn;

/// What happens to the core.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// All jobs Slurm lists.
    Snapshot(Vec<SlurmJob>),
    /// An effect is done.
    Done(EffectId, Answer),
    /// An effect failed.
    Failed(EffectId, Failure),
    /// A task has come further.
    Progress(EffectId, Progress),
    /// A user asks to try again; see [`Core::may_retry`].
    Retry(JobKey),
    /// A user asks to stop; see [`Core::may_cancel`].
    Cancel(JobKey),
    /// Time has passed.
    Tick,
}

/// The state machine.
pub struct Core {
    policy: Policy,
    records: BTreeMap<JobKey, Record>,
    by_job: BTreeMap<u32, JobKey>,
    live: Live,
}

impl Core {
    /// A core without jobs.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, records: BTreeMap::new(), by_job: BTreeMap::new(), live: Live::default() }
    }

    /// A core that goes on from these records; follow with [`Input::Tick`].
    #[must_use]
    pub fn recover(policy: Policy, records: Vec<Record>, now: Millis) -> Self {
        let mut core = Self::new(policy);
        for record in records {
            let key = record.key.clone();
            let newest = core.by_job.get(&key.job).is_none_or(|other| other.submit_s <= key.submit_s);
            if newest {
                core.by_job.insert(key.job, key.clone());
            }
            core.live.set_wake(&key, Some(now));
            core.records.insert(key, record);
        }
        core
    }

    /// Takes in one input.
    pub fn step(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        match input {
            Input::Snapshot(jobs) => self.take_snapshot(now, jobs, &mut out),
            Input::Done(id, answer) => self.take_answer(now, id, Ok(answer), &mut out),
            Input::Failed(id, failure) => self.take_answer(now, id, Err(failure), &mut out),
            Input::Progress(id, progress) => self.take_progress(now, &id, progress, &mut out),
            Input::Retry(key) => self.retry(now, &key, &mut out),
            Input::Cancel(key) => self.cancel(now, &key, &mut out),
            Input::Tick => {}
        }
        for key in self.live.due(now) {
            self.touch(now, &key, &mut out, |_| {});
        }
        self.start_transfers(now, &mut out);
        let (journal, rest): (Vec<_>, Vec<_>) =
            out.into_iter().partition(|effect| matches!(effect, Effect::Journal(_) | Effect::Forget(_)));
        effects.extend(journal);
        effects.extend(rest);
        #[cfg(debug_assertions)]
        self.check_invariants();
    }

    /// When [`Input::Tick`] is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.live.next_wake()
    }

    /// Changes a record and does everything that follows; the journal gets it if it is another than before.
    fn touch(&mut self, now: Millis, key: &JobKey, effects: &mut Vec<Effect>, change: impl FnOnce(&mut Turn<'_>)) {
        let Some(record) = self.records.get_mut(key) else { return };
        let before = record.clone();
        let first = effects.len();
        let mut turn = Turn { now, policy: &self.policy, record, live: &mut self.live, effects, wake: None };
        change(&mut turn);
        turn.drive();
        if turn.record.stage != Stage::Staging {
            turn.live.rate_from.remove(key);
        }
        let changed = (*turn.record != before).then(|| Effect::Journal(Box::new(turn.record.clone())));
        effects.extend(changed);
        if effects[first..].iter().any(|effect| matches!(effect, Effect::Forget(_))) {
            self.records.remove(key);
            self.live.forget(key);
            if self.by_job.get(&key.job) == Some(key) {
                self.by_job.remove(&key.job);
            }
        }
    }

    /// Gives free transfer slots to those whose turn it is.
    fn start_transfers(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        while self.live.transfers.len() < self.policy.max_transfers {
            let Some((key, slot)) = self.live.next_transfer() else { return };
            let queued = self.live.queue.remove(&(key.clone(), slot));
            let Some(record) = self.records.get_mut(&key) else { continue };
            let mut turn = Turn { now, policy: &self.policy, record, live: &mut self.live, effects, wake: None };
            turn.perform(slot);
            if let (true, Some((_, uid))) = (self.live.runs(&key, slot), queued) {
                self.live.transfers.insert((key, slot), uid);
            }
        }
    }

    /// The newest record of a job id.
    #[must_use]
    pub fn find(&self, job: u32) -> Option<&Record> {
        self.by_job.get(&job).and_then(|key| self.records.get(key))
    }

    /// Every record.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// A record as `forebay job status` shows it.
    #[must_use]
    pub fn status(&self, record: &Record, now: Millis) -> JobStatus {
        status::job_status(record, &self.live, &self.policy, now)
    }

    /// A record's report.
    #[must_use]
    pub fn report(&self, record: &Record, now: Millis) -> JobReport {
        status::report(record, &self.live, &self.policy, now)
    }

    /// Panics where the core has broken its own rules.
    pub fn check_invariants(&self) {
        assert!(
            self.live.transfers.len() <= self.policy.max_transfers,
            "{} transfers under way, at most {} may be",
            self.live.transfers.len(),
            self.policy.max_transfers
        );
        for id in self.live.transfers.keys() {
            assert!(self.live.in_flight.contains_key(id), "{id:?} counts as a transfer but is not under way");
        }
        for (key, record) in &self.records {
            assert!(key == &record.key, "record {key} carries the key {}", record.key);
            if self.live.runs(key, Slot::Remove) {
                record.assert_removable();
            }
        }
    }
}

impl Record {
    /// I1: nothing a job wrote goes before its outputs are settled.
    fn assert_removable(&self) {
        let settled = |state| !matches!(state, OutputState::Selected | OutputState::Parked);
        assert!(
            matches!(self.stage, Stage::Done | Stage::Cancelling | Stage::Closed),
            "{} is removed while it is {:?}",
            self.key,
            self.stage
        );
        assert!(self.outputs.iter().all(|output| settled(output.state)), "{} is removed with outputs to go", self.key);
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod order_tests;
#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
#[cfg(test)]
mod world;
