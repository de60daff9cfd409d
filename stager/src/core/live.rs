//! What the core knows beside the records, and loses at a restart without harm.

use std::collections::{BTreeMap, BTreeSet};

use forebay_wire::stager::JobPhase;
use forebay_wire::tier::Progress;

use crate::core::effect::Slot;
use crate::core::ids::{JobKey, Millis};
use crate::core::slurm_job::SlurmJob;

/// Effects under way, transfers that wait for their turn, progress, deadlines.
#[derive(Default, Debug)]
pub(crate) struct Live {
    /// Effects under way, with the generation they were asked for in.
    pub in_flight: BTreeMap<(JobKey, Slot), u64>,
    /// Transfers that wait for their turn: since when, and whose.
    pub queue: BTreeMap<(JobKey, Slot), (Millis, u32)>,
    /// Transfers under way: whose.
    pub transfers: BTreeMap<(JobKey, Slot), u32>,
    /// How far tasks are.
    pub progress: BTreeMap<(JobKey, Slot), Progress>,
    /// When a job's recall was first seen moving, and the bytes it had moved then.
    pub rate_from: BTreeMap<JobKey, (Millis, u64)>,
    /// `attach.json` as it is being written.
    pub attach_asked: BTreeMap<JobKey, String>,
    /// Phase and attempt that `status.json` was last written for.
    pub status_for: BTreeMap<JobKey, (JobPhase, u32)>,
    /// When a job has to be looked at again.
    deadlines: BTreeSet<(Millis, JobKey)>,
    wakes: BTreeMap<JobKey, Millis>,
    /// Jobs whose script has not been read yet.
    pub candidates: BTreeMap<u32, SlurmJob>,
    /// Jobs without directives, with their submit times.
    pub ignored: BTreeMap<u32, u64>,
    /// Scripts being fetched and arrays being split.
    pub fetching: BTreeSet<(u32, Slot)>,
}

impl Live {
    /// Sets or clears when a job has to be looked at again.
    pub fn set_wake(&mut self, key: &JobKey, at: Option<Millis>) {
        if let Some(old) = self.wakes.remove(key) {
            self.deadlines.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.wakes.insert(key.clone(), at);
            self.deadlines.insert((at, key.clone()));
        }
    }

    /// The next time any job has to be looked at.
    pub fn next_wake(&self) -> Option<Millis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Jobs whose time has come.
    pub fn due(&self, now: Millis) -> Vec<JobKey> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect()
    }

    /// Whether an effect is under way.
    pub fn runs(&self, key: &JobKey, slot: Slot) -> bool {
        self.in_flight.contains_key(&(key.clone(), slot))
    }

    /// Effects of a job under way.
    pub fn running(&self, key: &JobKey) -> Vec<(Slot, u64)> {
        let of_job = self.in_flight.range((key.clone(), Slot::Script)..);
        of_job.take_while(|((k, _), _)| k == key).map(|((_, slot), generation)| (*slot, *generation)).collect()
    }

    /// Takes a job's transfers out of the queue.
    pub fn unqueue(&mut self, key: &JobKey) {
        let of_job = self.queue.range((key.clone(), Slot::Script)..).take_while(|((k, _), _)| k == key);
        let slots: Vec<_> = of_job.map(|(id, _)| id.clone()).collect();
        for id in slots {
            self.queue.remove(&id);
        }
    }

    /// The transfer whose turn it is: the user with fewest running first, then the longest waiting.
    pub fn next_transfer(&self) -> Option<(JobKey, Slot)> {
        let mut running: BTreeMap<u32, usize> = BTreeMap::new();
        for uid in self.transfers.values() {
            *running.entry(*uid).or_default() += 1;
        }
        let rank = |uid: &u32| running.get(uid).copied().unwrap_or(0);
        self.queue.iter().min_by_key(|(id, (since, uid))| (rank(uid), *since, *id)).map(|(id, _)| id.clone())
    }

    /// Place of a job's transfers in the queue, from 1.
    pub fn queue_place(&self, key: &JobKey) -> Option<usize> {
        let since = self.queue.iter().filter(|((k, _), _)| k == key).map(|(_, (since, _))| *since).min()?;
        Some(1 + self.queue.values().filter(|(other, _)| *other < since).count())
    }

    /// Forgets a job.
    pub fn forget(&mut self, key: &JobKey) {
        self.set_wake(key, None);
        self.unqueue(key);
        self.progress.retain(|(k, _), _| k != key);
        self.rate_from.remove(key);
        self.status_for.remove(key);
        self.attach_asked.remove(key);
    }
}
