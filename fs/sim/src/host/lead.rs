//! Whether a replica leads its shard, as those see it who read from it: the twin of `server`'s `metadata/lead.rs`.

use forebay_consensus::ELECTION_TICKS;
use forebay_types::HostId;

use super::TICK_LEAST_NS;

/// How long after a confirmed moment nobody else can have been elected.
const LEASE_NS: u64 = (ELECTION_TICKS as u64 - 1) * TICK_LEAST_NS / 50 * 49;
/// Longest wait for a confirmation.
pub(super) const CONFIRM_WAIT_NS: u64 = 500_000_000;

/// What is known of a shard's leadership.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct LeadState {
    pub leader: Option<HostId>,
    /// The term in which this replica leads and has applied all that was committed before.
    pub ready: Option<u64>,
    /// The last moment confirmed in it.
    pub confirmed_ns: Option<u64>,
}

/// The right to answer a read with what was read after `since_ns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permit {
    term: u64,
    since_ns: u64,
}

impl LeadState {
    /// Permission to read; `Err` says who may know better.
    pub fn begin(&self, now_ns: u64) -> Result<Permit, Option<HostId>> {
        self.ready.map(|term| Permit { term, since_ns: now_ns }).ok_or(self.leader)
    }

    /// Whether what was read under the permit may be answered, where it was read before `now_ns`.
    pub fn allows(&self, permit: Permit, now_ns: u64) -> bool {
        let certain = |confirmed: u64| now_ns < confirmed.saturating_add(LEASE_NS) || confirmed >= permit.since_ns;
        self.is_of(permit) && self.confirmed_ns.is_some_and(certain)
    }

    /// Whether the replica still leads in the permit's term.
    pub fn is_of(&self, permit: Permit) -> bool {
        self.ready == Some(permit.term)
    }
}
