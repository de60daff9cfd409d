//! What the user reads in `squeue -O AdminComment`: one line, at most 200 characters.

use forebay_wire::stager::JobPhase;
use forebay_wire::tier::TaskState;

use crate::core::effect::Slot;
use crate::core::ids::Millis;
use crate::core::live::Live;
use crate::core::plan::MARK;
use crate::core::policy::Policy;
use crate::core::record::{OutputState, Record, Stage};
use crate::core::status::totals;
use crate::core::turn::Turn;

/// Most characters of our part of the comment.
pub const MAX_CHARS: usize = 200;
const SEPARATOR: &str = " | ";

/// Bytes in the shortest form that still says something, as in `1.2T`.
#[must_use]
pub fn short_size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 5] = [("P", 1 << 50), ("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes}B"),
        Some((name, unit)) if bytes / unit >= 10 => format!("{}{name}", bytes / unit),
        Some((name, unit)) => format!("{}.{}{name}", bytes / unit, bytes % unit * 10 / unit),
    }
}

/// Time of day, local.
#[must_use]
pub fn clock(at: Millis, policy: &Policy) -> String {
    let seconds = (i64::try_from(at / 1000).unwrap_or(0) + policy.utc_offset_s).rem_euclid(86_400);
    format!("{:02}:{:02}", seconds / 3_600, seconds % 3_600 / 60)
}

/// Bytes a second that the job's recall moves, where that can be told.
pub(crate) fn rate(record: &Record, live: &Live, now: Millis) -> Option<u64> {
    let (since, from) = live.rate_from.get(&record.key)?;
    let elapsed = now.saturating_sub(*since);
    let moved = totals(record, live).moved_bytes.saturating_sub(*from);
    (elapsed >= 1_000 && moved > 0).then(|| (u128::from(moved) * 1000 / u128::from(elapsed)) as u64)
}

/// Seconds until the inputs are there, where that can be told.
pub(crate) fn eta_s(record: &Record, live: &Live, now: Millis) -> Option<u64> {
    if record.stage != Stage::Staging {
        return None;
    }
    let totals = totals(record, live);
    let rate = rate(record, live, now)?;
    Some(totals.bytes.saturating_sub(totals.ready_bytes).div_ceil(rate.max(1)))
}

fn staging(record: &Record, live: &Live, policy: &Policy, now: Millis) -> String {
    let totals = totals(record, live);
    for (slot, _) in live.running(&record.key) {
        let progress = live.progress.get(&(record.key.clone(), slot));
        if let Some(TaskState::Retrying(error)) = progress.map(|progress| &progress.state) {
            return format!("waiting, {error}");
        }
    }
    let missing = totals.bytes.saturating_sub(totals.ready_bytes);
    if let Some(place) = live.queue_place(&record.key).filter(|_| live.running(&record.key).is_empty()) {
        return format!("queued #{place}, {} missing", short_size(missing));
    }
    let percent = (u128::from(totals.ready_bytes) * 100).checked_div(u128::from(totals.bytes)).unwrap_or(0);
    let mut text = format!("{percent}% {}/{}", short_size(totals.ready_bytes), short_size(totals.bytes));
    if let Some(rate) = rate(record, live, now) {
        text.push_str(&format!(" {}/s", short_size(rate)));
    }
    if let Some(eta) = eta_s(record, live, now) {
        text.push_str(&format!(" ETA {}", clock(now + eta * 1000, policy)));
    }
    text
}

fn seconds(record: &Record, from: JobPhase, to: JobPhase) -> u64 {
    match (record.entered(from), record.entered(to)) {
        (Some(from), Some(to)) => to.saturating_sub(from) / 1000,
        _ => 0,
    }
}

/// The compact record that stays when the job is over.
fn last_word(record: &Record, live: &Live) -> String {
    let bytes_in = totals(record, live).bytes;
    let out: u64 = record.outputs.iter().filter_map(|output| output.committed).map(|(_, bytes)| bytes).sum();
    let stage_in = record
        .history
        .first()
        .map_or(0, |(first, _)| record.entered(JobPhase::Ready).map_or(0, |ready| ready.saturating_sub(*first) / 1000));
    let stage_out = seconds(record, JobPhase::Outgoing, JobPhase::Done);
    let lost = record.outputs.iter().find(|output| output.state == OutputState::Dropped);
    let verdict = lost
        .and_then(|output| output.problem.as_ref())
        .map_or("ok".to_owned(), |problem| format!("OUT=FAILED {} {}", problem.code, problem.text));
    format!("forebay:v1 in={}/{stage_in}s out={}/{stage_out}s {verdict}", short_size(bytes_in), short_size(out))
}

/// The comment as it should read now.
pub(crate) fn of(record: &Record, live: &Live, policy: &Policy, now: Millis) -> String {
    let job = record.key.job;
    let text = match record.phase() {
        JobPhase::New => "waiting for data".to_owned(),
        JobPhase::Resolving => {
            let (sources, s) = (record.inputs.len(), if record.inputs.len() == 1 { "" } else { "s" });
            format!("resolving {sources} source{s}")
        }
        JobPhase::Admitted => format!("preparing, {} to stage in", short_size(totals(record, live).bytes)),
        JobPhase::Staging => staging(record, live, policy, now),
        JobPhase::WaitUser => record.blocked.as_ref().map_or_else(String::new, |problem| {
            if problem.remedy.contains("forebay job") || record.stage == Stage::New {
                format!("{} {}; {}", problem.code, problem.text, problem.remedy)
            } else {
                format!("{} {}; {}, then: forebay job retry {job}", problem.code, problem.text, problem.remedy)
            }
        }),
        JobPhase::WaitInfra => {
            let retry = record.retries.iter().find(|retry| retry.slot.stages_in());
            retry.map_or_else(String::new, |retry| {
                format!("waiting since {}, {}", clock(retry.since_ms, policy), retry.problem.text)
            })
        }
        JobPhase::Ready => "data ready".to_owned(),
        JobPhase::Bound | JobPhase::Running => "running".to_owned(),
        JobPhase::Flushing => "waiting for the nodes to write their data".to_owned(),
        JobPhase::Sealed | JobPhase::Outgoing => "copying results".to_owned(),
        JobPhase::Parked => parked(record),
        JobPhase::Done | JobPhase::Closed => return clip(&last_word(record, live)),
        JobPhase::Cancelling => "cancelled, releasing data".to_owned(),
    };
    clip(&format!("{MARK} {text}"))
}

fn parked(record: &Record) -> String {
    let output = record.outputs.iter().find(|output| output.state == OutputState::Parked);
    output.and_then(|output| output.problem.as_ref()).map_or_else(String::new, |problem| {
        format!(
            "OUT=PARKED {} {}; {}, then: forebay job retry {}",
            problem.code, problem.text, problem.remedy, record.key.job
        )
    })
}

fn clip(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if one_line.chars().count() <= MAX_CHARS {
        return one_line;
    }
    let mut short: String = one_line.chars().take(MAX_CHARS - 3).collect();
    short.push_str("...");
    short
}

/// Puts our part into a comment, leaving what others wrote there.
#[must_use]
pub fn merge(existing: &str, ours: &str) -> String {
    let others = existing.split(SEPARATOR).filter(|part| !part.is_empty() && !part.starts_with(MARK));
    std::iter::once(ours).chain(others).collect::<Vec<_>>().join(SEPARATOR)
}

impl Turn<'_> {
    /// Sets the comment where it should read otherwise: at once when the phase changes, rarely for progress.
    pub(super) fn comment(&mut self) {
        if !self.record.comments || self.record.missing_since_ms.is_some() {
            return;
        }
        let text = of(self.record, self.live, self.policy, self.now);
        let (shown, at) = &self.record.comment;
        if *shown == text {
            return;
        }
        let progress =
            self.record.stage == Stage::Staging && *at >= self.record.since_ms && self.record.blocked.is_none();
        let next_at = at.saturating_add(self.policy.comment_interval_ms);
        if progress && self.now < next_at {
            return self.wake_at(next_at);
        }
        if self.live.runs(&self.record.key, Slot::Comment) {
            return;
        }
        self.want(Slot::Comment);
        if self.live.runs(&self.record.key, Slot::Comment) {
            self.record.comment = (text, self.now);
        }
    }
}
