//! How far a task is: the figures and the state, and what changes them.
//!
//! The version grows with every change, and goes on growing when the task is started again, so that whoever waits for
//! news always sees it. An ended task does not change any more.

use forebay_wire::tier::{Progress, TaskState, TierError};

/// The account of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    progress: Progress,
    retrying: u32,
    first_error: Option<TierError>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It got to its end; files may have failed, of which the account knows.
    Finished,
    /// It could not go on.
    Failed(TierError),
    /// It was stopped.
    Cancelled,
}

impl Account {
    /// The account of a task that starts, whose earlier run's last version was `after` (0 for none).
    #[must_use]
    pub fn new(after: u64) -> Self {
        let progress = Progress {
            version: after + 1,
            state: TaskState::Running,
            files: 0,
            done_files: 0,
            bytes: 0,
            done_bytes: 0,
            moved_bytes: 0,
        };
        Self { progress, retrying: 0, first_error: None }
    }

    /// What to tell.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.progress.state, TaskState::Done | TaskState::Failed(_) | TaskState::Cancelled)
    }

    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        if !self.has_ended() {
            change(self);
            self.progress.version += 1;
            debug_assert!(self.progress.done_files <= self.progress.files, "{:?}", self.progress);
            debug_assert!(self.progress.done_bytes <= self.progress.bytes, "{:?}", self.progress);
        }
    }

    /// A file was found.
    pub fn found(&mut self, bytes: u64) {
        self.change(|this| {
            this.progress.files += 1;
            this.progress.bytes += bytes;
        });
    }

    /// Of a file found with `bytes` bytes, `now` are done, where `before` were. A plan made anew can find fewer.
    pub fn file_at(&mut self, before: u64, now: u64) {
        if before != now {
            self.change(|this| this.progress.done_bytes = this.progress.done_bytes - before + now);
        }
    }

    /// A file is done.
    pub fn file_done(&mut self) {
        self.change(|this| this.progress.done_files += 1);
    }

    /// The task has moved bytes itself.
    pub fn moved(&mut self, bytes: u64) {
        self.change(|this| this.progress.moved_bytes += bytes);
    }

    /// Everything will be found again.
    pub fn start_over(&mut self) {
        self.change(|this| {
            let Progress { files, done_files, bytes, done_bytes, .. } = &mut this.progress;
            (*files, *done_files, *bytes, *done_bytes) = (0, 0, 0, 0);
        });
    }

    /// Something failed and will be tried again.
    pub fn begin_retry(&mut self, error: TierError) {
        self.change(|this| {
            this.retrying += 1;
            this.progress.state = TaskState::Retrying(error);
        });
    }

    /// It is being tried again: or rather, it is no longer waited for.
    pub fn end_retry(&mut self) {
        self.change(|this| {
            this.retrying = this.retrying.saturating_sub(1);
            if this.retrying == 0 {
                this.progress.state = TaskState::Running;
            }
        });
    }

    /// A file cannot be done; the others go on.
    pub fn file_failed(&mut self, error: TierError) {
        self.change(|this| {
            this.first_error.get_or_insert(error);
        });
    }

    /// Whether a file has failed.
    #[must_use]
    pub fn first_error(&self) -> Option<&TierError> {
        self.first_error.as_ref()
    }

    /// The task has ended.
    pub fn end(&mut self, outcome: Outcome) {
        self.change(|this| {
            this.progress.state = match outcome {
                Outcome::Cancelled => TaskState::Cancelled,
                Outcome::Failed(error) => TaskState::Failed(this.first_error.take().unwrap_or(error)),
                Outcome::Finished => this.first_error.take().map_or(TaskState::Done, TaskState::Failed),
            }
        });
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
