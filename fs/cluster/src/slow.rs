//! Which hosts take much longer than the others, and should not lead.
//!
//! Two things are measured, each on its own: how long a host's metadata store takes to make a batch durable, which it
//! says itself; and how long it takes to answer other hosts, which they say. A host is slow when one of them was
//! [`FACTOR`] times what is usual among the others, and long in itself, for [`SLOW_AFTER_MS`] on end; it is well again
//! when both were near the usual for [`WELL_AFTER_MS`]. In between, and while nothing is measured, the opinion stays:
//! so leads do not go to and fro. At most half of the hosts that are up are called slow at a time: somebody has to lead.

use std::collections::BTreeMap;

use forebay_types::HostId;
use forebay_wire::map::{ClusterMap, HostState};

/// So many times the usual is slow.
const FACTOR: u64 = 5;
/// At most so many times the usual is well.
const WELL_FACTOR: u64 = 2;
/// Slow is at least this long, by what is measured, in microseconds; less than half of it is well.
const FLOORS_US: [u64; MEASURES] = [50_000, 30_000];
/// Durability and answers.
const MEASURES: usize = 2;
/// So long on end makes a host slow, in milliseconds.
pub(crate) const SLOW_AFTER_MS: u64 = 5_000;
/// So long on end makes it well again, in milliseconds.
pub(crate) const WELL_AFTER_MS: u64 = 30_000;

/// What a host said last.
#[derive(Debug, Default)]
struct Said {
    flush_us: u32,
    answers_us: Vec<(HostId, u32)>,
}

/// What is thought of one measure of one host.
#[derive(Clone, Copy, Debug, Default)]
struct Opinion {
    slow: bool,
    /// Since when what is measured says otherwise.
    otherwise_since_ms: Option<u64>,
}

impl Opinion {
    /// Takes in what one look says: slow, well, or nothing.
    fn look(&mut self, now_ms: u64, seen: Option<bool>) {
        let Some(slow) = seen.filter(|slow| *slow != self.slow) else {
            self.otherwise_since_ms = None;
            return;
        };
        let since = *self.otherwise_since_ms.get_or_insert(now_ms);
        let enough = if slow { SLOW_AFTER_MS } else { WELL_AFTER_MS };
        if now_ms.saturating_sub(since) >= enough {
            *self = Self { slow, otherwise_since_ms: None };
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    said: BTreeMap<HostId, Said>,
    opinions: BTreeMap<HostId, [Opinion; MEASURES]>,
}

impl Detector {
    /// A detector that thinks what the map says.
    pub fn new(map: &ClusterMap) -> Self {
        let opinion = |slow| [Opinion { slow, otherwise_since_ms: None }; MEASURES];
        let opinions = map.hosts.iter().map(|host| (host.id, opinion(host.slow))).collect();
        Self { said: BTreeMap::new(), opinions }
    }

    /// A host's word.
    pub fn note(&mut self, host: HostId, flush_us: u32, answers_us: Vec<(HostId, u32)>) {
        self.said.insert(host, Said { flush_us, answers_us });
    }

    /// A host has gone for good.
    pub fn forget(&mut self, host: HostId) {
        self.said.remove(&host);
        self.opinions.remove(&host);
    }

    /// Brings the map in line with what is thought now; whether that changed it.
    pub fn judge(&mut self, now_ms: u64, map: &mut ClusterMap) -> bool {
        let up: Vec<HostId> = map.hosts.iter().filter(|h| h.state == HostState::Up).map(|h| h.id).collect();
        let times: [BTreeMap<HostId, u64>; MEASURES] = [
            up.iter().filter_map(|host| Some((*host, self.flush(*host)?))).collect(),
            up.iter().filter_map(|host| Some((*host, self.answer(*host, &up)?))).collect(),
        ];
        let mut changed = false;
        let mut count = map.hosts.iter().filter(|host| host.slow && host.state == HostState::Up).count();
        for host in map.hosts.iter_mut().filter(|host| host.state == HostState::Up) {
            let room = host.slow || (count + 1) * 2 <= up.len();
            let opinions = self.opinions.entry(host.id).or_default();
            for (measure, opinion) in opinions.iter_mut().enumerate() {
                let seen = seen(host.id, &times[measure], FLOORS_US[measure]);
                opinion.look(now_ms, seen.filter(|slow| room || !slow));
            }
            let slow = opinions.iter().any(|opinion| opinion.slow);
            if host.slow != slow {
                host.slow = slow;
                changed = true;
                count = if slow { count + 1 } else { count - 1 };
            }
        }
        changed
    }

    fn flush(&self, host: HostId) -> Option<u64> {
        self.said.get(&host).map(|said| u64::from(said.flush_us)).filter(|time| *time > 0)
    }

    /// How long a host takes to answer, as most of those see it who are up.
    fn answer(&self, host: HostId, up: &[HostId]) -> Option<u64> {
        let others = up.iter().filter(|other| **other != host).filter_map(|other| self.said.get(other));
        let about = others.filter_map(|said| said.answers_us.iter().find(|(to, _)| *to == host));
        // The lower median: one that is slow itself finds everybody else slow.
        let mut times: Vec<u64> = about.map(|(_, time)| u64::from(*time)).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) / 2).copied()
    }
}

/// What the times say of a host: slow, well, or nothing.
fn seen(host: HostId, times: &BTreeMap<HostId, u64>, floor: u64) -> Option<bool> {
    let mine = *times.get(&host)?;
    let mut others: Vec<u64> = times.iter().filter(|(other, _)| **other != host).map(|(_, time)| *time).collect();
    others.sort_unstable();
    let usual = *others.get(others.len() / 2)?;
    if mine >= floor && mine >= usual.saturating_mul(FACTOR) {
        Some(true)
    } else if mine < floor / 2 || mine <= usual.saturating_mul(WELL_FACTOR) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "slow_tests.rs"]
mod tests;
