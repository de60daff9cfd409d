//! One look at one record: decides what has to happen next and asks for it.
//!
//! Protocol: whatever changed, [`Turn::drive`] is called and derives from the record alone which effects are wanted.
//! One that is under way already, or pauses after a failure, is not asked for again. So a lost answer, a doubled one
//! and a restart all end in the same place.

use forebay_wire::node::FaultClass;
use forebay_wire::stager::Problem;

use crate::core::actions;
use crate::core::effect::{ControlFile, Effect, EffectId, Slot};
use crate::core::ids::Millis;
use crate::core::live::Live;
use crate::core::plan::user_problem;
use crate::core::policy::Policy;
use crate::core::record::{HISTORY_MAX, Record, Retry, Stage};

/// A look at a record.
pub(crate) struct Turn<'a> {
    pub now: Millis,
    pub policy: &'a Policy,
    pub record: &'a mut Record,
    pub live: &'a mut Live,
    pub effects: &'a mut Vec<Effect>,
    pub wake: Option<Millis>,
}

impl Turn<'_> {
    /// Does everything that can be done now.
    pub fn drive(&mut self) {
        self.live.unqueue(&self.record.key);
        self.wake = None;
        loop {
            let before = (self.record.stage, self.record.attempt);
            self.follow_slurm();
            match self.record.stage {
                Stage::New => {}
                Stage::Resolving => self.resolving(),
                Stage::Admitted => self.admitted(),
                Stage::Staging => self.staging(),
                Stage::Ready => self.ready(),
                Stage::Bound | Stage::Running => {}
                Stage::Flushing => self.flushing(),
                Stage::Sealed => self.sealed(),
                Stage::Outgoing => self.outgoing(),
                Stage::Done | Stage::Cancelling => self.releasing(),
                Stage::Closed => self.closed(),
            }
            self.note_phase();
            if before == (self.record.stage, self.record.attempt) {
                break;
            }
        }
        if self.record.hold_wanted {
            self.want(Slot::Hold);
        }
        self.control_files();
        self.comment();
        self.note_phase();
        self.live.set_wake(&self.record.key, self.wake);
    }

    /// Moves the record on.
    pub fn enter(&mut self, stage: Stage) {
        if self.record.stage != stage {
            self.record.stage = stage;
            self.record.since_ms = self.now;
            self.note_phase();
        }
    }

    fn note_phase(&mut self) {
        let phase = self.record.phase();
        if self.record.history.last().is_none_or(|(_, last)| *last != phase) {
            if self.record.history.len() >= HISTORY_MAX {
                self.record.history.remove(1);
            }
            self.record.history.push((self.now, phase));
        }
    }

    /// Looks at the record again at this time at the latest.
    pub fn wake_at(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Asks for an effect, unless it is under way or pauses after a failure.
    pub fn want(&mut self, slot: Slot) {
        if self.live.runs(&self.record.key, slot) {
            return;
        }
        if let Some(retry) = self.record.retries.iter().find(|retry| retry.slot == slot)
            && retry.at_ms > self.now
        {
            return self.wake_at(retry.at_ms);
        }
        let id = (self.record.key.clone(), slot);
        if slot.is_transfer() {
            self.live.queue.insert(id, (self.record.since_ms, self.record.seen.uid));
            return;
        }
        self.perform(slot);
    }

    /// Asks for an effect now.
    pub fn perform(&mut self, slot: Slot) {
        let key = self.record.key.clone();
        let Some(action) = actions::action_of(self.record, slot, self.live, self.policy, self.now) else { return };
        let generation = self.record.generation;
        self.live.in_flight.insert((key.clone(), slot), generation);
        let id = EffectId { key, generation, slot };
        self.effects.push(Effect::Perform { id, action: Box::new(action) });
    }

    /// Makes everything under way count no longer, and stops tasks.
    pub fn abandon(&mut self) {
        for (slot, generation) in self.live.running(&self.record.key) {
            if slot.is_task() && generation == self.record.generation {
                let id = EffectId { key: self.record.key.clone(), generation, slot };
                self.effects.push(Effect::CancelTask(id));
            }
        }
        self.record.generation += 1;
        self.record.retries.clear();
    }

    /// Notes that an effect failed: a user's fault blocks or parks, anything else is tried again later.
    pub fn failed(&mut self, slot: Slot, problem: Problem) {
        if problem.class == FaultClass::User {
            self.record.retries.retain(|retry| retry.slot != slot);
            return self.refused(slot, problem);
        }
        let old = self.record.retries.iter().position(|retry| retry.slot == slot);
        let old = old.map(|at| self.record.retries.remove(at));
        let tries = old.as_ref().map_or(0, |retry| retry.tries).saturating_add(1);
        let since_ms = old.map_or(self.now, |retry| retry.since_ms);
        let is_output = matches!(slot, Slot::Export(_));
        let (first, longest) = if is_output { self.policy.out_backoff_ms } else { self.policy.backoff_ms };
        let pause = first.saturating_mul(1 << (tries - 1).min(20)).min(longest).max(1);
        let waited = self.now.saturating_sub(since_ms);
        if slot.stages_in() && (waited >= self.policy.give_up_ms || tries >= self.policy.tries) {
            let text = format!("{} (tried {tries} times in {} s)", problem.text, waited / 1000);
            let remedy = format!("ask the operator, then: forebay job retry {}", self.record.key.job);
            return self.refused(slot, user_problem("E-STAGE-GIVEUP", text, remedy));
        }
        if is_output && (waited >= self.policy.park_after_ms || tries >= self.policy.out_tries) {
            return self.refused(slot, problem);
        }
        self.record.retries.push(Retry { slot, tries, since_ms, at_ms: self.now + pause, problem });
    }

    /// An effect cannot succeed without somebody mending something.
    fn refused(&mut self, slot: Slot, problem: Problem) {
        match slot {
            Slot::Export(index) => self.output_refused(index, problem),
            slot if slot.stages_in() && self.record.before_ready() => self.input_refused(slot, problem),
            // Comments, status files and the like: nothing to mend for the user, so it is left.
            Slot::Control(ControlFile::Attach) => {
                let at_ms = self.now + self.policy.backoff_ms.1;
                self.record.retries.push(Retry { slot, tries: 1, since_ms: self.now, at_ms, problem });
            }
            Slot::Remove | Slot::DropHold(_) | Slot::Nodes | Slot::Release | Slot::Hold | Slot::CancelJob => {
                let at_ms = self.now + self.policy.backoff_ms.1;
                self.record.retries.push(Retry { slot, tries: 1, since_ms: self.now, at_ms, problem });
            }
            _ => {}
        }
    }
}
