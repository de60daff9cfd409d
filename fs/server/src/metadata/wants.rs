//! What callers wanted of late and was refused for want of budget, for whoever shares quotas out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use forebay_types::{FsId, Owner, Space};
use forebay_wire::meta::OwnerUsage;

/// How long what somebody wanted is remembered, in nanoseconds: callers ask again more often than that.
const KEPT_NS: u64 = 2_000_000_000;
/// Most owners remembered; beyond that, those who ask again are remembered a little later.
const MOST: usize = 1 << 16;

/// See the module. Times are the host's monotonic nanoseconds.
#[derive(Default)]
pub(crate) struct Wants(Mutex<HashMap<(FsId, Owner), (Space, u64)>>);

impl Wants {
    /// Somebody wanted an owner to have as much as `wanted` in the shard.
    pub fn note(&self, fs: FsId, owner: Owner, wanted: Space, now: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, (_, until)| *until > now);
        }
        if all.len() < MOST {
            let (most, until) = all.entry((fs, owner)).or_default();
            let before = if *until > now { *most } else { Space::default() };
            *most = Space { bytes: before.bytes.max(wanted.bytes), inodes: before.inodes.max(wanted.inodes) };
            *until = now + KEPT_NS;
        }
    }

    /// Adds what was wanted to what is known of owners.
    pub fn add_to(&self, fs: FsId, owners: &[Owner], usage: &mut [OwnerUsage], now: u64) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (owner, usage) in owners.iter().zip(usage) {
            usage.wanted = all.get(&(fs, *owner)).filter(|(_, until)| *until > now).map_or(Space::default(), |w| w.0);
        }
    }
}

#[cfg(test)]
#[path = "wants_tests.rs"]
mod tests;
