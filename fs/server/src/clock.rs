//! The clock of a host.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use forebay_types::Timestamp;

/// Wall-clock time for files, and a monotonic one for durations.
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// Milliseconds since the host started.
    pub fn millis(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Nanoseconds since the host started.
    pub fn nanos(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Wall-clock time.
    pub fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
    }
}
