//! The benchmark: the same work on a Forebay mount, on this machine's own disk and on other filesystems, in one run.
//!
//! [`fio`] measures streams and random access, [`files`] creates, looks at, reads and removes files, [`mounts`] does it from
//! several clients. Each [`place`] gets the same work, one after the other: [`peers`] are started when Forebay has ended, so
//! that none takes the other's memory or processor. What counts are ratios ([`report`]): all places share one machine with
//! whatever else runs on it. [`failover`] has no pair: a local disk has no leader to lose.

pub mod failover;
pub mod files;
pub mod fio;
pub mod mounts;
pub mod options;
pub mod ours;
pub mod peers;
pub mod place;
pub mod report;
pub mod usage;

use std::io::Write;
use std::path::Path;

pub use self::options::Options;
use self::options::{FAILOVER, GROUPS, SCALE};
use self::ours::Ours;
use self::peers::{Peer, Running};
use self::place::{Local, Place};
use self::report::{Figure, Kind, Measured, Report};
use self::usage::Usage;
use crate::cluster::ClusterSettings;
use crate::error::{Context, LabError};

/// Runs the benchmark and prints what it found. A place that failed does not keep others from being measured; all
/// failures are told at the end.
pub fn run(options: &Options) -> Result<(), LabError> {
    let mut failures = Vec::new();
    let mut failed = |label: &str, error: LabError| {
        eprintln!("\n{label} failed: {error}");
        // With all its detail it has just been shown.
        failures.push(format!("{label}: {}", error.to_string().lines().next().unwrap_or_default()));
    };
    // Before any lab starts: what its nodes see of this machine's programs may not change under them.
    let mut peers = options.peers.clone();
    peers.retain(|peer| peer.install().map_err(|error| failed(peer.label(), error)).is_ok());
    let mut report = Report::default();
    ours_and_local(options, &mut report).unwrap_or_else(|error| failed(Ours::LABEL, error));
    for peer in peers {
        peer_alone(peer, options, &mut report).unwrap_or_else(|error| failed(peer.label(), error));
    }
    print!("{}", report.tables());
    if let Some(path) = &options.json {
        write(path, &report.figures()).context(|| format!("write {}", path.display()))?;
    }
    if failures.is_empty() { Ok(()) } else { Err(LabError::Bench(failures.join("\n"))) }
}

/// How many clients what is wanted needs.
fn clients(options: &Options) -> usize {
    if options.wants(SCALE) { mounts::MOST } else { 2 }
}

/// Forebay and the local disk, group by group.
fn ours_and_local(options: &Options, report: &mut Report) -> Result<(), LabError> {
    let clients = clients(options);
    let mut ours = Ours::start(clients, ClusterSettings::default().shards)?;
    let local = Local::of(&ours.clients()[0], clients)?;
    for group in GROUPS.into_iter().filter(|group| options.wants(group)) {
        if group == FAILOVER {
            add(report, Ours::LABEL, failover::measure(&mut ours.at)?);
            continue;
        }
        for place in [&ours as &dyn Place, &local] {
            add(report, place.label(), measure(group, place, options)?);
        }
    }
    ours.end()?;
    if options.wants(SCALE) {
        add(report, Ours::LABEL, mounts::scale_one_shard(options.files_of_mount())?);
    }
    Ok(())
}

/// One peer, alone on the machine. After a group that failed it is in no state to be measured any more.
fn peer_alone(peer: Peer, options: &Options, report: &mut Report) -> Result<(), LabError> {
    let groups = GROUPS.into_iter().filter(|group| *group != FAILOVER && options.wants(group));
    let wanted: Vec<&str> = groups.collect();
    if wanted.is_empty() {
        return Ok(());
    }
    eprintln!("{:<8} starts", peer.label());
    let running = Running::start(peer, clients(options))?;
    for group in wanted {
        let measured = measure(group, &running, options).map_err(|error| running.explain(error))?;
        add(report, running.label(), measured);
    }
    running.end()
}

/// Measures a group, and the memory of the daemons after it.
fn measure(group: &str, place: &dyn Place, options: &Options) -> Result<Vec<Measured>, LabError> {
    let mut measured = match group {
        "seq" => fio::sequential(place),
        "rand" => fio::random(place),
        "sync" => fio::synchronous(place),
        "small" => files::small(place),
        "tree" => files::tree(place, options.entries),
        "shared" => mounts::shared(place, options.files_of_mount()),
        SCALE => mounts::scale(place, options.files_of_mount()),
        _ => files::metadata(place, options.files),
    }?;
    if !place.servers().is_empty() {
        let usage = Usage::of(place)?;
        for (side, daemons) in [("server", usage.servers), ("client", usage.clients)] {
            let bytes: f64 = daemons.values().map(|daemon| daemon.rss_bytes).sum();
            measured.push(Measured::cost(format!("{group}_{side}_rss"), "MiB", bytes / f64::from(1 << 20)));
        }
    }
    Ok(measured)
}

/// Adds figures to the report, and shows what is not a cost for whoever waits.
fn add(report: &mut Report, label: &'static str, measured: Vec<Measured>) {
    for one in measured.iter().filter(|one| one.kind != Kind::Cost) {
        eprintln!("{label:<8} {:<34} {:>12.1} {}", one.metric, one.value, one.unit);
    }
    report.add(label, measured);
}

fn write(path: &Path, figures: &[Figure]) -> std::io::Result<()> {
    let mut out = std::fs::File::create(path)?;
    for figure in figures {
        writeln!(out, "{}", serde_json::to_string(figure)?)?;
    }
    Ok(())
}
