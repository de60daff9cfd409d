//! Whether a replica leads its shard, as those see it who read from it.
//!
//! A read is answered by the leader alone, from what it has applied. That it still leads is certain until some time
//! after the last moment a majority of the replicas has confirmed; where that time is over, or leadership has been
//! handed over, the read waits for a confirmation of a moment after its arrival.

use std::time::Duration;

use forebay_consensus::ELECTION_TICKS;
use forebay_types::HostId;
use tokio::sync::watch;
use tokio::time::timeout;

use super::TICK_LEAST;

/// How long after a confirmed moment nobody else can have been elected: as many ticks as followers wait but one, the
/// shortest that a driver lets pass, and a fiftieth less again for clocks that run apart.
const LEASE_NS: u64 = (ELECTION_TICKS as u64 - 1) * (TICK_LEAST.as_nanos() as u64) / 50 * 49;
/// Longest wait for a confirmation.
const CONFIRM_WAIT: Duration = Duration::from_millis(500);

/// What is known of a shard's leadership.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct LeadState {
    /// Who leads, as far as this replica knows.
    pub leader: Option<HostId>,
    /// The term in which this replica leads and has applied all that was committed before.
    pub ready: Option<u64>,
    /// The last moment confirmed in it, in nanoseconds of the host's monotonic clock; none where what was confirmed has
    /// no force, as leadership was handed over.
    pub confirmed_ns: Option<u64>,
}

impl LeadState {
    /// Whether what was read under the permit may be answered, where it was read before `now_ns`.
    fn allows(&self, permit: Permit, now_ns: u64) -> bool {
        let certain = |confirmed: u64| now_ns < confirmed.saturating_add(LEASE_NS) || confirmed >= permit.since_ns;
        self.ready == Some(permit.term) && self.confirmed_ns.is_some_and(certain)
    }
}

/// See the module.
pub(crate) struct Lead {
    state: watch::Sender<LeadState>,
}

/// The right to answer a read with what was read after `since_ns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    term: u64,
    since_ns: u64,
}

impl Lead {
    pub fn new() -> Self {
        Self { state: watch::Sender::new(LeadState::default()) }
    }

    pub fn get(&self) -> LeadState {
        *self.state.borrow()
    }

    pub fn set(&self, state: LeadState) {
        self.state.send_if_modified(|old| std::mem::replace(old, state) != state);
    }

    /// Permission to read; `Err` says who may know better.
    pub fn begin(&self, now_ns: u64) -> Result<Permit, Option<HostId>> {
        let state = self.get();
        state.ready.map(|term| Permit { term, since_ns: now_ns }).ok_or(state.leader)
    }

    /// Whether what was read under the permit may be answered. `now_ns`: the time, read after the state was.
    pub async fn confirm(&self, permit: Permit, now_ns: u64) -> Result<(), Option<HostId>> {
        let mut watch = self.state.subscribe();
        let decided = |state: &LeadState| state.allows(permit, now_ns) || state.ready != Some(permit.term);
        let state = match timeout(CONFIRM_WAIT, watch.wait_for(decided)).await {
            Ok(Ok(state)) => *state,
            _ => self.get(),
        };
        if state.allows(permit, now_ns) { Ok(()) } else { Err(state.leader) }
    }
}

#[cfg(test)]
#[path = "lead_tests.rs"]
mod tests;
