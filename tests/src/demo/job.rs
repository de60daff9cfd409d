//! One job of the demo: submitted, watched while it waits, followed to its end, its results looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::cold::ColdTier;
use super::record::{JobRecord, checks};
use super::screen::Screen;
use super::verify;
use crate::error::{Context, LabError};
use crate::lab::Lab;
use crate::node::User;
use crate::site::Site;
use crate::slurm::Job;
use crate::wait;

const WAITS: Duration = Duration::from_secs(120);
const RUNS: Duration = Duration::from_secs(150);
const RELEASED: Duration = Duration::from_secs(60);

/// What the demo's jobs run in.
pub struct Stage<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// The site.
    pub site: &'a Site,
    /// The cold tier.
    pub cold: &'a ColdTier,
    /// Where to print.
    pub screen: &'a Screen,
}

impl Stage<'_> {
    /// Submits a batch script as alice; the result is the job's id.
    pub fn submit(&self, script: &str) -> Result<u32, LabError> {
        self.site.slurm.wait_idle(RUNS)?;
        let id = self.site.slurm.submit(&User::alice(), script, &[])?;
        self.screen.note(&format!("alice submits job {id}"));
        Ok(id)
    }

    /// Watches a job until it has left the queue's waiting part: no node may be taken meanwhile.
    pub fn watch_pending(&self, id: u32, record: &mut JobRecord) -> Result<(), LabError> {
        let mut shown = BTreeSet::new();
        wait::until(&format!("job {id} has its data and starts"), WAITS, || {
            // The nodes first: a job that is still pending afterwards had none when they were looked at.
            let taken = self.taken_nodes()?;
            let job = self.site.slurm.job(id)?;
            if job.state() != "PENDING" {
                return Ok(wait::Seen::Yes(()));
            }
            if !taken.is_empty() {
                return Err(LabError::Slurm(format!("job {id} waits for its data, and yet nodes are taken: {taken}")));
            }
            record.pending_samples += 1;
            let comment = self.queue_comment(id)?;
            let status = self.site.status(id).unwrap_or_default();
            let line = format!("squeue: {} {} | {comment}", job.state(), job.reason());
            for line in [line, status_line(&status)] {
                if !line.is_empty() && shown.insert(line.clone()) {
                    self.screen.note(&line);
                    record.pending_comments.push(line);
                }
            }
            if status["phase"] == "WAIT_USER" {
                return Err(LabError::Slurm(format!("job {id} waits for its user: {comment}")));
            }
            let (ready, bytes) = ready_bytes(&status);
            self.screen.progress(ready, bytes, "recalled");
            Ok(wait::Seen::NotYet(format!("{comment}\n{status}")))
        })?;
        self.screen.note(&format!("no node was taken in {} looks at the queue", record.pending_samples));
        Ok(())
    }

    /// Waits for a job's end and the delivery of its results, and looks at everything.
    pub fn finish(&self, id: u32, mut record: JobRecord) -> Result<JobRecord, LabError> {
        let job = self.site.slurm.wait_job_end(id, RUNS)?;
        record.job = id;
        record.state = job.state().to_owned();
        let output = self.lab.shared().join(format!("job-{id}.out"));
        let said = std::fs::read_to_string(&output).context(|| format!("read {}", output.display()))?;
        record.checks = checks(&said);
        self.screen.note(&format!("job {id} ended {} on {}", job.state(), job.field("NodeList")));
        said.lines().filter(|line| line.starts_with("CHECK ")).for_each(|line| self.screen.note(line));
        if job.state() != "COMPLETED" || record.checks.len() != 2 {
            return Err(LabError::Slurm(format!("job {id} failed; its output:\n{said}\n{}", job.text)));
        }
        self.site
            .job(&User::root(), &["wait", &id.to_string(), "--for", "out", "--timeout", "90"])?
            .deadline(RUNS)
            .run()?;
        let dir = self.cold.objects.join("results").join(id.to_string());
        let verdict = verify::results(&dir, &self.lab.shared().join(format!("results-{id}.sha256")))?;
        (record.out_objects, record.out_verified) = (verdict.objects, verdict.verified);
        self.screen.note(&format!(
            "results: {} objects in {}/results/{id}/, {} verified against the job's own list and the manifest",
            verdict.objects, self.cold.url, verdict.verified
        ));
        if verdict.missing > 0 || !verdict.marked {
            return Err(LabError::Lab(format!("delivered incomplete results of job {id}: {verdict:?}")));
        }
        self.await_release(id, &job)?;
        Ok(record)
    }

    /// Prints the stager's report and keeps it.
    pub fn report(&self, record: &mut JobRecord) -> Result<(), LabError> {
        let id = record.job.to_string();
        self.screen.note(&self.site.job(&User::alice(), &["report", &id])?.run()?);
        record.report = self.site.job_json(&["report", &id])?;
        Ok(())
    }

    /// Waits until the job's scratch and view are gone from the filesystem and its references with them.
    fn await_release(&self, id: u32, job: &Job) -> Result<(), LabError> {
        let node = self.lab.node(&self.site.slurm.nodes()[0]);
        let view = format!("{}/job/{id}", crate::cluster::MOUNT);
        self.site.wait_phase(id, &["CLOSED"], RELEASED)?;
        wait::until(&format!("the scratch of job {id} is released"), RELEASED, || {
            let list = node.command("ls").args(["-a", &view]).output()?;
            Ok(if list.status.success() { wait::Seen::NotYet(list.stdout + &job.text) } else { wait::Seen::Yes(()) })
        })?;
        self.screen.note(&format!("the scratch of job {id} and its references are released"));
        Ok(())
    }

    fn taken_nodes(&self) -> Result<String, LabError> {
        let seen = self.site.slurm.command(&User::root(), "sinfo").args(["-h", "-N", "-o", "%N %T"]).run()?;
        Ok(seen.lines().filter(|line| !line.ends_with(" idle")).collect::<Vec<_>>().join(", "))
    }

    fn queue_comment(&self, id: u32) -> Result<String, LabError> {
        let ask = ["-h", "-j", &id.to_string(), "-O", "admin_comment:250"].map(str::to_owned);
        Ok(self.site.slurm.command(&User::alice(), "squeue").args(ask).run()?.trim().to_owned())
    }
}

/// `forebay job status` in one line.
fn status_line(status: &Value) -> String {
    let Some(phase) = status["phase"].as_str() else { return String::new() };
    let files =
        |key: &str| status["inputs"].as_array().into_iter().flatten().filter_map(|i| i[key].as_u64()).sum::<u64>();
    let (ready, bytes) = ready_bytes(status);
    let (hot, all) = (super::screen::size(ready), super::screen::size(bytes));
    format!("forebay job status: {phase}, {} of {} files, {hot} of {all} hot", files("ready_files"), files("files"))
}

/// Bytes of the inputs that are hot, and all.
fn ready_bytes(status: &Value) -> (u64, u64) {
    let inputs = status["inputs"].as_array().cloned().unwrap_or_default();
    let sum = |key: &str| inputs.iter().filter_map(|input| input[key].as_u64()).sum();
    (sum("ready_bytes"), sum("bytes"))
}
