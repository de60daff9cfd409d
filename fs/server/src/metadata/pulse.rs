//! How long things took of late: the store to make a batch durable, other hosts to answer. The cluster group compares
//! hosts by it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_types::HostId;
use tokio::time::Instant;

/// Seconds that count.
const WINDOW: usize = 10;

/// The longest time of each of the last seconds in which there was one. The median of them is what counts: one that is
/// held up now and then does most things quickly, for little is begun while it stands still, and a hiccup is one second's.
#[derive(Default)]
struct Recent(VecDeque<(u64, u32)>);

impl Recent {
    fn add(&mut self, second: u64, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        match self.0.back_mut() {
            Some((last, longest)) if *last == second => *longest = took.max(*longest),
            _ => self.0.push_back((second, took)),
        }
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
    }

    fn median(&self, second: u64) -> Option<u32> {
        let fresh = self.0.iter().filter(|(at, _)| at + WINDOW as u64 > second);
        let mut times: Vec<u32> = fresh.map(|(_, took)| *took).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

/// See the module.
pub(crate) struct Pulse {
    since: Instant,
    flushes: Mutex<Recent>,
    answers: Mutex<BTreeMap<HostId, Recent>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pulse {
    pub fn new() -> Self {
        Self { since: Instant::now(), flushes: Mutex::default(), answers: Mutex::default() }
    }

    fn second(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    /// A batch became durable.
    pub fn flushed(&self, took: Duration) {
        lock(&self.flushes).add(self.second(), took);
    }

    /// A host answered.
    pub fn answered(&self, host: HostId, took: Duration) {
        lock(&self.answers).entry(host).or_default().add(self.second(), took);
    }

    /// How long it takes to make a batch durable, in microseconds; 0 where none was of late.
    pub fn flush_us(&self) -> u32 {
        lock(&self.flushes).median(self.second()).unwrap_or(0)
    }

    /// How long hosts take to answer, in microseconds.
    pub fn answers_us(&self) -> Vec<(HostId, u32)> {
        let now = self.second();
        lock(&self.answers).iter().filter_map(|(host, recent)| Some((*host, recent.median(now)?))).collect()
    }
}

#[cfg(test)]
#[path = "pulse_tests.rs"]
mod tests;
