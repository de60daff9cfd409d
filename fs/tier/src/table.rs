//! The tasks of a host: which run, which have ended, and how many may.

use std::collections::{HashMap, VecDeque};

use forebay_types::TaskId;
use forebay_wire::tier::{TaskSpec, TierError};

/// Tasks by name; `T` is whatever their shell needs of them.
#[derive(Debug)]
pub struct TaskTable<T> {
    slots: HashMap<TaskId, Slot<T>>,
    ended: VecDeque<TaskId>,
    running: u32,
    limits: TableLimits,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug)]
pub struct TableLimits {
    /// Most tasks that run.
    pub running: u32,
    /// Most tasks that have ended and are still remembered.
    pub ended: usize,
}

#[derive(Debug)]
struct Slot<T> {
    spec: TaskSpec,
    task: T,
    state: SlotState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SlotState {
    Running,
    Done,
    Undone,
}

/// What starting a task comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Started<T> {
    /// It runs, or is done, already.
    Joined(T),
    /// It is to be run.
    New(T),
}

impl<T: Clone> TaskTable<T> {
    /// A table without tasks.
    #[must_use]
    pub fn new(limits: TableLimits) -> Self {
        Self { slots: HashMap::new(), ended: VecDeque::new(), running: 0, limits }
    }

    /// The task of a name, started where it does not run and is not done; `make` gets what it was before, if anything.
    ///
    /// # Errors
    /// [`TierError::Invalid`] where the name is of a task that does something else, [`TierError::TooManyTasks`] where
    /// as many run as may.
    pub fn start(
        &mut self,
        id: TaskId,
        spec: &TaskSpec,
        make: impl FnOnce(Option<&T>) -> T,
    ) -> Result<Started<T>, TierError> {
        let before = self.slots.get(&id);
        if let Some(slot) = before {
            if slot.spec != *spec {
                let reason = format!("task {id} does something else already: choose another name");
                return Err(TierError::Invalid { reason });
            }
            if slot.state != SlotState::Undone {
                return Ok(Started::Joined(slot.task.clone()));
            }
        }
        if self.running >= self.limits.running {
            return Err(TierError::TooManyTasks { limit: self.limits.running });
        }
        let task = make(before.map(|slot| &slot.task));
        self.ended.retain(|ended| *ended != id);
        self.running += 1;
        self.slots.insert(id, Slot { spec: spec.clone(), task: task.clone(), state: SlotState::Running });
        Ok(Started::New(task))
    }

    /// A running task has ended, with everything done or not. The oldest ended ones are forgotten where there are too
    /// many.
    pub fn end(&mut self, id: TaskId, done: bool) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.state == SlotState::Running) else { return };
        slot.state = if done { SlotState::Done } else { SlotState::Undone };
        self.running -= 1;
        self.ended.push_back(id);
        while self.ended.len() > self.limits.ended {
            let oldest = self.ended.pop_front().expect("there are more than the limit");
            self.slots.remove(&oldest);
        }
    }

    /// The task of a name.
    ///
    /// # Errors
    /// [`TierError::NoTask`].
    pub fn get(&self, id: TaskId) -> Result<&T, TierError> {
        self.slots.get(&id).map(|slot| &slot.task).ok_or(TierError::NoTask)
    }

    /// Every task that runs.
    pub fn running(&self) -> impl Iterator<Item = &T> {
        self.slots.values().filter(|slot| slot.state == SlotState::Running).map(|slot| &slot.task)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
