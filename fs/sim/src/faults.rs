//! What goes wrong in a run: a random subset of all faults, each with a random intensity.
//!
//! A run with everything at its worst gets nothing done, and some bugs show only while most things work; so every seed
//! draws its own weather ("swarm testing", Groce et al., 2012).

use crate::dice::Dice;

const MS: u64 = 1_000_000;

/// Something of the simulated hosts or clients that is broken on purpose, to see that a checker notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Stores say that they have flushed when they have not.
    LyingDisks,
    /// Mutations are answered while others still believe what was before.
    AnswersWithoutBarrier,
    /// Clients say that they have given up leases and go on believing.
    KeptBeliefs,
    /// Clients' clocks run at a third of their speed.
    SlowClocks,
    /// A retry is sent as a new mutation.
    FreshNumbers,
    /// Leaders grant exclusive leases whoever has others.
    SharedExclusives,
    /// New leaders do not send what is in their shard's outbox.
    ForgottenOutbox,
    /// Leaders forget what is open.
    ForgottenOpens,
    /// Names of orphans are not reaped.
    KeptOrphans,
    /// One replica's store loses a row.
    LostRow,
}

/// The weather of a run. Times are in nanoseconds; a mean of 0 is never.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub hosts: u32,
    pub shards: u16,
    pub clients: u32,
    pub programs: u32,
    /// Names in use in each directory.
    pub names: u64,
    pub active_ns: u64,
    /// Longest pause of a program between two operations.
    pub think_ns: u64,
    pub loss: u32,
    pub duplicates: u32,
    pub delay_ns: (u64, u64),
    /// How often, in a thousand messages, and for how long at most, one is late.
    pub late: u32,
    pub late_ns: u64,
    pub partition_mean: u64,
    pub partition_ns: u64,
    pub crash_mean: u64,
    pub down_ns: u64,
    pub pause_mean: u64,
    pub pause_ns: u64,
    pub client_pause_mean: u64,
    pub handover_mean: u64,
    pub session_loss_mean: u64,
    pub drift_ppm: u32,
    pub wall_ms: u64,
    pub flush_ns: (u64, u64),
    /// How often, in a thousand flushes, one takes up to `stall_ns`.
    pub stalls: u32,
    pub stall_ns: u64,
    /// Applied entries a leader keeps in its log.
    pub log_kept: u64,
}

fn sometimes(dice: &mut Dice, low: u64, high: u64) -> u64 {
    if dice.chance(500) { dice.between(low, high) } else { 0 }
}

impl Faults {
    /// The weather in which something that is broken matters soon.
    pub fn fit_for(mut self, sabotage: Option<Sabotage>) -> Self {
        if sabotage == Some(Sabotage::SlowClocks) {
            // Clients stand still for longer than leaders wait for them, and go on believing.
            (self.client_pause_mean, self.pause_ns, self.active_ns) = (6_000 * MS, 20_000 * MS, 30_000 * MS);
        }
        self
    }

    pub fn drawn(dice: &mut Dice) -> Self {
        let delay = dice.between(MS / 10, 3 * MS);
        let flush = dice.between(MS / 10, 5 * MS);
        Self {
            hosts: *dice.pick(&[1, 3, 3, 3, 3, 5]),
            shards: dice.between(1, 4) as u16,
            clients: dice.between(2, 4) as u32,
            programs: dice.between(1, 3) as u32,
            names: dice.between(2, 6),
            active_ns: dice.between(8_000, 30_000) * MS,
            think_ns: *dice.pick(&[5, 50, 500]) * MS,
            loss: sometimes(dice, 1, 80) as u32,
            duplicates: sometimes(dice, 1, 80) as u32,
            delay_ns: (delay / 4, delay),
            late: sometimes(dice, 1, 50) as u32,
            late_ns: *dice.pick(&[20, 300, 3_000]) * MS,
            partition_mean: sometimes(dice, 3_000, 15_000) * MS,
            partition_ns: *dice.pick(&[500, 3_000, 15_000]) * MS,
            crash_mean: sometimes(dice, 2_000, 15_000) * MS,
            down_ns: *dice.pick(&[200, 2_000, 8_000]) * MS,
            pause_mean: sometimes(dice, 3_000, 15_000) * MS,
            pause_ns: *dice.pick(&[300, 1_500, 12_000]) * MS,
            client_pause_mean: sometimes(dice, 3_000, 15_000) * MS,
            handover_mean: sometimes(dice, 2_000, 10_000) * MS,
            session_loss_mean: sometimes(dice, 5_000, 20_000) * MS,
            drift_ppm: sometimes(dice, 100, 8_000) as u32,
            wall_ms: sometimes(dice, 1, 5_000),
            flush_ns: (flush / 4, flush),
            stalls: sometimes(dice, 1, 20) as u32,
            stall_ns: *dice.pick(&[100, 1_000, 4_000]) * MS,
            log_kept: *dice.pick(&[2, 20, 200, 8_192]),
        }
    }
}
