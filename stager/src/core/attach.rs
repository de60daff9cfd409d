//! `attach.json`: what a node's client daemon needs to attach a job, and the variables a job's tasks see.

use std::collections::BTreeMap;

use forebay_directive::{Scratch, env_name};
use forebay_wire::stager::JobPhase;
use serde::{Deserialize, Serialize};

use crate::core::effect::{ControlFile, Slot};
use crate::core::policy::Policy;
use crate::core::record::{Record, Stage};
use crate::core::turn::Turn;

/// Content of `/job/<job>/.forebay/attach.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct AttachDocument {
    /// Attempt it is for.
    pub restart: u32,
    /// The job's user.
    pub uid: u32,
    /// Whether nodes may attach the attempt.
    pub ready: bool,
    /// Where its staging stands.
    pub phase: JobPhase,
    /// Variables for the job's tasks; no secrets.
    pub env: BTreeMap<String, String>,
    /// Absolute path of the view on a node.
    pub view: String,
}

/// The variables of a job.
#[must_use]
pub fn environment(record: &Record, policy: &Policy) -> BTreeMap<String, String> {
    let view = record.view_path(&policy.mount);
    let mut env = BTreeMap::new();
    let mut set = |name: String, value: String| env.insert(name, value);
    set("FOREBAY_JOB".into(), format!("{}/{}", record.key.cluster, record.key.job));
    set("FOREBAY_ATTEMPT".into(), record.attempt.to_string());
    set("FOREBAY_STATUS".into(), format!("{view}/.forebay/{}", ControlFile::Status.name()));
    set("FOREBAY_OUT".into(), format!("{view}/out"));
    for scratch in &record.scratch {
        set(format!("FOREBAY_SCRATCH_{}", env_name(&scratch.name)), format!("{view}/{}", scratch.name));
    }
    let work = record.scratch.iter().find(|scratch| scratch.name == Scratch::DEFAULT_NAME).or(record.scratch.first());
    if let Some(work) = work {
        set("FOREBAY_WORK".into(), format!("{view}/{}", work.name));
    }
    for input in record.inputs.iter().filter(|input| input.skipped.is_none()) {
        let name = format!("FOREBAY_IN_{}", env_name(&input.name));
        let (files, bytes) = input.imported.unwrap_or_default();
        set(format!("{name}_VERSION"), input.dataset.map(|id| id.to_string()).unwrap_or_default());
        set(format!("{name}_FILES"), files.to_string());
        set(format!("{name}_BYTES"), bytes.to_string());
        set(format!("{name}_READY"), if input.hot { "1" } else { "0" }.into());
        set(name, format!("{view}/in/{}", input.name));
    }
    if record.resumed {
        set("FOREBAY_RESUMED".into(), "1".into());
    }
    env
}

/// The document as it should stand in the view now.
#[must_use]
pub fn document(record: &Record, policy: &Policy) -> String {
    let document = AttachDocument {
        restart: record.attempt,
        uid: record.seen.uid,
        ready: record.attachable(),
        phase: record.phase(),
        env: environment(record, policy),
        view: record.view_path(&policy.mount),
    };
    serde_json::to_string(&document).unwrap_or_default()
}

impl Turn<'_> {
    /// Whether the nodes see the document as it should stand.
    pub(super) fn attach_is_written(&self) -> bool {
        self.record.attach == document(self.record, self.policy)
    }

    /// Writes control files that have changed, as long as there is a view to write them into.
    pub(super) fn control_files(&mut self) {
        let leaving = matches!(self.record.stage, Stage::Cancelling | Stage::Closed);
        let removing = self.record.remove_at_ms.is_some_and(|at| at <= self.now);
        if !self.record.view || leaving || removing {
            return;
        }
        if !self.attach_is_written() {
            let slot = Slot::Control(ControlFile::Attach);
            let running = self.live.runs(&self.record.key, slot);
            self.want(slot);
            if !running && self.live.runs(&self.record.key, slot) {
                self.note_attach_asked();
            }
        }
        let current = (self.record.phase(), self.record.attempt);
        if self.live.status_for.get(&self.record.key) != Some(&current) {
            self.live.status_for.insert(self.record.key.clone(), current);
            self.want(Slot::Control(ControlFile::Status));
            if self.record.stage == Stage::Done {
                self.want(Slot::Control(ControlFile::Report));
            }
        }
    }
}
