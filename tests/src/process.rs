//! A daemon on a node: started from a recipe, so that it can be killed and started again the same way.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::LabError;
use crate::node::{Node, NodeChild, NodeCommand};
use crate::wait;

type Recipe = Box<dyn Fn(&Node) -> Result<NodeCommand, LabError> + Send + Sync>;

/// A daemon that runs, or ran, on a node. Dropping it does not end it: the lab's end does.
pub struct Daemon {
    name: String,
    node: Node,
    recipe: Recipe,
    log: PathBuf,
    child: NodeChild,
}

impl Daemon {
    /// Starts the daemon that `recipe` describes on `node`; `name` names its log ([`Node::log_path`]).
    pub fn start(
        node: &Node,
        name: &str,
        recipe: impl Fn(&Node) -> Result<NodeCommand, LabError> + Send + Sync + 'static,
    ) -> Result<Self, LabError> {
        let log = node.log_path(name);
        let child = recipe(node)?.spawn(&log)?;
        Ok(Daemon { name: name.to_owned(), node: node.clone(), recipe: Box::new(recipe), log, child })
    }

    /// The daemon's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node it runs on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its log, as this machine sees it. Restarts append.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Process id on this machine's numbering.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Whether it still runs.
    pub fn runs(&self) -> Result<bool, LabError> {
        Ok(self.child.ended()?.is_none())
    }

    /// Waits until `ready` says yes; fails at once, with the end of the log, when the daemon ends first.
    pub fn wait_ready(&self, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<(), LabError> {
        wait::until(&format!("{} on {} is ready", self.name, self.node.name()), deadline, || {
            if ready() {
                return Ok(wait::Seen::Yes(()));
            }
            match self.child.ended()? {
                None => Ok(wait::Seen::NotYet(self.log_end())),
                Some(status) => Err(self.ended_early(status)),
            }
        })
    }

    /// Waits until the log holds `text`.
    pub fn wait_log(&self, text: &str, deadline: Duration) -> Result<(), LabError> {
        self.wait_ready(deadline, || self.log_text().contains(text))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        self.child.signal(signal)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn stop(&self, deadline: Duration) -> Result<ExitStatus, LabError> {
        self.signal(Signal::SIGTERM)?;
        self.child.wait(deadline)
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&self) -> Result<ExitStatus, LabError> {
        self.child.kill()
    }

    /// Starts it again after its end; kills it first when it still runs.
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.child.kill()?;
        self.child = (self.recipe)(&self.node)?.spawn(&self.log)?;
        Ok(())
    }

    /// Everything it has logged so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines it has logged.
    pub fn log_end(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn ended_early(&self, status: ExitStatus) -> LabError {
        LabError::CommandFailed {
            node: self.node.name().to_owned(),
            command: self.name.clone(),
            status: status.to_string(),
            output: self.log_end(),
        }
    }
}
