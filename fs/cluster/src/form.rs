//! Forming a cluster.

use forebay_types::{DriveId, Epoch, Geometry, HostId, ShardId, limits};
use forebay_wire::cluster::{ClusterError, Formation, FormingHost};
use forebay_wire::map::{ClusterMap, DriveEntry, DriveState, HostEntry, HostState, ShardEntry};

use crate::placement;
use crate::replicas::{self, Standing};

/// The first map of a new cluster, or why there can be none.
pub fn form(formation: &Formation) -> Result<ClusterMap, ClusterError> {
    check(formation)?;
    let mut hosts = Vec::new();
    let mut drives = Vec::new();
    for (n, host) in formation.hosts.iter().enumerate() {
        let id = HostId(n as u32 + 1);
        let (name, address, state) = (host.name.clone(), host.address.clone(), HostState::Up);
        hosts.push(HostEntry { id, name, address, state, draining: false, slow: false });
        for &(uuid, capacity_bytes) in &host.drives {
            let drive = DriveId(drives.len() as u32 + 1);
            drives.push(DriveEntry { id: drive, host: id, uuid, capacity_bytes, state: DriveState::Active });
        }
    }
    let ids: Vec<HostId> = hosts.iter().map(|host| host.id).collect();
    let replicas = replica_count(ids.len(), formation.geometry);
    let shards = (0..formation.shards)
        .map(|n| ShardEntry { id: ShardId(n), replicas: replicas_of(n, &ids, replicas) })
        .collect();
    let mut map = ClusterMap {
        cluster: formation.cluster,
        name: formation.name.clone(),
        epoch: Epoch(1),
        geometry: formation.geometry,
        hosts,
        drives,
        groups: Vec::new(),
        shards,
        filesystems: Vec::new(),
        tiers: Vec::new(),
    };
    placement::regroup(&mut map);
    while let Some(change) = replicas::next_move(&map, &|_| Standing::Settled) {
        change.apply(&mut map);
    }
    Ok(map)
}

/// Replicas of a metadata shard: 2·m+1, so that m hosts may die, or the largest odd number of hosts there are.
#[must_use]
pub fn replica_count(hosts: usize, geometry: Geometry) -> usize {
    let wanted = 2 * usize::from(geometry.parity) + 1;
    if hosts >= wanted { wanted } else { hosts.saturating_sub(1) / 2 * 2 + 1 }
}

/// The hosts of shard `n`, its first leader first. Leaders go round the hosts, so each leads about as many shards as
/// any other; the others follow at steps that change with every round, so that the shards one host leads are spread
/// over all the others when it dies.
fn replicas_of(n: u16, hosts: &[HostId], count: usize) -> Vec<HostId> {
    let (n, len) = (usize::from(n), hosts.len());
    let others = (1..len).map(|k| (n + 1 + (k - 1 + n / len) % (len - 1)) % len);
    std::iter::once(n % len).chain(others).take(count).map(|at| hosts[at]).collect()
}

fn check(formation: &Formation) -> Result<(), ClusterError> {
    let invalid = |reason: String| Err(ClusterError::Invalid { reason });
    let hosts = formation.hosts.len();
    let width = formation.geometry.width();
    check_name("cluster", &formation.name)?;
    if hosts < width {
        return invalid(format!(
            "{} needs {width} hosts (chunks of a stripe never share a host), there are {hosts}: \
             name more hosts or choose a narrower code with --ec",
            formation.geometry
        ));
    }
    if formation.shards == 0 || formation.shards > limits::MAX_SHARDS {
        return invalid(format!("{} metadata shards: choose from 1 to {}", formation.shards, limits::MAX_SHARDS));
    }
    for (n, FormingHost { name, address, drives }) in formation.hosts.iter().enumerate() {
        check_name("host", name)?;
        if drives.is_empty() {
            return invalid(format!("host {name} has no drive: start its forebayd with --drive"));
        }
        let same = |other: &&FormingHost| other.name == *name || other.address == *address;
        if let Some(other) = formation.hosts[..n].iter().find(same) {
            return invalid(format!("hosts {} ({}) and {name} ({address}) are the same", other.name, other.address));
        }
    }
    Ok(())
}

/// Names of clusters, hosts, filesystems and tiers: 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit first.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), ClusterError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=63).contains(&name.len())
        && name.chars().all(legal)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(ClusterError::Invalid {
        reason: format!(
            "'{name}' cannot be the name of a {what}: use 1 to 63 letters, digits, '-', '_' and '.', \
             a letter or digit first"
        ),
    })
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
