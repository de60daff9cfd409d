//! What users ask of a record.

use forebay_wire::stager::Refusal;

use crate::core::Core;
use crate::core::effect::Effect;
use crate::core::ids::{JobKey, Millis};
use crate::core::plan::user_problem;
use crate::core::record::{OutputState, Record, Stage};
use crate::core::turn::Turn;

fn refusal(exit_code: u8, code: &str, text: String) -> Refusal {
    Refusal { exit_code, code: code.into(), text }
}

impl Core {
    /// Whether trying again makes sense for the record.
    pub fn may_retry(&self, record: &Record) -> Result<(), Refusal> {
        let job = record.key.job;
        if record.stage == Stage::New {
            let text = format!(
                "job {job}: its directives cannot be changed any more; scancel {job}, correct them, submit again"
            );
            return Err(refusal(2, "E-RETRY-SCRIPT", text));
        }
        let stuck_in = record.before_ready() && (record.blocked.is_some() || !record.retries.is_empty());
        let stuck_out = record.stage == Stage::Outgoing && (record.parked_ms.is_some() || !record.retries.is_empty());
        let lost = record.stage == Stage::Done
            && record.view
            && record.outputs.iter().any(|output| output.state == OutputState::Dropped);
        if stuck_in || stuck_out || lost {
            return Ok(());
        }
        Err(refusal(2, "E-RETRY-NOTHING", format!("job {job} has nothing to try again (it is {:?})", record.stage)))
    }

    /// Whether there is something to stop.
    pub fn may_cancel(&self, record: &Record) -> Result<(), Refusal> {
        if record.before_ready() || record.stage == Stage::Outgoing {
            return Ok(());
        }
        let job = record.key.job;
        let text =
            format!("job {job} is {:?}: no data is being moved for it; scancel {job} cancels the job", record.stage);
        Err(refusal(2, "E-CANCEL-NOTHING", text))
    }

    pub(super) fn retry(&mut self, now: Millis, key: &JobKey, effects: &mut Vec<Effect>) {
        if self.records.get(key).is_some_and(|record| self.may_retry(record).is_ok()) {
            self.touch(now, key, effects, |turn| turn.try_again());
        }
    }

    pub(super) fn cancel(&mut self, now: Millis, key: &JobKey, effects: &mut Vec<Effect>) {
        if self.records.get(key).is_some_and(|record| self.may_cancel(record).is_ok()) {
            self.touch(now, key, effects, |turn| turn.withdraw());
        }
    }
}

impl Turn<'_> {
    fn try_again(&mut self) {
        self.abandon();
        self.record.round += 1;
        if self.record.before_ready() {
            self.record.blocked = None;
            self.record.withdrawn = false;
            self.record.wait_since_ms = self.now;
            self.record.restage = true;
            return self.enter(Stage::Resolving);
        }
        let stuck = |state| matches!(state, OutputState::Parked | OutputState::Dropped);
        for output in self.record.outputs.iter_mut().filter(|output| stuck(output.state)) {
            output.state = OutputState::Selected;
            output.problem = None;
        }
        self.record.parked_ms = None;
        self.record.remove_at_ms = None;
        self.enter(Stage::Outgoing);
    }

    /// Stops what is moved for the job; what it wrote stays.
    fn withdraw(&mut self) {
        self.abandon();
        let job = self.record.key.job;
        let remedy = format!("forebay job retry {job} goes on, scancel {job} ends the job");
        if self.record.before_ready() {
            self.record.withdrawn = true;
            self.record.blocked.get_or_insert(user_problem("E-STAGE-CANCELLED", "staging was cancelled", remedy));
            return;
        }
        let moving = |state| state == OutputState::Selected;
        for output in self.record.outputs.iter_mut().filter(|output| moving(output.state)) {
            output.state = OutputState::Parked;
            output.problem = Some(user_problem("E-OUT-CANCELLED", "copying was cancelled", remedy.clone()));
        }
    }
}
