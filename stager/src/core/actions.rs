//! What an effect of a record does, in full; derived from the record when it is performed.

use forebay_directive::Conflict;

use crate::core::comment;
use crate::core::effect::{Action, ControlFile, JobRef, Probed, Slot, Work};
use crate::core::ids::{Millis, TaskKind, task_id};
use crate::core::live::Live;
use crate::core::policy::Policy;
use crate::core::record::{OutputRecord, Record};
use crate::core::{attach, status};

/// Name of the manifest of an output, below its prefix.
pub const MANIFEST: &str = "_forebay_manifest.json";

/// The action of a slot; `None` where the record has nothing (left) for it.
pub(crate) fn action_of(record: &Record, slot: Slot, live: &Live, policy: &Policy, now: Millis) -> Option<Action> {
    let job = record.key.job;
    let (uid, gid) = (record.seen.uid, record.seen.gid);
    let reference = JobRef::of(&record.seen);
    Some(match slot {
        Slot::Script | Slot::Split => return None,
        Slot::Probe(index) => {
            let uri = record.inputs.get(index as usize)?.uri.clone();
            Action::Probe { uri, uid, gid, write: false }
        }
        Slot::ProbeOut(index) => {
            let uri = record.outputs.get(index as usize)?.uri.clone();
            Action::Probe { uri, uid, gid, write: true }
        }
        Slot::Dataset(index) => {
            let dataset = record.inputs.get(index as usize)?.dataset?;
            Action::Dataset { dataset, uid, gid, job }
        }
        Slot::View => Action::CreateView(record.view_spec()),
        Slot::Import(_) | Slot::Recall(_) | Slot::Export(_) | Slot::Remove => run(record, slot)?,
        Slot::Control(ControlFile::Attach) => {
            Action::Control { job, file: ControlFile::Attach, json: attach::document(record, policy) }
        }
        Slot::Control(file) => {
            let json = match file {
                ControlFile::Report => serde_json::to_string(&status::report(record, live, policy, now)),
                _ => serde_json::to_string(&status::job_status(record, live, policy, now)),
            };
            Action::Control { job, file, json: json.ok()? }
        }
        Slot::Release => Action::Release(reference),
        Slot::Hold => Action::Hold(reference),
        Slot::CancelJob => Action::CancelJob(reference),
        Slot::Comment => Action::Comment {
            text: comment::merge(&record.seen.admin_comment, &comment::of(record, live, policy, now)),
            job: reference,
        },
        Slot::Nodes => Action::ReadNodes { job, restart: record.attempt },
        Slot::DropHold(index) => {
            let dataset = record.inputs.get(index as usize)?.dataset?;
            Action::DropHold { dataset, job }
        }
    })
}

fn run(record: &Record, slot: Slot) -> Option<Action> {
    let (kind, index, work) = match slot {
        Slot::Import(index) => {
            let input = record.inputs.get(index as usize)?;
            let Probed { tier, prefix, .. } = input.probed.clone()?;
            let (include, exclude) = (input.include.clone(), input.exclude.clone());
            (TaskKind::Import, index, Work::Import { into: input.inode?, tier, prefix, include, exclude })
        }
        Slot::Recall(index) => {
            let root = record.inputs.get(index as usize)?.inode?;
            (TaskKind::Recall, index, Work::Recall { root })
        }
        Slot::Export(index) => (TaskKind::Export, index, export(record, record.outputs.get(index as usize)?)?),
        _ => (TaskKind::Remove, 0, Work::RemoveView),
    };
    let task = task_id(&record.key, record.attempt, kind, index, record.round);
    Some(Action::Run { task, job: record.key.job, uid: record.seen.uid, gid: record.seen.gid, work })
}

/// The object key prefix of an output; with `conflict=version` each attempt has its own.
#[must_use]
pub fn export_prefix(prefix: &str, conflict: Conflict, attempt: u32) -> String {
    if conflict != Conflict::Version {
        return prefix.to_owned();
    }
    let suffix = format!(".attempt-{attempt}");
    match prefix.strip_suffix('/') {
        Some(body) => format!("{body}{suffix}/"),
        None => format!("{prefix}{suffix}"),
    }
}

fn export(record: &Record, output: &OutputRecord) -> Option<Work> {
    let Probed { tier, prefix, .. } = output.probed.clone()?;
    let path = match output.path.trim_end_matches('/') {
        "" => output.scratch.clone(),
        below => format!("{}/{below}", output.scratch),
    };
    Some(Work::Export {
        path,
        tier,
        prefix: export_prefix(&prefix, output.conflict, record.attempt),
        conflict: output.conflict,
        manifest: MANIFEST.into(),
        marker: output.marker.clone(),
        label: format!("{}/{} attempt {}", record.key.cluster, record.key.job, record.attempt),
    })
}
