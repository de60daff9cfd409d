//! Records as users see them: status, report.

use forebay_wire::stager::{InputStatus, JobPhase, JobReport, JobStatus, OutputStatus};

use crate::core::comment::{self, short_size};
use crate::core::effect::Slot;
use crate::core::ids::Millis;
use crate::core::live::Live;
use crate::core::policy::Policy;
use crate::core::record::{OutputState, Record, Stage};

/// Sums over a job's inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub files: u64,
    pub bytes: u64,
    pub ready_bytes: u64,
    pub moved_bytes: u64,
}

pub(crate) fn totals(record: &Record, live: &Live) -> Totals {
    let mut sum = Totals::default();
    for (index, input) in record.inputs.iter().enumerate() {
        let status = input_status(record, live, index);
        sum.files += status.files;
        sum.bytes += status.bytes;
        sum.ready_bytes += status.ready_bytes;
        let recall = live.progress.get(&(record.key.clone(), Slot::Recall(index as u32)));
        sum.moved_bytes += if input.hot { input.recalled_bytes } else { recall.map_or(0, |p| p.moved_bytes) };
    }
    sum
}

fn input_status(record: &Record, live: &Live, index: usize) -> InputStatus {
    let input = &record.inputs[index];
    let probed = input.probed.as_ref().map_or((0, 0), |probed| (probed.files, probed.bytes));
    let (files, bytes) = input.imported.unwrap_or(probed);
    let recall = live.progress.get(&(record.key.clone(), Slot::Recall(index as u32)));
    let (ready_files, ready_bytes) = match recall {
        _ if input.hot => (files, bytes),
        Some(progress) => (progress.done_files.min(files), progress.done_bytes.min(bytes)),
        None => (0, 0),
    };
    InputStatus { name: input.name.clone(), uri: input.uri.clone(), files, bytes, ready_files, ready_bytes }
}

fn output_status(record: &Record, live: &Live, index: usize) -> OutputStatus {
    let output = &record.outputs[index];
    let progress = live.progress.get(&(record.key.clone(), Slot::Export(index as u32)));
    let found = progress.map_or((0, 0), |p| (p.files, p.bytes));
    let done = progress.map_or((0, 0), |p| (p.done_files, p.done_bytes));
    let (files, bytes) = output.committed.unwrap_or(found);
    let (done_files, done_bytes) = output.committed.unwrap_or(done);
    OutputStatus {
        path: format!("{}:{}", output.scratch, output.path),
        uri: output.uri.clone(),
        files,
        bytes,
        done_files,
        done_bytes,
        committed: output.state == OutputState::Committed,
        problem: output.problem.clone(),
    }
}

/// The job as `forebay job status` shows it.
pub(crate) fn job_status(record: &Record, live: &Live, policy: &Policy, now: Millis) -> JobStatus {
    let waiting = || record.retries.iter().find(|retry| retry.slot.stages_in()).map(|retry| retry.problem.clone());
    let lost = || {
        let troubled = record.outputs.iter().find(|output| output.problem.is_some());
        troubled.and_then(|output| output.problem.clone()).filter(|_| record.stage >= Stage::Outgoing)
    };
    JobStatus {
        job: record.key.job,
        name: record.seen.name.clone(),
        uid: record.seen.uid,
        restart: record.attempt,
        phase: record.phase(),
        slurm_state: record.seen.state.word().to_owned(),
        comment: comment::of(record, live, policy, now),
        problem: record.blocked.clone().or_else(waiting).or_else(lost),
        inputs: (0..record.inputs.len()).map(|index| input_status(record, live, index)).collect(),
        outputs: (0..record.outputs.len()).map(|index| output_status(record, live, index)).collect(),
        view: if record.view { record.view_path(&policy.mount) } else { String::new() },
        eta_s: comment::eta_s(record, live, now),
    }
}

/// Seconds from the first time any of `from` was entered to the first later time any of `to` was; up to now if none.
fn between(record: &Record, from: &[JobPhase], to: &[JobPhase], now: Millis) -> f64 {
    let Some(start) = record.history.iter().position(|(_, phase)| from.contains(phase)) else { return 0.0 };
    let start_ms = record.history[start].0;
    let end = record.history[start + 1..].iter().find(|(_, phase)| to.contains(phase)).map_or(now, |(at, _)| *at);
    end.saturating_sub(start_ms) as f64 / 1000.0
}

/// The report.
pub(crate) fn report(record: &Record, live: &Live, policy: &Policy, now: Millis) -> JobReport {
    use JobPhase::{Bound, Cancelling, Closed, Done, Flushing, Outgoing, Parked, Ready, Running, Sealed};
    let status = job_status(record, live, policy, now);
    let first: Vec<JobPhase> = record.history.first().map(|(_, phase)| *phase).into_iter().collect();
    let over = [Flushing, Sealed, Outgoing, Parked, Done, Closed, Cancelling];
    let any_run = [&[Ready, Bound, Running][..], &over].concat();
    let mut report = JobReport {
        nodes: record.nodes.iter().map(|node| node.node.clone()).collect(),
        stage_in_s: between(record, &first, &any_run, now),
        queue_s: between(record, &[Ready], &[&[Bound, Running][..], &over].concat(), now),
        run_s: between(record, &[Bound, Running], &over, now),
        flush_s: between(record, &[Flushing], &[Sealed, Outgoing, Parked, Done, Closed], now),
        stage_out_s: between(record, &[Sealed, Outgoing], &[Done, Closed], now),
        recalled_bytes: totals(record, live).moved_bytes,
        text: String::new(),
        status,
    };
    report.text = text(record, &report);
    report
}

fn per_second(bytes: u64, seconds: f64) -> String {
    if seconds <= 0.0 { "-".into() } else { format!("{}/s", short_size((bytes as f64 / seconds) as u64)) }
}

/// The report for people: only what was measured.
fn text(record: &Record, report: &JobReport) -> String {
    let status = &report.status;
    let state = &status.slurm_state;
    let mut lines = vec![
        format!(
            "Forebay report  job {} ({})  attempt {}  {state}  nodes {}",
            status.job,
            status.name,
            record.attempt + 1,
            report.nodes.len()
        ),
        format!(
            " wait for data {:.1}s  then in the queue {:.1}s  run {:.1}s",
            report.stage_in_s, report.queue_s, report.run_s
        ),
    ];
    for input in &status.inputs {
        lines.push(format!(
            " in   {} {} {} files hot {}/{}",
            input.name,
            short_size(input.bytes),
            input.files,
            short_size(input.ready_bytes),
            short_size(input.bytes)
        ));
    }
    if !status.inputs.is_empty() {
        let staging = between(record, &[JobPhase::Staging], &[JobPhase::Ready], 0);
        let rate = per_second(report.recalled_bytes, staging);
        lines.push(format!(" recalled {} in {staging:.1}s {rate}", short_size(report.recalled_bytes)));
    }
    for (output, kept) in status.outputs.iter().zip(&record.outputs) {
        let word = match kept.state {
            OutputState::Waiting => "waiting",
            OutputState::Selected => "copying",
            OutputState::Committed => "COMMITTED",
            OutputState::Skipped => "not asked for",
            OutputState::Nothing => "nothing there",
            OutputState::Dropped => "FAILED",
            OutputState::Parked => "PARKED",
        };
        let why = output.problem.as_ref().map(|p| format!(" {} {}", p.code, p.text)).unwrap_or_default();
        lines.push(format!(
            " out  {} {} {} files {word} {}{why}",
            output.path,
            short_size(output.bytes),
            output.files,
            output.uri
        ));
    }
    lines.push(format!(" timings  flush {:.1}s  out {:.1}s", report.flush_s, report.stage_out_s));
    lines.join("\n") + "\n"
}
