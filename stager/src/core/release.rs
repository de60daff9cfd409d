//! Dropping references, and the end of a record. Only here is anything of a job removed.

use crate::core::effect::{Effect, Slot};
use crate::core::record::Stage;
use crate::core::turn::Turn;

impl Turn<'_> {
    /// Drops the job's hold on an input's dataset, once nothing can set it any more.
    pub(super) fn want_drop(&mut self, index: u32) {
        let Some(input) = self.record.inputs.get(index as usize) else { return };
        let held = input.dataset.is_some() && !input.dropped;
        if held && !self.live.runs(&self.record.key, Slot::Dataset(index)) {
            self.want(Slot::DropHold(index));
        }
    }

    pub(super) fn releasing(&mut self) {
        for index in 0..self.record.inputs.len() as u32 {
            self.want_drop(index);
        }
        if self.record.inputs.iter().any(|input| input.dataset.is_some() && !input.dropped) {
            return;
        }
        let remove_at = self.record.remove_at_ms.unwrap_or(self.now);
        if self.now < remove_at {
            return self.wake_at(remove_at);
        }
        if !self.record.view_begun {
            return self.enter(Stage::Closed);
        }
        // A release under way could still start the job, which must then find its view.
        let needs =
            |slot: &Slot| matches!(slot, Slot::View | Slot::Control(_) | Slot::Nodes | Slot::Export(_) | Slot::Release);
        if !self.live.running(&self.record.key).iter().any(|(slot, _)| needs(slot)) {
            self.want(Slot::Remove);
        }
    }

    pub(super) fn closed(&mut self) {
        let over_at = self.record.since_ms.saturating_add(self.policy.closed_keep_ms);
        if self.now < over_at {
            return self.wake_at(over_at);
        }
        self.effects.push(Effect::Forget(self.record.key.clone()));
    }
}
