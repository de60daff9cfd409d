//! How long to wait before trying again.

/// Wait after the first failure, in milliseconds.
pub const FIRST_MS: u64 = 200;
/// Longest wait, in milliseconds: what a store that is back is left idle at most.
pub const LONGEST_MS: u64 = 15_000;

/// Waits that grow with every failure in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// One more failure: how long to wait, in milliseconds.
    pub fn failed(&mut self) -> u64 {
        let wait = FIRST_MS.saturating_mul(1 << self.failures.min(32)).min(LONGEST_MS);
        self.failures += 1;
        wait
    }
}

#[cfg(test)]
#[path = "backoff_tests.rs"]
mod tests;
