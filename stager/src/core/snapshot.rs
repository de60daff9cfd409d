//! Slurm's job list: which jobs are ours, which are new, which are gone.

use std::collections::BTreeSet;

use crate::core::Core;
use crate::core::effect::{Action, Answer, Effect, EffectId, Failure, Slot};
use crate::core::ids::{JobKey, Millis};
use crate::core::plan::{is_marked, new_record, option_text, read_directives};
use crate::core::record::{Record, Stage};
use crate::core::slurm_job::{SlurmJob, SlurmState};

impl Core {
    pub(super) fn take_snapshot(&mut self, now: Millis, jobs: Vec<SlurmJob>, effects: &mut Vec<Effect>) {
        let mut listed = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut unknown = Vec::new();
        for job in jobs {
            ids.insert(job.job);
            match self.record_of(&job) {
                Some(key) => {
                    self.touch(now, &key, effects, |turn| turn.record.observe(&job));
                    listed.insert(key);
                }
                None => unknown.push(job),
            }
        }
        let missing = |record: &&Record| record.missing_since_ms.is_none() && !listed.contains(&record.key);
        let missing: Vec<JobKey> = self.records.values().filter(missing).map(|record| record.key.clone()).collect();
        for key in missing {
            self.touch(now, &key, effects, |turn| turn.record.missing_since_ms = Some(now));
        }
        self.live.ignored.retain(|job, _| ids.contains(job));
        self.live.candidates.retain(|job, _| ids.contains(job));
        for job in unknown {
            self.consider(now, job, effects);
        }
        self.fetch_scripts(effects);
    }

    /// The record a job belongs to. A requeue changes the submit time and raises the restart count; another submit
    /// time without that is another job with a used id.
    fn record_of(&self, job: &SlurmJob) -> Option<JobKey> {
        let key = self.by_job.get(&job.job)?;
        let record = self.records.get(key)?;
        let latest = record.next_attempt.unwrap_or(record.attempt);
        let same = job.submit_s == key.submit_s || job.submit_s == record.seen.submit_s || job.restart > latest;
        (same && job.uid == record.seen.uid).then(|| key.clone())
    }

    /// Looks at a job that has no record.
    fn consider(&mut self, now: Millis, job: SlurmJob, effects: &mut Vec<Effect>) {
        let over = job.state.ending().is_some() || job.state == SlurmState::Completing;
        if over
            || !is_marked(&job)
            || job.het_leader.is_some()
            || self.live.ignored.get(&job.job) == Some(&job.submit_s)
        {
            return;
        }
        if !job.array_pending.is_empty() {
            return self.split_array(&job, effects);
        }
        if !job.batch {
            if option_text(&job).is_empty() {
                self.live.ignored.insert(job.job, job.submit_s);
            } else {
                self.admit(now, job, "", effects);
            }
            return;
        }
        self.live.candidates.insert(job.job, job);
    }

    /// Makes the record of a job from its directives, if it has any.
    fn admit(&mut self, now: Millis, job: SlurmJob, script: &str, effects: &mut Vec<Effect>) {
        let read = match read_directives(script, option_text(&job)) {
            Ok(None) => {
                self.live.ignored.insert(job.job, job.submit_s);
                return;
            }
            Ok(Some(directives)) => Ok(directives),
            Err(problem) => Err(problem),
        };
        let key = JobKey { cluster: self.policy.cluster.clone(), job: job.job, submit_s: job.submit_s };
        let seen = job.clone();
        let mut record = new_record(key.clone(), job, read, now, &self.policy);
        record.observe(&seen);
        effects.push(Effect::Journal(Box::new(record.clone())));
        self.by_job.insert(key.job, key.clone());
        self.records.insert(key.clone(), record);
        self.touch(now, &key, effects, |_| {});
    }

    /// Asks for the scripts of candidates.
    fn fetch_scripts(&mut self, effects: &mut Vec<Effect>) {
        let fetching = self.live.fetching.iter().filter(|(_, slot)| *slot == Slot::Script).count();
        let mut free = self.policy.max_script_fetches.saturating_sub(fetching);
        let mut asked = Vec::new();
        for job in self.live.candidates.values() {
            if free == 0 {
                break;
            }
            if !self.live.fetching.contains(&(job.job, Slot::Script)) {
                free -= 1;
                asked.push(job.clone());
            }
        }
        for job in asked {
            self.live.fetching.insert((job.job, Slot::Script));
            self.ask(&job, Slot::Script, Action::FetchScript(job.clone()), effects);
        }
    }

    fn ask(&self, job: &SlurmJob, slot: Slot, action: Action, effects: &mut Vec<Effect>) {
        let key = JobKey { cluster: self.policy.cluster.clone(), job: job.job, submit_s: job.submit_s };
        effects.push(Effect::Perform { id: EffectId { key, generation: 0, slot }, action: Box::new(action) });
    }

    pub(super) fn take_script(
        &mut self,
        now: Millis,
        id: &EffectId,
        answer: Result<Answer, Failure>,
        effects: &mut Vec<Effect>,
    ) {
        self.live.fetching.remove(&(id.key.job, id.slot));
        let candidate = self.live.candidates.get(&id.key.job).filter(|job| job.submit_s == id.key.submit_s).cloned();
        if let (Slot::Script, Some(job), Ok(Answer::Script(script))) = (id.slot, candidate, answer) {
            self.live.candidates.remove(&job.job);
            self.admit(now, job, script.as_deref().unwrap_or_default(), effects);
        }
        // A failed fetch stays a candidate: the next list from Slurm asks again.
        if id.slot == Slot::Script {
            self.fetch_more(id.key.job, effects);
        }
    }

    /// A free place for a script fetch goes to the next candidate, but not to the one that just failed.
    fn fetch_more(&mut self, but: u32, effects: &mut Vec<Effect>) {
        if let Some(failed) = self.live.candidates.remove(&but) {
            self.fetch_scripts(effects);
            self.live.candidates.insert(but, failed);
        } else {
            self.fetch_scripts(effects);
        }
    }

    /// A held job array is one entry until its tasks get entries of their own. Only then can each task's view be made
    /// before it starts, so a window of them is split off at a time.
    fn split_array(&mut self, job: &SlurmJob, effects: &mut Vec<Effect>) {
        if !job.held || self.live.fetching.contains(&(job.job, Slot::Split)) {
            return;
        }
        let of_array = |record: &&Record| record.seen.array_job == job.array_job && record.stage <= Stage::Ready;
        let open = self.records.values().filter(of_array).count();
        let free = self.policy.array_window.saturating_sub(open);
        let tasks = pending_tasks(&job.array_pending, free);
        if !tasks.is_empty() {
            self.live.fetching.insert((job.job, Slot::Split));
            self.ask(
                job,
                Slot::Split,
                Action::SplitArray { job: job.job, tasks, comment: job.admin_comment.clone() },
                effects,
            );
        }
    }
}

/// The first `most` indices of a list as `0-9:2,12%4`; an abbreviated list (`...`) ends where it is cut.
fn pending_tasks(text: &str, most: usize) -> Vec<u32> {
    let text = text.split('%').next().unwrap_or_default();
    let mut out = Vec::new();
    for part in text.trim_matches(['[', ']']).split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last), Ok(step)) = (first.parse::<u32>(), last.parse::<u32>(), step.parse::<usize>()) else {
            break;
        };
        out.extend((first..=last).step_by(step.max(1)).take(most.saturating_sub(out.len())));
    }
    out
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
