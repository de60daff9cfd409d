//! Supplementary groups of callers.
//!
//! FUSE tells user and group of a caller only; the rest is in `/proc`. It is kept for a second, by process and ids, as
//! a process that changes its ids changes its groups with them. What is kept cannot give access: the kernel has
//! checked every request with the groups the caller really has before it is sent.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_fuse::abi::Caller;
use forebay_types::limits;

/// How long groups are believed.
const LIFE: Duration = Duration::from_secs(1);
/// Callers kept before all are forgotten.
const MOST_CALLERS: usize = 4096;

/// Groups read lately.
#[derive(Default)]
pub(super) struct GroupCache {
    known: Mutex<HashMap<Caller, (Instant, Vec<u32>)>>,
}

impl GroupCache {
    /// A caller's groups, without its own group; none where the process cannot be seen from here.
    pub fn of(&self, caller: Caller) -> Vec<u32> {
        // The superuser needs none, and process 0 is one of another namespace.
        if caller.uid == 0 || caller.pid == 0 {
            return Vec::new();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, groups)) = known.get(&caller).filter(|(since, _)| since.elapsed() < LIFE) {
            return groups.clone();
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", caller.pid)).unwrap_or_default();
        let mut groups = parse(&status);
        groups.retain(|group| *group != caller.gid);
        if known.len() >= MOST_CALLERS {
            known.clear();
        }
        known.insert(caller, (Instant::now(), groups.clone()));
        groups
    }
}

/// The `Groups:` line of a process's status.
fn parse(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or("");
    line.split_ascii_whitespace().filter_map(|group| group.parse().ok()).take(limits::GROUPS_MAX).collect()
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
