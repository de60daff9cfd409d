//! `forebay status`.

use forebay_types::{HostId, ShardId};
use forebay_wire::cluster::{ClusterReply, ClusterRequest, ClusterStatus, ReplicaStatus};
use forebay_wire::map::{ClusterMap, DriveState, HostEntry, HostState};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::output::{Output, bytes, table};

pub async fn run(connection: &Connection, verbose: bool, output: &Output) -> anyhow::Result<()> {
    let cluster = connection.cluster()?;
    let ClusterReply::Status(status) = cluster.ask(&ClusterRequest::Status).await? else {
        anyhow::bail!("the cluster answered Status with something else");
    };
    output.print(&as_json(&status), || as_text(&status, verbose));
    Ok(())
}

fn as_json(status: &ClusterStatus) -> Value {
    let map = &status.map;
    json!({
        "cluster": map.name, "id": map.cluster.to_string(), "epoch": map.epoch.0, "geometry": map.geometry.to_string(),
        "hosts": map.hosts.iter().map(|host| json!({
            "id": host.id.0, "name": host.name, "address": host.address, "up": host.state == HostState::Up,
            "draining": host.draining, "drained": is_drained(status, host), "slow": host.slow,
            "chunks": chunks_on(status, host.id),
            "replicas": replicas(status, host.id).count(),
            "leads": replicas(status, host.id).filter(|replica| replica.leads).count(),
        })).collect::<Vec<_>>(),
        "drives": map.drives.iter().map(|drive| {
            let stats = status.drives.iter().find(|stats| stats.drive == drive.id);
            json!({
                "id": drive.id.0, "host": drive.host.0, "active": drive.state == DriveState::Active,
                "capacity_bytes": drive.capacity_bytes,
                "live_bytes": stats.map(|s| s.live_bytes), "free_bytes": stats.map(|s| s.free_bytes),
                "chunks": stats.map(|s| s.chunks), "corrupt_chunks": stats.map(|s| s.corrupt_chunks),
                "written_bytes": stats.map(|s| s.written_bytes), "flushes": stats.map(|s| s.flushes),
                "failure": stats.map(|s| s.failure.clone()),
            })
        }).collect::<Vec<_>>(),
        "shards": map.shards.iter().map(|shard| {
            let leader = leader(status, shard.id);
            json!({
                "id": shard.id.0, "replicas": shard.replicas.iter().map(|host| host.0).collect::<Vec<_>>(),
                "leader": leader.map(|(host, _)| host.0), "term": leader.map(|(_, replica)| replica.term),
                "applied": leader.map(|(_, replica)| replica.applied),
                "voters": leader.map(|(_, replica)| replica.voters.iter().map(|host| host.0).collect::<Vec<_>>()),
                "applied_by": status.replicas.iter().flat_map(|(host, all)| all.iter().map(move |r| (host, r)))
                    .filter(|(_, replica)| replica.shard == shard.id)
                    .map(|(host, replica)| json!({ "host": host.0, "applied": replica.applied })).collect::<Vec<_>>(),
                "learners": leader.map(|(_, replica)| replica.learners.iter().map(|host| host.0).collect::<Vec<_>>()),
            })
        }).collect::<Vec<_>>(),
        "filesystems": map.filesystems.iter().map(|fs| json!({ "id": fs.id.0, "name": fs.name })).collect::<Vec<_>>(),
        "tiers": map.tiers.iter().map(|tier| json!({
            "id": tier.id.0, "fs": tier.fs.0, "name": tier.name, "url": tier.url,
        })).collect::<Vec<_>>(),
        "writable_geometry": map.groups.iter().find(|group| group.writable).map(|group| group.geometry.to_string()),
        "sessions": status.sessions.iter().map(|(id, client, fs, age_ms)| json!({
            "id": id.0, "client": client, "fs": fs, "renewed_ms_ago": age_ms,
        })).collect::<Vec<_>>(),
    })
}

/// What a host last said of its replicas.
fn replicas(status: &ClusterStatus, host: HostId) -> impl Iterator<Item = &ReplicaStatus> {
    status.replicas.iter().filter(move |(id, _)| *id == host).flat_map(|(_, replicas)| replicas)
}

/// The host that leads a shard, with its replica: of those that say so, the one of the latest term.
fn leader(status: &ClusterStatus, shard: ShardId) -> Option<(HostId, &ReplicaStatus)> {
    let all = status.replicas.iter().flat_map(|(host, replicas)| replicas.iter().map(|replica| (*host, replica)));
    all.filter(|(_, replica)| replica.shard == shard && replica.leads).max_by_key(|(_, replica)| replica.term)
}

/// Whether a host that is being drained has no replica any more, is no member of any group, and is to have none.
fn is_drained(status: &ClusterStatus, host: &HostEntry) -> bool {
    let wanted = status.map.shards.iter().any(|shard| shard.replicas.contains(&host.id));
    let member = status.map.shards.iter().any(|shard| {
        leader(status, shard.id)
            .is_none_or(|(_, said)| said.voters.contains(&host.id) || said.learners.contains(&host.id))
    });
    let left = host.state == HostState::Up && replicas(status, host.id).next().is_some();
    host.draining && !wanted && !member && !left
}

/// Chunks on a host's drives, where they are all known.
fn chunks_on(status: &ClusterStatus, host: HostId) -> Option<u64> {
    let mut drives = status.map.drives.iter().filter(|drive| drive.host == host);
    drives.try_fold(0, |sum, drive| {
        Some(sum + status.drives.iter().find(|stats| stats.drive == drive.id && stats.failure.is_empty())?.chunks)
    })
}

/// How a host stands, for people.
fn state_of(status: &ClusterStatus, host: &HostEntry) -> String {
    let mut state = format!("{:?}", host.state);
    if host.draining {
        state += if is_drained(status, host) { ", drained" } else { ", draining" };
    }
    if host.slow {
        state += ", slow";
    }
    state
}

/// What is still to happen on hosts that are being drained, a line each.
fn draining(status: &ClusterStatus) -> Vec<String> {
    let line = |host: &HostEntry| {
        let chunks = chunks_on(status, host.id).map_or("an unknown number of".into(), |chunks| chunks.to_string());
        if is_drained(status, host) {
            let next = match chunks_on(status, host.id) {
                Some(0) => "nothing is left on it, it can be removed".into(),
                _ => format!("{chunks} chunks stay on its drives and are read until their files go"),
            };
            return format!("DRAINED {}: no metadata on it; {next}", host.name);
        }
        let moving = status
            .map
            .shards
            .iter()
            .filter(|shard| leader(status, shard.id).is_none_or(|(_, said)| said.voters.contains(&host.id)));
        format!(
            "DRAINING {}: {} metadata replicas are still to move; {chunks} chunks on its drives",
            host.name,
            moving.count()
        )
    };
    status.map.hosts.iter().filter(|host| host.draining).map(line).collect()
}

/// Hosts that may die before some shard has no majority left.
fn spare_hosts(map: &ClusterMap) -> usize {
    map.shards.iter().map(|shard| shard.replicas.len().saturating_sub(1) / 2).min().unwrap_or(0)
}

fn as_text(status: &ClusterStatus, verbose: bool) -> String {
    let map = &status.map;
    let down: Vec<&str> =
        map.hosts.iter().filter(|host| host.state == HostState::Down).map(|host| host.name.as_str()).collect();
    let broken = map.drives.iter().filter(|drive| drive.state == DriveState::Failed).count();
    let corrupt: u64 = status.drives.iter().map(|stats| stats.corrupt_chunks).sum();
    let (total, free): (u64, u64) =
        status.drives.iter().fold((0, 0), |(t, f), s| (t + s.capacity_bytes, f + s.free_bytes));
    let mut lines = vec![
        format!("cluster {}  epoch {}  erasure code {}", map.name, map.epoch.0, map.geometry),
        format!("hosts   {} up of {}", map.hosts.len() - down.len(), map.hosts.len()),
        format!("drives  {}, {} free of {} (parity included)", map.drives.len(), bytes(free), bytes(total)),
        format!(
            "shards  {} on {} hosts each: any {} may die",
            map.shards.len(),
            map.shards.iter().map(|shard| shard.replicas.len()).min().unwrap_or(0),
            spare_hosts(map)
        ),
    ];
    let leaderless = map.shards.iter().filter(|shard| leader(status, shard.id).is_none()).count();
    if leaderless > 0 {
        lines.push(format!("ELECTING {leaderless} shards have no leader at present (see -v)"));
    }
    if !down.is_empty() {
        lines.push(format!("DOWN    {}: their data is served from parity", down.join(", ")));
        let writing = map.groups.iter().find(|group| group.writable).map(|group| group.geometry);
        lines.push(match writing {
            Some(geometry) => format!("        new data is written {geometry} until they return"),
            None => "        too few hosts are up to write safely: writes wait".into(),
        });
    }
    lines.extend(draining(status));
    let slow: Vec<&str> = map.hosts.iter().filter(|host| host.slow).map(|host| host.name.as_str()).collect();
    if !slow.is_empty() {
        lines.push(format!("SLOW    {}: much slower than the others, so they lead no shard", slow.join(", ")));
    }
    if broken > 0 {
        lines.push(format!("BROKEN  {broken} drives (see -v)"));
    }
    if corrupt > 0 {
        lines.push(format!("CORRUPT {corrupt} chunks were found damaged and served from parity (see -v)"));
    }
    for fs in &map.filesystems {
        let tiers: Vec<String> = map
            .tiers
            .iter()
            .filter(|tier| tier.fs == fs.id)
            .map(|tier| format!("{} ({})", tier.name, tier.url))
            .collect();
        let tiers = if tiers.is_empty() { "no cold tier".into() } else { format!("cold tiers: {}", tiers.join(", ")) };
        lines.push(format!("fs      {}  {tiers}", fs.name));
    }
    lines.push(format!("clients {} sessions", status.sessions.len()));
    if verbose {
        lines.push(details(status));
    }
    lines.join("\n")
}

fn details(status: &ClusterStatus) -> String {
    let map = &status.map;
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_string()).collect::<Vec<_>>();
    let mut hosts = vec![row(&["HOST", "ADDRESS", "STATE", "REPLICAS", "LEADS"])];
    for host in &map.hosts {
        let count = replicas(status, host.id).count();
        let leads = replicas(status, host.id).filter(|replica| replica.leads).count();
        let state = state_of(status, host);
        hosts.push(vec![host.name.clone(), host.address.clone(), state, count.to_string(), leads.to_string()]);
    }
    let name = |id: HostId| map.host(id).map_or_else(|| id.to_string(), |host| host.name.clone());
    let names = |ids: &[HostId]| ids.iter().map(|id| name(*id)).collect::<Vec<_>>().join(",");
    let mut shards = vec![row(&["SHARD", "LEADER", "TERM", "APPLIED", "VOTERS", "CATCHING UP"])];
    for shard in &map.shards {
        shards.push(match leader(status, shard.id) {
            Some((host, replica)) => vec![
                shard.id.to_string(),
                name(host),
                replica.term.to_string(),
                replica.applied.to_string(),
                names(&replica.voters),
                names(&replica.learners),
            ],
            None => vec![shard.id.to_string(), "none".into(), "".into(), "".into(), names(&shard.replicas), "".into()],
        });
    }
    let mut drives = vec![row(&["DRIVE", "HOST", "STATE", "LIVE", "FREE", "CHUNKS", "CORRUPT", "FAILURE"])];
    for drive in &map.drives {
        let mut cells = vec![drive.id.to_string(), drive.host.to_string(), format!("{:?}", drive.state)];
        if let Some(s) = status.drives.iter().find(|s| s.drive == drive.id) {
            let counts = [s.chunks.to_string(), s.corrupt_chunks.to_string(), s.failure.clone()];
            cells.extend([bytes(s.live_bytes), bytes(s.free_bytes)].into_iter().chain(counts));
        }
        drives.push(cells);
    }
    let mut sessions = vec![row(&["SESSION", "CLIENT", "FILESYSTEM", "RENEWED"])];
    for (id, client, fs, age_ms) in &status.sessions {
        sessions.push(vec![
            id.to_string(),
            client.clone(),
            fs.clone(),
            format!("{:.1} s ago", *age_ms as f64 / 1000.0),
        ]);
    }
    format!("\n{}\n\n{}\n\n{}\n\n{}", table(&hosts), table(&shards), table(&drives), table(&sessions))
}
