//! `forebay local`: this node's mount, through the node's client daemon.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use forebay_wire::node::{DEFAULT_SOCKET, NodeReply, NodeRequest, NodeStatus};
use serde_json::json;

use crate::connect::Connection;
use crate::output::{Output, bytes};

#[derive(Subcommand)]
pub enum Command {
    /// What is mounted here, and by which jobs it is used.
    Status,
    /// Flush and unmount.
    Umount {
        /// Do not wait for the storage hosts: what cannot be flushed is lost.
        #[arg(long)]
        force: bool,
    },
}

/// Longest wait for the daemon's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

pub fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<u8> {
    let site = connection.site()?;
    let socket: PathBuf = site.as_ref().map_or_else(|| DEFAULT_SOCKET.into(), |site| site.socket.node.clone());
    match command {
        Command::Status => match forebay_mount::node_call(&socket, NodeRequest::Status, TIMEOUT)? {
            NodeReply::Status(status) => {
                output.print(&serde_json::to_value(&status)?, || text(&status));
                Ok(0)
            }
            other => anyhow::bail!("the client daemon answered Status with {other:?}"),
        },
        Command::Umount { force } => {
            let mountpoint = site.map_or_else(|| PathBuf::from("/mnt/forebay"), |site| site.node.mount);
            forebay_mount::unmount(&socket, &mountpoint, force)?;
            let text = || format!("{} unmounted", mountpoint.display());
            output.print(&json!({ "mountpoint": mountpoint, "forced": force }), text);
            Ok(0)
        }
    }
}

fn text(status: &NodeStatus) -> String {
    let jobs: Vec<String> = status.jobs.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("{} on {} (cluster {}, epoch {})", status.filesystem, status.mountpoint, status.cluster, status.epoch),
        format!("client {}, pid {}", status.version, status.pid),
        format!("jobs   {}", if jobs.is_empty() { "none".into() } else { jobs.join(", ") }),
        format!("dirty  {}", bytes(status.dirty_bytes)),
    ];
    if !status.unreachable_hosts.is_empty() {
        lines.push(format!("hosts that do not answer: {}", status.unreachable_hosts.join(", ")));
    }
    lines.join("\n")
}
