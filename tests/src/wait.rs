//! Waiting for conditions of other processes, which tell nobody when they change: poll, with a deadline.

use std::time::{Duration, Instant};

use crate::error::LabError;

/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// What one look at a condition found.
pub enum Seen<T> {
    /// It holds, with what was found.
    Yes(T),
    /// Not yet, with what was seen instead (shown when the deadline passes).
    NotYet(String),
}

/// Looks at a condition until it holds or `deadline` has passed. An error of `look` ends the wait at once.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Seen<T>, LabError>,
) -> Result<T, LabError> {
    let start = Instant::now();
    loop {
        match look()? {
            Seen::Yes(found) => return Ok(found),
            Seen::NotYet(last_seen) if start.elapsed() >= deadline => {
                return Err(LabError::Deadline { what: what.to_owned(), waited: start.elapsed(), last_seen });
            }
            Seen::NotYet(_) => std::thread::sleep(POLL),
        }
    }
}

/// Waits for a plain yes or no.
pub fn until_true(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) -> Result<(), LabError> {
    until(what, deadline, || Ok(if holds() { Seen::Yes(()) } else { Seen::NotYet(String::new()) }))
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
