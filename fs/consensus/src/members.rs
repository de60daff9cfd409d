//! A group's members: their encoding, and the next step from those there are to those there should be.

use forebay_types::HostId;
use forebay_wire::DecodeError;
use forebay_wire::raft::{Members, MembersChange};

/// The bytes a shard keeps beside its state.
#[must_use]
pub fn encode_members(members: &Members) -> Vec<u8> {
    forebay_wire::encode(members)
}

/// The inverse of [`encode_members`].
pub fn decode_members(bytes: &[u8]) -> Result<Members, DecodeError> {
    forebay_wire::decode(bytes)
}

/// The one change to make next so that the voters become `wanted`; `None` where they are.
///
/// First those that are missing learn the log; then, caught up (`caught_up`), they get votes; only then do others go,
/// the leader (`leader`) last, so that there are never fewer voters than before. A learner that is not wanted goes at
/// once. The leader never removes itself: it has to hand over first.
#[must_use]
pub fn next_change(
    now: &Members,
    wanted: &[HostId],
    leader: HostId,
    caught_up: &dyn Fn(HostId) -> bool,
) -> Option<MembersChange> {
    let is_wanted = |host: &HostId| wanted.contains(host);
    if let Some(host) = now.learners.iter().find(|host| !is_wanted(host)) {
        return Some(MembersChange::Remove(*host));
    }
    let missing = |host: &&HostId| !now.voters.contains(host) && !now.learners.contains(host);
    if let Some(host) = wanted.iter().find(missing) {
        return Some(MembersChange::AddLearner(*host));
    }
    if !now.learners.is_empty() {
        return now.learners.iter().find(|host| caught_up(**host)).map(|host| MembersChange::AddVoter(*host));
    }
    let surplus = now.voters.iter().find(|host| !is_wanted(host) && **host != leader);
    surplus.map(|host| MembersChange::Remove(*host))
}
