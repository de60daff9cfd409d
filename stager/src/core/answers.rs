//! What came of effects.

use forebay_directive::OnError;
use forebay_wire::tier::Progress;

use crate::core::effect::{Answer, ControlFile, Effect, EffectId, Failure, Slot};
use crate::core::ids::Millis;
use crate::core::record::OutputState;
use crate::core::turn::Turn;
use crate::core::{Core, attach};

impl Core {
    pub(super) fn take_answer(
        &mut self,
        now: Millis,
        id: EffectId,
        answer: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(id.slot, Slot::Script | Slot::Split) {
            return self.take_script(now, &id, answer, effects);
        }
        let known = (id.key.clone(), id.slot);
        if self.live.in_flight.get(&known) != Some(&id.generation) {
            return;
        }
        self.live.in_flight.remove(&known);
        self.live.transfers.remove(&known);
        let progress = self.live.progress.remove(&known);
        self.touch(now, &id.key, effects, |turn| turn.answered(&id, answer, progress));
    }

    pub(super) fn take_progress(&mut self, now: Millis, id: &EffectId, progress: Progress, effects: &mut Vec<Effect>) {
        let known = (id.key.clone(), id.slot);
        if self.live.in_flight.get(&known) != Some(&id.generation) {
            return;
        }
        if matches!(id.slot, Slot::Recall(_)) {
            self.live.rate_from.entry(id.key.clone()).or_insert((now, progress.moved_bytes));
        }
        self.live.progress.insert(known, progress);
        self.touch(now, &id.key, effects, |_| {});
    }
}

impl Turn<'_> {
    fn answered(&mut self, id: &EffectId, answer: Result<Answer, Failure>, progress: Option<Progress>) {
        // A hold that happened has to be released, whatever it was for.
        if id.slot == Slot::Hold && answer.is_ok() {
            self.record.held = true;
            self.record.hold_wanted = false;
        }
        // Newer than the last list, whatever it was for: a job that is staged again now has to be held again.
        if id.slot == Slot::Release && answer.is_ok() {
            self.record.seen.held = false;
        }
        if id.generation != self.record.generation {
            return;
        }
        match answer {
            Ok(answer) => {
                self.record.retries.retain(|retry| retry.slot != id.slot);
                self.done(id.slot, answer);
            }
            Err(problem) => {
                if id.slot == Slot::Comment {
                    self.record.comment.0.clear();
                }
                if let Slot::Recall(index) = id.slot
                    && let (Some(input), Some(progress)) = (self.record.inputs.get_mut(index as usize), progress)
                {
                    input.recalled_bytes = input.recalled_bytes.max(progress.moved_bytes);
                }
                self.failed(id.slot, problem);
            }
        }
    }

    fn done(&mut self, slot: Slot, answer: Answer) {
        match (slot, answer) {
            (Slot::Probe(index), Answer::Probed(probed)) => {
                if let Some(input) = self.record.inputs.get_mut(index as usize) {
                    input.probed = Some(probed);
                }
            }
            (Slot::ProbeOut(index), Answer::Probed(probed)) => {
                if let Some(output) = self.record.outputs.get_mut(index as usize) {
                    output.probed = Some(probed);
                }
            }
            (Slot::Dataset(index), Answer::Dataset(inode)) => {
                if let Some(input) = self.record.inputs.get_mut(index as usize) {
                    input.inode = Some(inode);
                }
            }
            (Slot::View, _) => self.record.view = true,
            (Slot::Import(index), Answer::Finished(progress)) => {
                if let Some(input) = self.record.inputs.get_mut(index as usize) {
                    input.imported = Some((progress.files, progress.bytes));
                }
            }
            (Slot::Recall(index), Answer::Finished(progress)) => {
                if let Some(input) = self.record.inputs.get_mut(index as usize) {
                    input.hot = true;
                    input.recalled_bytes = input.recalled_bytes.max(progress.moved_bytes);
                }
            }
            (Slot::Export(index), Answer::Finished(progress)) => {
                if let Some(output) = self.record.outputs.get_mut(index as usize) {
                    output.state = OutputState::Committed;
                    output.committed = Some((progress.done_files, progress.done_bytes));
                    output.problem = None;
                }
            }
            (Slot::Export(index), Answer::NothingThere) => self.output_nothing(index),
            (Slot::Control(ControlFile::Attach), _) => {
                // What was written is what stood in the record when it was asked for; if that has changed since, the
                // document differs and is written again.
                self.record.attach = self.live.attach_asked.remove(&self.record.key).unwrap_or_default();
            }
            (Slot::Release, _) => self.record.held = false,
            (Slot::CancelJob, _) => self.record.on_error = OnError::Hold,
            (Slot::Nodes, Answer::Nodes(marks)) => self.nodes_read(marks),
            (Slot::DropHold(index), _) => {
                if let Some(input) = self.record.inputs.get_mut(index as usize) {
                    input.dropped = true;
                }
            }
            (Slot::Remove, _) => {
                self.record.view = false;
                self.record.view_begun = false;
                self.enter(crate::core::record::Stage::Closed);
            }
            _ => {}
        }
    }

    /// Remembers what is being written, so that the answer says what stands there.
    pub(super) fn note_attach_asked(&mut self) {
        let document = attach::document(self.record, self.policy);
        self.live.attach_asked.insert(self.record.key.clone(), document);
    }
}
