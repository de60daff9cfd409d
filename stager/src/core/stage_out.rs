//! From a job that has ended to outputs delivered or parked.

use forebay_directive::When;
use forebay_wire::stager::Problem;

use crate::core::effect::Slot;
use crate::core::plan::user_problem;
use crate::core::record::{OutputState, Stage};
use crate::core::slurm_job::Ending;
use crate::core::turn::Turn;

/// Whether an output is copied after this end of its job.
#[must_use]
pub fn selects(when: When, ending: Ending) -> bool {
    match when {
        When::Always => ending != Ending::Requeue,
        When::Success => ending == Ending::Success,
        When::Fail => matches!(ending, Ending::Fail | Ending::Cancelled | Ending::Unknown),
        When::Timeout => ending == Ending::Timeout,
        When::Requeue => ending == Ending::Requeue,
    }
}

impl Turn<'_> {
    /// Selects outputs by how the attempt ended.
    pub(super) fn sealed(&mut self) {
        let ending = self.record.ending.unwrap_or(Ending::Unknown);
        let has_view = self.record.view;
        for output in &mut self.record.outputs {
            let chosen = has_view && output.probed.is_some() && selects(output.when, ending);
            output.state = if chosen { OutputState::Selected } else { OutputState::Skipped };
        }
        self.enter(Stage::Outgoing);
    }

    pub(super) fn outgoing(&mut self) {
        for index in 0..self.record.outputs.len() {
            if self.record.outputs[index].state == OutputState::Selected {
                self.want(Slot::Export(index as u32));
            }
        }
        if self.record.outputs.iter().any(|output| output.state == OutputState::Selected) {
            self.record.parked_ms = None;
            return;
        }
        if self.record.outputs.iter().any(|output| output.state == OutputState::Parked) {
            let since = *self.record.parked_ms.get_or_insert(self.now);
            let over_at = since.saturating_add(self.policy.keep_parked_ms);
            if self.now < over_at {
                return self.wake_at(over_at);
            }
            for output in self.record.outputs.iter_mut().filter(|output| output.state == OutputState::Parked) {
                output.state = OutputState::Dropped;
            }
        }
        self.record.parked_ms = None;
        match self.record.next_attempt {
            Some(next) => self.begin_attempt(next),
            None => self.finish(),
        }
    }

    /// Everything asked for is done: decides how long the scratch stays.
    fn finish(&mut self) {
        let delivered = |state| matches!(state, OutputState::Committed | OutputState::Nothing);
        let record = &self.record;
        let all_out = !record.outputs.is_empty() && record.outputs.iter().all(|output| delivered(output.state));
        let keep_ms = if record.ending == Some(Ending::Unknown) {
            record.keep_s.saturating_mul(1000).max(self.policy.keep_parked_ms)
        } else if all_out && !record.keep_claimed {
            0
        } else {
            record.keep_s.saturating_mul(1000)
        };
        self.record.remove_at_ms = Some(self.now.saturating_add(keep_ms));
        self.record.retries.clear();
        self.enter(Stage::Done);
    }

    /// An output cannot be delivered without somebody mending something.
    pub(super) fn output_refused(&mut self, index: u32, problem: Problem) {
        if let Some(output) = self.record.outputs.get_mut(index as usize) {
            output.state = if output.required { OutputState::Parked } else { OutputState::Dropped };
            output.problem = Some(problem);
        }
    }

    /// The job left nothing at an output's path.
    pub(super) fn output_nothing(&mut self, index: u32) {
        if let Some(output) = self.record.outputs.get_mut(index as usize) {
            let text = format!("{}:{} does not exist", output.scratch, output.path);
            output.problem = Some(user_problem("E-OUT-NOPATH", text, "check where the job writes its results"));
            output.state = OutputState::Nothing;
        }
    }
}
