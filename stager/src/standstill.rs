//! Whether a task comes no further.
//!
//! Movers try again for ever what may pass: that is right for an outage of seconds, and says nothing to a job that
//! waits for hours. A task at a standstill is stopped, so that the core counts a failure: it pauses, tries again as
//! often and as long as the site says (`[stage_in] retries, give_up`, `[stage_out] retries, park_after`), and then
//! turns to the user.

use std::time::{Duration, Instant};

use forebay_wire::tier::{Progress, TaskState};

/// How long a task may try again without getting anything done.
pub const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// Watches one task.
#[derive(Default, Debug)]
pub struct Standstill {
    since: Option<(Instant, Done)>,
}

/// Files and bytes that are done, and bytes that were moved.
type Done = (u64, u64, u64);

impl Standstill {
    /// Takes in what the task says at `now`. True when it has only been trying again for [`STANDSTILL_MAX`].
    pub fn is_reached(&mut self, now: Instant, progress: &Progress) -> bool {
        if !matches!(progress.state, TaskState::Retrying(_)) {
            self.since = None;
            return false;
        }
        let done = (progress.done_files, progress.done_bytes, progress.moved_bytes);
        match self.since {
            Some((since, before)) if before == done => now.saturating_duration_since(since) >= STANDSTILL_MAX,
            _ => {
                self.since = Some((now, done));
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "standstill_tests.rs"]
mod tests;
