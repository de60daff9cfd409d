//! `forebay cluster host`: storage hosts come and go.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Subcommand;
use forebay_client::Cluster;
use forebay_types::{HostId, Uuid};
use forebay_wire::cluster::{AdminRequest, ClusterReply, ClusterRequest, FormingHost};
use forebay_wire::map::ClusterMap;
use serde_json::json;

use crate::cluster::ask;
use crate::connect::Connection;
use crate::error::UsageError;
use crate::output::Output;

#[derive(Subcommand)]
pub enum Command {
    /// Add hosts whose forebayd run, with the cluster's key and an empty directory, to the cluster. Asking again after a
    /// failure goes on where it stopped.
    ///
    /// Metadata replicas move onto a new host two shards at a time, and new stripes go to all hosts evenly from then on.
    /// Stripes that are there already stay where they are.
    Add {
        /// Addresses of the hosts, HOST:PORT.
        #[arg(required = true, value_name = "HOST:PORT")]
        members: Vec<String>,
    },
    /// Put nothing new on a host, and move its metadata replicas to others. 'forebay status' says when it is drained.
    ///
    /// What is on its drives stays there and is read and protected as before, until its files are deleted or rewritten:
    /// chunks are not moved yet.
    Drain {
        /// The host's name.
        name: String,
        /// Stop draining it.
        #[arg(long)]
        cancel: bool,
    },
    /// Take a drained host out of the cluster. Refused while anything is left on it.
    Remove {
        /// The host's name.
        name: String,
        /// Give up the chunks on its drives, where every byte can be had without them; they are not written anew
        /// elsewhere yet, so one host less may fail until their files are rewritten.
        #[arg(long)]
        force: bool,
    },
}

pub async fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<()> {
    let cluster = connection.cluster()?;
    match command {
        Command::Add { members } => {
            let mut added = Vec::new();
            for address in members {
                let (id, name) = add(&cluster, &address).await.with_context(|| format!("host {address}"))?;
                added.push((id, name, address));
            }
            let value: Vec<_> = added
                .iter()
                .map(|(id, name, address)| json!({ "id": id.0, "name": name, "address": address }))
                .collect();
            output.print(&json!(value), || {
                let names: Vec<&str> = added.iter().map(|(_, name, _)| name.as_str()).collect();
                format!(
                    "added: {}. Metadata replicas move there by and by ('forebay status -v'), new data goes there from now on",
                    names.join(", ")
                )
            });
        }
        Command::Drain { name, cancel } => {
            let request = AdminRequest::DrainHost { name: name.clone(), drain: !cancel };
            let map = changed(&cluster, request).await?;
            let writing = map.groups.iter().find(|group| group.writable).map(|group| group.geometry.to_string());
            output.print(&json!({ "name": name, "draining": !cancel, "writable_geometry": writing }), || {
                if cancel {
                    return format!("host {name} is used like the others again");
                }
                format!(
                    "host {name} is being drained: its metadata replicas move to other hosts, and nothing new is put on its \
                     drives. What is on them stays and is read. New data is written {}. 'forebay status' says when it is drained",
                    writing.as_deref().unwrap_or("by nobody: too few hosts are up")
                )
            });
        }
        Command::Remove { name, force } => {
            changed(&cluster, AdminRequest::RemoveHost { name: name.clone(), force }).await?;
            output.print(&json!({ "name": name }), || {
                format!("host {name} is in the cluster no more: stop its forebayd")
            });
        }
    }
    Ok(())
}

/// Takes one host into the map and has it join.
async fn add(cluster: &Cluster, address: &str) -> anyhow::Result<(HostId, String)> {
    let ClusterReply::Identity(identity) = ask(cluster, address, &ClusterRequest::Identify).await? else {
        bail!("it answered Identify with something else");
    };
    let map = cluster.current_map().await?;
    let name = identity.name.clone();
    if identity.cluster != Uuid::NIL && identity.cluster != map.cluster {
        let cluster = identity.cluster.to_string();
        return Err(UsageError::HostTaken { name, address: address.into(), cluster }.into());
    }
    if identity.cluster == map.cluster && map.host(identity.host).is_none() {
        // It was removed; what it holds is of no use to the cluster, and its id never comes back.
        return Err(UsageError::HostTaken { name, address: address.into(), cluster: map.name.clone() }.into());
    }
    let host = FormingHost { name: name.clone(), address: address.into(), drives: identity.drives };
    let ClusterReply::Host { host, .. } = cluster.administer(AdminRequest::AddHost(host)).await? else {
        bail!("the cluster answered AddHost with something else");
    };
    let map = cluster.current_map().await?;
    ask(cluster, address, &ClusterRequest::Join { map: Box::new((*map).clone()), you: host }).await?;
    Ok((host, name))
}

/// Has the cluster changed; the map after it.
async fn changed(cluster: &Cluster, request: AdminRequest) -> anyhow::Result<Arc<ClusterMap>> {
    let ClusterReply::Done { .. } = cluster.administer(request).await? else {
        bail!("the cluster answered a change of its hosts with something else");
    };
    Ok(cluster.current_map().await?)
}
