//! Clocks that run apart, within what the design promises: leases end a tenth earlier at clients than at leaders, and what
//! a leader believes of its lead ends a fiftieth earlier than followers wait.

use forebay_types::Timestamp;

use crate::dice::Dice;

/// The wall clock's time when the world begins.
const EPOCH_NS: i128 = 1_000_000 * 1_000_000_000;

/// A node's monotonic and wall clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base_ns: u64,
    drift_ppm: i64,
    wall_ns: i64,
}

impl Clock {
    /// A clock that is fast or slow by at most `drift_ppm`, and wrong by at most `wall_ms`.
    pub fn drawn(dice: &mut Dice, drift_ppm: u32, wall_ms: u64) -> Self {
        let drift = i64::from(drift_ppm);
        let wall = (wall_ms * 1_000_000) as i64;
        Self {
            base_ns: dice.between(1_000_000_000, 1_000_000_000_000),
            drift_ppm: dice.between(0, 2 * drift as u64) as i64 - drift,
            wall_ns: dice.between(0, 2 * wall as u64) as i64 - wall,
        }
    }

    /// A clock that is wrong beyond every promise: it runs at a third of the speed.
    pub fn broken(self) -> Self {
        Self { drift_ppm: -666_000, ..self }
    }

    /// Nanoseconds of the monotonic clock at a moment of the world.
    pub fn nanos(&self, world_ns: u64) -> u64 {
        let drift = i128::from(world_ns) * i128::from(self.drift_ppm) / 1_000_000;
        (i128::from(self.base_ns) + i128::from(world_ns) + drift) as u64
    }

    /// The wall clock's time at a moment of the world.
    pub fn wall(&self, world_ns: u64) -> Timestamp {
        Timestamp::from_nanos(EPOCH_NS + i128::from(self.nanos(world_ns) - self.base_ns) + i128::from(self.wall_ns))
    }

    /// How long a time by this clock takes in the world.
    pub fn in_world(&self, nanos: u64) -> u64 {
        (i128::from(nanos) * 1_000_000 / i128::from(1_000_000 + self.drift_ppm)) as u64
    }
}
