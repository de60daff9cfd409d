//! `forebay cluster`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use forebay_client::Cluster;
use forebay_net::{ClusterKey, call_cluster};
use forebay_types::{Epoch, Geometry, Uuid};
use forebay_wire::cluster::{ClusterReply, ClusterRequest, Formation, FormingHost, Identity};
use forebay_wire::map::ClusterMap;
use serde_json::json;

use crate::connect::Connection;
use crate::error::UsageError;
use crate::host;
use crate::output::Output;

/// Longest wait for a host to take its part; it allocates its drives meanwhile.
const FORM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Subcommand)]
pub enum Command {
    /// Make a cluster's key, to be copied to every storage host and compute node.
    Keygen {
        /// The file to write; it must not exist.
        file: PathBuf,
    },
    /// Add, drain or remove storage hosts.
    #[command(subcommand)]
    Host(host::Command),
    /// Make a cluster of hosts whose forebayd run. Asking again after a failure goes on where it stopped.
    Create {
        /// The cluster's name.
        #[arg(long)]
        name: String,
        /// Erasure code of stripes, data+parity; needs as many hosts as both together.
        #[arg(long, value_name = "K+M", default_value = "4+2")]
        ec: Geometry,
        /// Metadata shards; they can never become more.
        #[arg(long, default_value_t = 64)]
        shards: u16,
        /// Addresses of the hosts, HOST:PORT.
        #[arg(required = true, value_name = "HOST:PORT")]
        members: Vec<String>,
    },
}

pub async fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::Keygen { file } => {
            ClusterKey::generate()?.save(&file)?;
            let text = || format!("{} written; copy it to every host, readable by root only", file.display());
            output.print(&json!({ "key_file": file }), text);
            Ok(())
        }
        Command::Host(command) => host::run(connection, command, output).await,
        Command::Create { name, ec, shards, members } => {
            let cluster = cluster_of(connection, &members)?;
            let map = create(&cluster, name, ec, shards, members).await?;
            let value = json!({
                "cluster": map.cluster.to_string(), "name": map.name, "geometry": map.geometry.to_string(),
                "hosts": map.hosts.len(), "drives": map.drives.len(), "shards": map.shards.len(),
                "replicas": replicas(&map),
            });
            output.print(&value, || {
                format!(
                    "cluster '{}' made: {} hosts, {} drives, {} metadata shards on {} hosts each, {}",
                    map.name,
                    map.hosts.len(),
                    map.drives.len(),
                    map.shards.len(),
                    replicas(&map),
                    map.geometry
                )
            });
            Ok(())
        }
    }
}

/// Replicas of each metadata shard.
fn replicas(map: &ClusterMap) -> usize {
    map.shards.iter().map(|shard| shard.replicas.len()).min().unwrap_or(0)
}

fn cluster_of(connection: &Connection, members: &[String]) -> anyhow::Result<Cluster> {
    let key = connection.cluster_key()?;
    let name = crate::connect::client_name();
    Ok(Cluster::new(members.to_vec(), key, forebay_net::Role::Client, &name, forebay_client::ClientOptions::default()))
}

/// Asks one host, not the cluster group.
pub(crate) async fn ask(cluster: &Cluster, address: &str, request: &ClusterRequest) -> anyhow::Result<ClusterReply> {
    match call_cluster(&cluster.peer(address), request, FORM_TIMEOUT).await? {
        ClusterReply::Error(error) => Err(error.into()),
        reply => Ok(reply),
    }
}

/// Forms a cluster of hosts that answer; public to `forebay dev`.
pub async fn create(
    cluster: &Cluster,
    name: String,
    geometry: Geometry,
    shards: u16,
    members: Vec<String>,
) -> anyhow::Result<ClusterMap> {
    let mut identities = Vec::new();
    for address in &members {
        match ask(cluster, address, &ClusterRequest::Identify).await? {
            ClusterReply::Identity(identity) => identities.push(identity),
            other => bail!("{address} answered Identify with {other:?}"),
        }
    }
    let map = match half_made(cluster, &name, &members, &identities).await? {
        Some(map) => map,
        None => {
            let mut uuid = [0; 16];
            getrandom::fill(&mut uuid)
                .map_err(|e| anyhow::anyhow!("the operating system gives no random numbers: {e}"))?;
            let hosts = members.iter().zip(identities).map(|(address, identity)| FormingHost {
                name: identity.name,
                address: address.clone(),
                drives: identity.drives,
            });
            let hosts = hosts.collect();
            forebay_cluster::form(&Formation { name, cluster: Uuid(uuid), geometry, shards, hosts })?
        }
    };
    for host in &map.hosts {
        let request = ClusterRequest::Form { map: Box::new(map.clone()), you: host.id };
        ask(cluster, &host.address, &request)
            .await
            .with_context(|| format!("host {} ({})", host.name, host.address))?;
    }
    Ok(map)
}

/// The map of a cluster that an earlier, interrupted `create` of the same hosts began to make.
async fn half_made(
    cluster: &Cluster,
    name: &str,
    members: &[String],
    identities: &[Identity],
) -> anyhow::Result<Option<ClusterMap>> {
    let formed = members.iter().zip(identities).find(|(_, identity)| identity.cluster != Uuid::NIL);
    let Some((address, identity)) = formed else { return Ok(None) };
    let reply = ask(cluster, address, &ClusterRequest::GetMap { newer_than: Epoch(0) }).await?;
    let ClusterReply::Map(Some(map)) = reply else { bail!("host {} has lost its map", identity.name) };
    let same = map.name == name && map.hosts.iter().map(|host| &host.address).eq(members);
    let complete = identities.iter().all(|identity| identity.cluster == map.cluster);
    if same && !complete {
        return Ok(Some(*map));
    }
    let (name, address) = (identity.name.clone(), address.clone());
    Err(UsageError::HostTaken { name, address, cluster: map.name.clone() }.into())
}
