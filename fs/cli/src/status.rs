//! `forebay status`.

use forebay_wire::cluster::{ClusterReply, ClusterRequest, ClusterStatus};
use forebay_wire::map::{DriveState, HostState};
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
            "shards": map.shards.iter().filter(|shard| shard.host == host.id).count(),
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
    ];
    if !down.is_empty() {
        lines.push(format!("DOWN    {}: their data is served from parity", down.join(", ")));
        let writing = map.groups.iter().find(|group| group.writable).map(|group| group.geometry);
        lines.push(match writing {
            Some(geometry) => format!("        new data is written {geometry} until they return"),
            None => "        too few hosts are up to write safely: writes wait".into(),
        });
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
    let mut hosts = vec![row(&["HOST", "ADDRESS", "STATE", "SHARDS"])];
    for host in &map.hosts {
        let shards = map.shards.iter().filter(|shard| shard.host == host.id).count();
        hosts.push(vec![host.name.clone(), host.address.clone(), format!("{:?}", host.state), shards.to_string()]);
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
    format!("\n{}\n\n{}\n\n{}", table(&hosts), table(&drives), table(&sessions))
}
