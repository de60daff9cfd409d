//! `attach.json`: what the stager says of a job's view, and what it means for a node.

use std::collections::BTreeMap;

use forebay_wire::node::{Attach, Fault, FaultClass};
use serde::Deserialize;

use crate::node::fault;

/// What is read of the document; the stager writes more than a node needs.
#[derive(Clone, PartialEq, Eq, Deserialize, Debug)]
pub(super) struct Document {
    /// Attempt it is for.
    pub restart: u32,
    /// The job's user.
    pub uid: u32,
    /// Whether nodes may attach the attempt.
    pub ready: bool,
    /// Where its staging stands, for people.
    #[serde(default)]
    pub phase: String,
    /// Variables for the job's tasks.
    pub env: BTreeMap<String, String>,
    /// Path of the view, as the variables have it.
    pub view: String,
}

/// What a node is to do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Judgement {
    /// Attach.
    Ready,
    /// Not now, and why.
    NotYet(String),
    /// The stager has not seen this attempt yet: at its next look at Slurm's queue it will. Why, for people.
    Behind(String),
    /// Never.
    Refused(Fault),
}

impl Document {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Whether a job may be attached by it.
    pub fn judge(&self, asked: &Attach) -> Judgement {
        if self.uid != asked.uid {
            let text = format!(
                "the data of job {} belongs to user {}, and the job is user {}'s: ask your administrator",
                asked.job, self.uid, asked.uid
            );
            return Judgement::Refused(fault(FaultClass::User, "E-JOB-OWNER", text));
        }
        if self.restart != asked.restart {
            let text = format!("its data is prepared for attempt {}, this is attempt {}", self.restart, asked.restart);
            return if self.restart < asked.restart { Judgement::Behind(text) } else { Judgement::NotYet(text) };
        }
        if !self.ready {
            return Judgement::NotYet(format!("its data is not ready (phase {})", self.phase));
        }
        Judgement::Ready
    }

    /// The variables, with paths of the view moved to where it is on this node.
    pub fn env_at(&self, view: &str) -> BTreeMap<String, String> {
        let moved = |value: &String| match value.strip_prefix(&self.view) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{view}{rest}"),
            _ => value.clone(),
        };
        self.env.iter().map(|(name, value)| (name.clone(), moved(value))).collect()
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
