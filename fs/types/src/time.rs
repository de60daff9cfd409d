//! Wall-clock times as files carry them.

use serde::{Deserialize, Serialize};

/// Seconds and nanoseconds since 1970-01-01 UTC. Negative seconds are earlier; `nanos` is always below 10^9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, Debug)]
pub struct Timestamp {
    /// Whole seconds since the epoch.
    pub secs: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// The time that is `nanos` nanoseconds after the epoch.
    #[must_use]
    pub fn from_nanos(nanos: i128) -> Self {
        Self { secs: nanos.div_euclid(1_000_000_000) as i64, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
    }

    /// The time that is so much later.
    #[must_use]
    pub fn plus(self, later: std::time::Duration) -> Self {
        Self::from_nanos(self.as_nanos() + later.as_nanos() as i128)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub fn as_nanos(self) -> i128 {
        i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos)
    }
}
