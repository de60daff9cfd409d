//! From a job that may start to one that has left its nodes, following what Slurm shows.

use forebay_directive::When;

use crate::core::effect::{NodeMark, Slot};
use crate::core::record::{NodeRecord, OutputState, Record, Stage};
use crate::core::slurm_job::{Ending, SlurmJob, SlurmState};
use crate::core::turn::Turn;

impl Record {
    /// Takes over what Slurm shows.
    pub(super) fn observe(&mut self, job: &SlurmJob) {
        self.missing_since_ms = None;
        if job.restart > self.next_attempt.unwrap_or(self.attempt) {
            self.next_attempt = Some(job.restart);
        }
        if job.restart == self.attempt {
            let has_nodes = job.state.on_nodes() || (job.state.ending().is_some() && !job.nodes.is_empty());
            self.started |= has_nodes;
        }
        self.seen = job.clone();
    }

    fn wants_requeue_outputs(&self) -> bool {
        self.outputs.iter().any(|output| output.when == When::Requeue)
    }
}

impl Turn<'_> {
    /// Moves the record to where Slurm says the job is.
    pub(super) fn follow_slurm(&mut self) {
        if self.record.missing_since_ms.is_some() {
            return self.follow_missing();
        }
        if let Some(next) = self.record.next_attempt {
            return self.follow_requeue(next);
        }
        let state = self.record.seen.state;
        let stage = self.record.stage;
        if stage <= Stage::Running && state.ending().is_some() {
            return self.attempt_ended(state.ending());
        }
        match (stage, state) {
            (Stage::Ready, SlurmState::Configuring) => self.enter(Stage::Bound),
            (Stage::Ready | Stage::Bound, SlurmState::Running | SlurmState::Suspended) => self.enter(Stage::Running),
            (Stage::Ready | Stage::Bound | Stage::Running, SlurmState::Completing) => self.attempt_ended(None),
            (Stage::Flushing, _) if self.record.ending.is_none() => {
                if let Some(ending) = state.ending() {
                    self.learn_ending(ending);
                }
            }
            _ => {}
        }
    }

    /// The job has left its nodes, or never had any.
    fn attempt_ended(&mut self, ending: Option<Ending>) {
        self.abandon();
        self.record.blocked = None;
        self.record.held = false;
        self.record.hold_wanted = false;
        if !self.record.started && !self.record.resumed {
            return self.enter(Stage::Cancelling);
        }
        self.enter(Stage::Flushing);
        if let Some(ending) = ending {
            self.learn_ending(ending);
        }
    }

    fn learn_ending(&mut self, ending: Ending) {
        self.record.ending = Some(ending);
        self.record.ended_ms = Some(self.now);
        self.record.nodes_read_ms = None;
    }

    /// Slurm's list no longer has the job. What ran is never taken for a success.
    fn follow_missing(&mut self) {
        let Some(since) = self.record.missing_since_ms else { return };
        let touched = self.record.started || self.record.resumed;
        let undecided = self.record.stage <= Stage::Running
            || (self.record.stage == Stage::Flushing && self.record.ending.is_none());
        if !undecided {
            return;
        }
        let patience = if touched { self.policy.unknown_after_ms } else { self.policy.gone_after_ms };
        let over_at = since.saturating_add(patience);
        if self.now < over_at {
            return self.wake_at(over_at);
        }
        if self.record.stage == Stage::Flushing {
            self.learn_ending(Ending::Unknown);
        } else {
            self.attempt_ended(Some(Ending::Unknown));
        }
    }

    /// Slurm has given the job another attempt.
    fn follow_requeue(&mut self, next: u32) {
        match self.record.stage {
            Stage::New | Stage::Resolving | Stage::Admitted | Stage::Staging => {
                self.record.next_attempt = None;
                self.record.attempt = next;
                self.record.started = false;
                // The view is made again for the new attempt's number; what is in it stays.
                if self.record.stage == Stage::Staging {
                    self.record.view = false;
                    self.enter(Stage::Admitted);
                }
            }
            Stage::Ready => self.begin_attempt(next),
            Stage::Bound | Stage::Running => {
                if !self.record.wants_requeue_outputs() {
                    return self.begin_attempt(next);
                }
                self.record.hold_wanted = true;
                self.enter(Stage::Flushing);
                self.learn_ending(Ending::Requeue);
            }
            Stage::Flushing if self.record.ending != Some(Ending::Requeue) => {
                if !self.record.wants_requeue_outputs() {
                    return self.begin_attempt(next);
                }
                self.record.hold_wanted = true;
                self.learn_ending(Ending::Requeue);
            }
            Stage::Flushing | Stage::Sealed => {}
            Stage::Outgoing => self.record.hold_wanted |= !self.record.held && !self.record.seen.held,
            Stage::Done | Stage::Closed | Stage::Cancelling => self.stage_again(next),
        }
    }

    /// The next attempt starts from where the last one left the scratch; inputs are still there and held.
    pub(super) fn begin_attempt(&mut self, next: u32) {
        self.abandon();
        self.settle_hold();
        self.reset_attempt(next);
        self.enter(Stage::Ready);
    }

    fn reset_attempt(&mut self, next: u32) {
        let record = &mut *self.record;
        record.resumed |= record.started;
        record.attempt = next;
        record.next_attempt = None;
        record.started = record.seen.restart == next && record.seen.state.on_nodes();
        record.nodes.clear();
        record.nodes_read_ms = None;
        record.ended_ms = None;
        record.ending = None;
        record.parked_ms = None;
        record.remove_at_ms = None;
        for output in &mut record.outputs {
            output.state = OutputState::Waiting;
            output.committed = None;
            output.problem = None;
        }
    }

    /// A job whose references were dropped is to run again.
    fn stage_again(&mut self, next: u32) {
        let busy = |slot: &Slot| matches!(slot, Slot::Remove | Slot::DropHold(_) | Slot::Release);
        if self.live.running(&self.record.key).iter().any(|(slot, _)| busy(slot)) {
            return;
        }
        self.abandon();
        let scratch_left = self.record.stage == Stage::Done && self.record.view;
        self.reset_attempt(next);
        self.record.resumed &= scratch_left;
        self.record.round += 1;
        self.record.restage = true;
        self.record.hold_wanted = self.record.seen.state == SlurmState::Pending && !self.record.seen.held;
        self.record.wait_since_ms = self.now;
        self.enter(Stage::Resolving);
    }

    /// Forgets what is known about inputs, so that they are looked at and held again.
    pub(super) fn reset_inputs(&mut self) {
        self.record.view = false;
        for input in &mut self.record.inputs {
            input.probed = None;
            input.dataset = None;
            input.inode = None;
            input.imported = None;
            input.hot = false;
            input.dropped = false;
            input.skipped = None;
        }
    }

    /// Waits until every node that attached the attempt has flushed it, or its time is over.
    pub(super) fn flushing(&mut self) {
        let (Some(ended), Some(_)) = (self.record.ended_ms, self.record.ending) else { return };
        if !self.record.view {
            return self.enter(Stage::Sealed);
        }
        if let Some(read) = self.record.nodes_read_ms {
            let over_at = ended.saturating_add(self.policy.flush_budget_ms);
            if self.record.nodes.iter().all(|node| node.detached) || self.now >= over_at {
                return self.enter(Stage::Sealed);
            }
            let again_at = read.saturating_add(self.policy.flush_poll_ms).min(over_at);
            if self.now < again_at {
                return self.wake_at(again_at);
            }
        }
        if self.attach_is_written() {
            self.want(Slot::Nodes);
        }
    }

    /// Takes over which nodes are attached.
    pub(super) fn nodes_read(&mut self, marks: Vec<NodeMark>) {
        self.record.nodes =
            marks.into_iter().map(|mark| NodeRecord { node: mark.node, detached: mark.detached }).collect();
        self.record.nodes_read_ms = Some(self.now);
    }
}
