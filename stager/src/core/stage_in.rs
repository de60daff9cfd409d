//! From a record to inputs that are there: resolving, admitted, staging, ready.

use forebay_directive::OnError;
use forebay_wire::stager::Problem;

use crate::core::effect::Slot;
use crate::core::ids::dataset_id;
use crate::core::plan::user_problem;
use crate::core::record::Stage;
use crate::core::turn::Turn;

impl Turn<'_> {
    /// Whether staging rests until the user does something; also enforces the longest wait.
    fn rests(&mut self) -> bool {
        if self.record.withdrawn {
            for index in 0..self.record.inputs.len() as u32 {
                self.want_drop(index);
            }
        }
        if self.record.restage && !self.drop_for_restage() {
            return true;
        }
        if self.record.blocked.is_some() {
            if self.record.on_error == OnError::Cancel && !self.record.withdrawn {
                self.want(Slot::CancelJob);
            }
            return true;
        }
        let late_at = self.record.wait_since_ms.saturating_add(self.record.wait_ms);
        if self.now < late_at {
            self.wake_at(late_at);
            return false;
        }
        let text = format!("data was not there after {} s", self.record.wait_ms / 1000);
        let remedy = format!("forebay job retry {} waits as long again", self.record.key.job);
        self.input_refused(Slot::View, user_problem("E-STAGE-LATE", text, remedy));
        self.record.blocked.is_some()
    }

    /// Drops the holds of what was staged before, and forgets it once that is done.
    fn drop_for_restage(&mut self) -> bool {
        for index in 0..self.record.inputs.len() as u32 {
            self.want_drop(index);
        }
        if self.record.inputs.iter().any(|input| input.dataset.is_some() && !input.dropped) {
            return false;
        }
        self.record.restage = false;
        self.reset_inputs();
        true
    }

    /// Something the job waits for cannot be had.
    pub fn input_refused(&mut self, slot: Slot, problem: Problem) {
        if self.record.on_error != OnError::Start {
            self.record.blocked = Some(problem);
            return;
        }
        let index = match slot {
            Slot::Probe(index) | Slot::Dataset(index) | Slot::Import(index) | Slot::Recall(index) => Some(index),
            _ => None,
        };
        match index.and_then(|index| self.record.inputs.get_mut(index as usize)) {
            Some(input) => input.skipped = Some(problem),
            None if problem.code == "E-STAGE-LATE" => {
                for input in self.record.inputs.iter_mut().filter(|input| !input.hot) {
                    input.wait_hot = false;
                    input.skipped = input.imported.is_none().then(|| problem.clone());
                }
                self.record.wait_ms = u64::MAX;
            }
            None => self.record.blocked = Some(problem),
        }
    }

    pub(super) fn resolving(&mut self) {
        if self.rests() {
            return;
        }
        for index in 0..self.record.inputs.len() {
            let input = &self.record.inputs[index];
            if input.probed.is_none() && input.skipped.is_none() {
                self.want(Slot::Probe(index as u32));
            }
        }
        for index in 0..self.record.outputs.len() {
            if self.record.outputs[index].probed.is_none() {
                self.want(Slot::ProbeOut(index as u32));
            }
        }
        let inputs_known = self.record.inputs.iter().all(|i| i.probed.is_some() || i.skipped.is_some());
        if inputs_known && self.record.outputs.iter().all(|output| output.probed.is_some()) {
            let uid = self.record.seen.uid;
            for input in &mut self.record.inputs {
                let pin = input.probed.as_ref().map(|probed| probed.pin.clone());
                input.dataset = pin.map(|pin| dataset_id(uid, &input.uri, &input.include, &input.exclude, &pin));
            }
            self.record.view_begun = true;
            self.enter(Stage::Admitted);
        }
    }

    pub(super) fn admitted(&mut self) {
        if self.rests() {
            return;
        }
        for index in 0..self.record.inputs.len() {
            let input = &self.record.inputs[index];
            let dropping = self.live.runs(&self.record.key, Slot::DropHold(index as u32));
            if input.inode.is_none() && input.skipped.is_none() && !dropping {
                self.want(Slot::Dataset(index as u32));
            }
        }
        if !self.record.inputs.iter().all(|input| input.inode.is_some() || input.skipped.is_some()) {
            return;
        }
        if !self.record.view {
            return self.want(Slot::View);
        }
        self.enter(Stage::Staging);
    }

    pub(super) fn staging(&mut self) {
        if self.rests() {
            return;
        }
        for index in 0..self.record.inputs.len() {
            let input = &self.record.inputs[index];
            if input.skipped.is_some() {
                continue;
            }
            if input.imported.is_none() {
                self.want(Slot::Import(index as u32));
            } else if input.wait_hot && !input.hot {
                self.want(Slot::Recall(index as u32));
            }
        }
        let there = self
            .record
            .inputs
            .iter()
            .all(|input| input.skipped.is_some() || (input.imported.is_some() && (input.hot || !input.wait_hot)));
        if there {
            self.settle_hold();
            self.enter(Stage::Ready);
        }
    }

    /// Inputs are there: first the nodes may attach, then Slurm may start the job.
    pub(super) fn ready(&mut self) {
        let holding = self.live.runs(&self.record.key, Slot::Hold);
        if self.record.held && !holding && self.attach_is_written() {
            self.want(Slot::Release);
        }
    }

    /// A hold that was wanted may have happened already: from now on it is one that has to be released.
    pub(super) fn settle_hold(&mut self) {
        self.record.held |= self.record.hold_wanted;
        self.record.hold_wanted = false;
    }
}
