//! What happened, measured: the demo's `--json`.

use std::path::Path;

use serde::Serialize;

use crate::error::{Context, LabError};
use crate::footprint::Leftovers;

/// The file's contents.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// What Slurm said of the jobs: `COMPLETED`, or the first state that is another.
    pub job_state: String,
    /// Files of the first job's dataset, as its nodes counted them.
    pub in_files: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Files that did not read back as they should on a node, in all jobs.
    pub checksum_errors: u64,
    /// Storage hosts that died by SIGKILL while a job ran.
    pub hosts_killed: u64,
    /// Objects of results found in the cold tier, in all jobs.
    pub out_objects: u64,
    /// Of those, objects whose checksum is what the job recorded, and which the manifest names with their size.
    pub out_verified: u64,
    /// Nodes that Slurm drained, or took for failed or down.
    pub nodes_drained: u64,
    /// Processes, mounts, namespaces and files still there after the teardown; absent with `--keep`.
    pub leftovers: Option<u64>,
    /// What they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Leftovers>,
    /// From the beginning to after the teardown.
    pub seconds: f64,
    /// What kind of cold tier it was: `directory` or `s3`.
    pub cold_tier: &'static str,
    /// Each job.
    pub jobs: Vec<JobRecord>,
    /// What went wrong, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobRecord {
    /// Slurm's id.
    pub job: u32,
    /// Slurm's last word.
    pub state: String,
    /// How often it was looked at while it was pending, each time with every compute node idle.
    pub pending_samples: u64,
    /// Comments of Slurm's queue and lines of `forebay job status` seen meanwhile.
    pub pending_comments: Vec<String>,
    /// What each node counted.
    pub checks: Vec<NodeCheck>,
    /// Objects of its results in the cold tier.
    pub out_objects: u64,
    /// Of those, verified.
    pub out_verified: u64,
    /// The stager's report.
    pub report: serde_json::Value,
}

/// What one node of a job counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct NodeCheck {
    /// The node.
    pub node: String,
    /// Files of the dataset.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the dataset and of the other node that were not as they should be.
    pub checksum_errors: u64,
}

impl Record {
    /// Takes a job's figures over.
    pub fn add(&mut self, job: JobRecord) {
        if self.job_state.is_empty() || self.job_state == "COMPLETED" {
            self.job_state = job.state.clone();
        }
        if self.jobs.is_empty() {
            (self.in_files, self.in_bytes) = job.checks.first().map_or((0, 0), |check| (check.files, check.bytes));
        }
        self.checksum_errors += job.checks.iter().map(|check| check.checksum_errors).sum::<u64>();
        self.out_objects += job.out_objects;
        self.out_verified += job.out_verified;
        self.jobs.push(job);
    }

    /// Everything that is not as it should be.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.error.iter().cloned().collect();
        let mut expect = |holds: bool, text: String| {
            if !holds {
                faults.push(text);
            }
        };
        expect(self.job_state == "COMPLETED", format!("a job ended {}", self.job_state));
        expect(self.checksum_errors == 0, format!("{} checksum errors", self.checksum_errors));
        expect(self.hosts_killed == 2, format!("{} storage hosts were killed, not 2", self.hosts_killed));
        expect(self.out_objects > 0, "no results in the cold tier".to_owned());
        let unverified = self.out_objects - self.out_verified;
        expect(unverified == 0, format!("{unverified} of {} objects of results do not verify", self.out_objects));
        expect(self.nodes_drained == 0, format!("{} nodes were drained", self.nodes_drained));
        expect(self.leftovers.unwrap_or(0) == 0, format!("{:?} things are left", self.leftovers));
        faults
    }

    /// Writes it to `path`.
    pub fn write(&self, path: &Path) -> Result<(), LabError> {
        let text = serde_json::to_string_pretty(self).expect("plain data is always JSON") + "\n";
        std::fs::write(path, text).context(|| format!("write {}", path.display()))
    }
}

/// The lines `CHECK {…}` of a job's output.
pub fn checks(output: &str) -> Vec<NodeCheck> {
    output.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("CHECK ")?).ok()).collect()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
