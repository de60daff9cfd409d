//! Forming a cluster.

use forebay_types::{DriveId, Epoch, HostId, ShardId, limits};
use forebay_wire::cluster::{ClusterError, Formation, FormingHost};
use forebay_wire::map::{ClusterMap, DriveEntry, DriveState, HostEntry, HostState, ShardEntry};

use crate::placement;

/// The first map of a new cluster, or why there can be none.
pub fn form(formation: &Formation) -> Result<ClusterMap, ClusterError> {
    check(formation)?;
    let mut hosts = Vec::new();
    let mut drives = Vec::new();
    for (n, host) in formation.hosts.iter().enumerate() {
        let id = HostId(n as u32 + 1);
        hosts.push(HostEntry { id, name: host.name.clone(), address: host.address.clone(), state: HostState::Up });
        for &(uuid, capacity_bytes) in &host.drives {
            let drive = DriveId(drives.len() as u32 + 1);
            drives.push(DriveEntry { id: drive, host: id, uuid, capacity_bytes, state: DriveState::Active });
        }
    }
    let shards = (0..formation.shards)
        .map(|n| ShardEntry { id: ShardId(n), host: HostId(u32::from(n % formation.metadata_hosts) + 1) })
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
    Ok(map)
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
    if formation.metadata_hosts == 0 || usize::from(formation.metadata_hosts) > hosts {
        return invalid(format!("{} metadata hosts: choose from 1 to {hosts}", formation.metadata_hosts));
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
