//! Leases at one moment: where a client believes with an exclusive lease, no other believes anything. A client whose session
//! was ended by force does not count: it is shut out from changing anything, and believes until it hears of it.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{InodeId, LeaseMode, SessionId};

use super::{Rule, Watch};
use crate::client::Client;

/// Compares what all clients believe at this moment, each by its own clock.
pub(crate) fn check(watch: &mut Watch, clients: &[Client], ended: &BTreeSet<SessionId>, shards: u16) {
    let mut believed: BTreeMap<InodeId, Vec<(u32, LeaseMode)>> = BTreeMap::new();
    for client in clients.iter().filter(|client| !ended.contains(&client.session)) {
        for (ino, mode) in client.beliefs(watch.now, shards) {
            believed.entry(ino).or_default().push((client.id, mode));
        }
    }
    for (ino, by) in believed {
        if by.len() > 1 && by.iter().any(|(_, mode)| *mode == LeaseMode::Exclusive) {
            watch.violated(Rule::LeasesExclusive, format!("{ino} at {}: {by:?}", watch.now));
        }
    }
}
