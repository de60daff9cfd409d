//! `forebay local`: this node's mount, through the node's client daemon.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Subcommand;
use forebay_mount::node::{force_unmount, node_call};
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
/// Longest wait for dirty data to be flushed.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

pub fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<u8> {
    let site = connection.site()?;
    let socket: PathBuf = site.as_ref().map_or_else(|| DEFAULT_SOCKET.into(), |site| site.socket.node.clone());
    match command {
        Command::Status => match node_call(&socket, NodeRequest::Status, TIMEOUT)? {
            NodeReply::Status(status) => {
                output.print(&serde_json::to_value(&status)?, || text(&status));
                Ok(0)
            }
            other => anyhow::bail!("the client daemon answered Status with {other:?}"),
        },
        Command::Umount { force } => {
            let mountpoint = site.map(|site| site.node.mount);
            let mountpoint = if force { force_unmount(mountpoint.as_deref())? } else { unmount(&socket)? };
            let text = || format!("{} unmounted", mountpoint.display());
            output.print(&json!({ "mountpoint": mountpoint, "forced": force }), text);
            Ok(0)
        }
    }
}

/// Has the daemon flush and unmount, and waits until it is gone.
fn unmount(socket: &Path) -> anyhow::Result<PathBuf> {
    let NodeReply::Status(status) = node_call(socket, NodeRequest::Status, TIMEOUT)? else {
        anyhow::bail!("the client daemon answered Status with something else");
    };
    match node_call(socket, NodeRequest::Unmount { force: false }, TIMEOUT)? {
        NodeReply::Unmounting => {}
        NodeReply::Failed(fault) => anyhow::bail!("{}: {}", fault.code, fault.text),
        other => anyhow::bail!("the client daemon answered Unmount with {other:?}"),
    }
    let until = Instant::now() + FLUSH_TIMEOUT;
    while Path::new(&format!("/proc/{}", status.pid)).exists() {
        if Instant::now() > until {
            anyhow::bail!("{} is still being flushed; --force gives up what is not", status.mountpoint);
        }
        // Nothing wakes us when a process that is not our child has gone.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(status.mountpoint.into())
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
