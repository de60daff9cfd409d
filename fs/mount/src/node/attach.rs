//! Attaching a job: Prolog's question.

use std::sync::Arc;
use std::time::Duration;

use forebay_client::ClientError;
use forebay_types::{Cred, InodeId};
use forebay_wire::node::{Attach, FaultClass, NodeReply};
use tokio::time::{Instant, sleep, timeout_at};

use crate::node::document::{Document, Judgement};
use crate::node::{ATTACHED, Service, fault, is_node_name};

/// How long a view that is not ready is waited for.
const READY_WAIT: Duration = Duration::from_secs(5);
/// What is left of the budget for the answer, after an attempt that the stager has not seen was waited for in vain. It
/// may start before the stager's next look at the queue, which is `[slurm] poll` away.
const BEHIND_MARGIN: Duration = Duration::from_secs(2);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Service {
    pub(super) async fn attach(self: Arc<Self>, asked: Attach) -> NodeReply {
        if !is_node_name(&asked.node) {
            return NodeReply::Error { text: format!("'{}' is no name of a node", asked.node) };
        }
        let job = asked.job;
        let until = Instant::now() + Duration::from_millis(asked.budget_ms);
        let control = match timeout_at(until, self.control(job)).await {
            Ok(Ok(Some(control))) => control,
            Ok(Ok(None)) => return NodeReply::NoView,
            // Most jobs never asked for a view: none may fail because nobody can say. One that did ask is failed by
            // its own plugin, which finds no view.
            Ok(Err(error)) => {
                tracing::error!(job, %error, "whether the job has a view is not known");
                return NodeReply::NoView;
            }
            Err(_) => {
                tracing::error!(job, budget_ms = asked.budget_ms, "whether the job has a view is not known in time");
                return NodeReply::NoView;
            }
        };
        match timeout_at(until, self.attach_view(&asked, control)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::error!(job, %error, "job not attached");
                let text = format!("the view of job {job} cannot be read: {error}");
                NodeReply::Failed(fault(FaultClass::Infra, "E-JOB-VIEW", text))
            }
            Err(_) => {
                let text = format!("the view of job {job} could not be attached within {} ms", asked.budget_ms);
                NodeReply::Failed(fault(FaultClass::Infra, "E-JOB-VIEW", text))
            }
        }
    }

    async fn attach_view(&self, asked: &Attach, control: InodeId) -> Result<NodeReply, ClientError> {
        let document = match self.ready_document(asked, control).await? {
            Ok(document) => document,
            Err(reply) => return Ok(reply),
        };
        let nodes = self.fs.make_dir(&Cred::ROOT, control, b"nodes", 0o755).await?;
        let attempt = self.fs.make_dir(&Cred::ROOT, nodes.ino, asked.restart.to_string().as_bytes(), 0o755).await?;
        self.mark(attempt.ino, &asked.node, ATTACHED).await?;
        self.jobs().attached.insert(asked.job);
        let view = self.mountpoint.join("job").join(asked.job.to_string()).display().to_string();
        let env = document.env_at(&view);
        tracing::info!(job = asked.job, restart = asked.restart, "attached");
        Ok(NodeReply::Attached { view, env })
    }

    /// The document once it is ready for this attempt, or the answer where it does not become so.
    async fn ready_document(
        &self,
        asked: &Attach,
        control: InodeId,
    ) -> Result<Result<Document, NodeReply>, ClientError> {
        let (begun, budget) = (Instant::now(), Duration::from_millis(asked.budget_ms));
        loop {
            let mut until = begun + READY_WAIT.min(budget / 2);
            let reason = match self.content(control, "attach.json").await?.map(|bytes| Document::parse(&bytes)) {
                None => "its view is being made".to_owned(),
                Some(Err(error)) => format!("its attach.json cannot be read ({error})"),
                Some(Ok(document)) => match document.judge(asked) {
                    Judgement::Ready => return Ok(Ok(document)),
                    Judgement::NotYet(reason) => reason,
                    Judgement::Behind(reason) => {
                        until = until.max(begun + budget.saturating_sub(BEHIND_MARGIN));
                        reason
                    }
                    Judgement::Refused(fault) => return Ok(Err(NodeReply::Failed(fault))),
                },
            };
            if Instant::now() + LOOK_EVERY >= until {
                let text = format!("job {} cannot start: {reason}; see 'forebay job status {}'", asked.job, asked.job);
                return Ok(Err(NodeReply::Failed(fault(FaultClass::Infra, "E-JOB-NOTREADY", text))));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
