//! Detaching a job: Epilog's question.

use std::sync::Arc;
use std::time::Duration;

use forebay_client::ClientError;
use forebay_types::{Cred, InodeId};
use forebay_wire::meta::DirEntry;
use forebay_wire::node::{Detach, FaultClass, NodeReply};
use tokio::time::{Instant, sleep, timeout_at};

use crate::node::{ATTACHED, DETACHED, Service, absent_is_none, fault, is_node_name};

/// Pause between attempts to flush what Epilog did not get flushed.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Service {
    pub(super) async fn detach(self: Arc<Self>, asked: Detach) -> NodeReply {
        if !is_node_name(&asked.node) {
            return NodeReply::Error { text: format!("'{}' is no name of a node", asked.node) };
        }
        let job = asked.job;
        let until = Instant::now() + Duration::from_millis(asked.budget_ms);
        let attempts = match timeout_at(until, self.attempts(&asked)).await {
            Ok(Ok(attempts)) if attempts.is_empty() => {
                self.jobs().attached.remove(&job);
                return NodeReply::Detached { flushed_bytes: 0 };
            }
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the cluster did not answer within {} ms", asked.budget_ms)),
        };
        if let Some(reason) = attempts {
            // A daemon that never attached the job knows nothing of it that could be lost.
            if !self.jobs().attached.contains(&job) {
                tracing::warn!(job, reason, "whether the job was attached here is not known");
                return NodeReply::Detached { flushed_bytes: 0 };
            }
            return self.give_up(asked, &reason);
        }
        let dirty = self.fs.dirty_bytes();
        match timeout_at(until, self.finish(&asked)).await {
            Ok(Ok(())) => NodeReply::Detached { flushed_bytes: dirty },
            Ok(Err(error)) => self.give_up(asked, &error.to_string()),
            Err(_) => {
                let reason = format!("{} bytes are left after {} ms", self.fs.dirty_bytes(), asked.budget_ms);
                self.give_up(asked, &reason)
            }
        }
    }

    /// Flushes everything, then marks the job detached.
    async fn finish(&self, asked: &Detach) -> Result<(), ClientError> {
        self.fs.sync_all().await?;
        for attempt in self.attempts(asked).await? {
            self.mark(attempt, &asked.node, DETACHED).await?;
        }
        self.jobs().attached.remove(&asked.job);
        tracing::info!(job = asked.job, restart = asked.restart, "detached");
        Ok(())
    }

    /// Says that the job's data is not safe yet, and goes on trying.
    fn give_up(self: Arc<Self>, asked: Detach, reason: &str) -> NodeReply {
        let job = asked.job;
        tracing::error!(job, reason, "not flushed; trying on");
        let text = format!(
            "data that job {job} wrote on {} is not flushed yet ({reason}); the client keeps it and goes on trying",
            asked.node
        );
        if self.jobs().flushing.insert(job) {
            tokio::spawn(async move {
                while let Err(error) = self.finish(&asked).await {
                    tracing::info!(job, %error, "still not flushed");
                    sleep(TRY_AGAIN).await;
                }
                self.jobs().flushing.remove(&job);
            });
        }
        NodeReply::Failed(fault(FaultClass::Infra, "E-FLUSH-BUDGET", text))
    }

    /// Directories of the attempts, up to the one given, that this node has attached and not detached. Slurm runs the
    /// Epilog of a job that it starts anew with the number of the attempt that comes next.
    async fn attempts(&self, asked: &Detach) -> Result<Vec<InodeId>, ClientError> {
        let Some(control) = self.control(asked.job).await? else { return Ok(Vec::new()) };
        let Some(nodes) = absent_is_none(self.fs.lookup(&Cred::ROOT, control, b"nodes").await)? else {
            return Ok(Vec::new());
        };
        let mut attempts = Vec::new();
        for entry in self.fs.list(&Cred::ROOT, nodes.ino).await?.iter().filter(|entry| is_up_to(entry, asked.restart)) {
            let has = async |mark: &str| {
                let name = format!("{}.{mark}", asked.node);
                absent_is_none(self.fs.lookup(&Cred::ROOT, entry.ino, name.as_bytes()).await).map(|attr| attr.is_some())
            };
            if has(ATTACHED).await? && !has(DETACHED).await? {
                attempts.push(entry.ino);
            }
        }
        Ok(attempts)
    }
}

/// Whether a directory is of an attempt up to `restart`.
fn is_up_to(entry: &DirEntry, restart: u32) -> bool {
    std::str::from_utf8(&entry.name).ok().and_then(|name| name.parse::<u32>().ok()).is_some_and(|n| n <= restart)
}
