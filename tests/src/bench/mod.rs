//! The benchmark: the same work on a Forebay mount and on this machine's own disk, in one run.
//!
//! [`fio`] measures streams and random access, [`files`] creates, looks at, reads and removes files. Figures come in pairs, and what
//! counts is their ratio: both share one machine with whatever else runs on it. [`failover`] has no pair: a local disk
//! has no leader to lose.

pub mod failover;
pub mod files;
pub mod fio;

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::cluster::{ClusterSettings, MOUNT};
use crate::error::{Context, LabError};
use crate::mounted::Mounted;
use crate::node::User;
use crate::paths;

/// Groups of figures, in the order they are measured.
pub const GROUPS: [&str; 7] = ["seq", "rand", "sync", "small", "md", "tree", FAILOVER];
const FAILOVER: &str = "failover";
const OURS: &str = "forebay";
const LOCAL: &str = "local";
const RATIO: &str = "ratio";

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// File for one JSON line a figure.
    pub json: Option<PathBuf>,
    /// Only this group.
    pub only: Option<String>,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub metric: &'static str,
    /// In what.
    pub unit: &'static str,
    /// On what: `forebay`, `local`, or `ratio` (forebay to local).
    pub label: &'static str,
    /// How much; more is better, but for times.
    pub value: f64,
}

/// One metric of one place.
pub type Measured = (&'static str, &'static str, f64);

/// A place to measure: a folder of a client, and how to forget what is cached of it.
pub struct Place<'a> {
    /// The cluster, with one client.
    pub at: &'a Mounted,
    /// The folder inside the client.
    pub inside: String,
    /// The same folder as this machine reaches it.
    pub outside: PathBuf,
    /// Whether it is on the mount.
    pub ours: bool,
}

impl Place<'_> {
    /// Forgets what is cached of the place, so that it has to be read again.
    pub fn forget(&self) -> Result<(), LabError> {
        std::env::set_current_dir("/").context(|| "leave the folder".to_owned())?;
        if self.ours {
            return self.at.remount(0);
        }
        // Page by page and only here: dropping all of this machine's caches would be everybody's loss.
        let forget = format!(
            "sync; find {} -type f -exec dd of={{}} oflag=nocache conv=notrunc,fdatasync count=0 status=none \\;",
            self.inside
        );
        self.at.client(0).shell(&User::root(), &forget).map(|_| ())
    }
}

/// Runs the benchmark and prints the pairs.
pub fn run(options: &Options) -> Result<(), LabError> {
    let settings =
        ClusterSettings { drive_mib: 2048, log: "warn,forebayd=info".to_owned(), ..ClusterSettings::default() };
    let mut at = Mounted::start(1, &settings)?;
    at.lab.expect_anything_logged();
    let disk = format!("{}/bench", paths::DISK);
    at.client(0).shell(&User::root(), &format!("mkdir -p {MOUNT}/bench {disk}"))?;
    let local = Place { at: &at, inside: disk, outside: at.client(0).disk().join("bench"), ours: false };
    let ours = Place { at: &at, inside: format!("{MOUNT}/bench"), outside: at.path(0, "bench")?, ours: true };
    let mut figures = Vec::new();
    println!("{:<20} {:>12} {:>12} {:>8}", "metric", OURS, LOCAL, RATIO);
    let wanted = |group: &str| options.only.as_ref().is_none_or(|only| only == group);
    for group in GROUPS.iter().filter(|group| **group != FAILOVER && wanted(group)) {
        let pairs = measure(group, &ours)?.into_iter().zip(measure(group, &local)?);
        for ((metric, unit, here), (_, _, there)) in pairs {
            println!("{metric:<20} {here:>12.1} {there:>12.1} {:>7.3}x  {unit}", here / there);
            let figure = |label, value| Figure { metric, unit, label, value };
            figures.extend([figure(OURS, here), figure(LOCAL, there)]);
            figures.push(Figure { unit: "x", ..figure(RATIO, here / there) });
        }
    }
    if wanted(FAILOVER) {
        for (metric, unit, value) in failover::measure(&mut at)? {
            println!("{metric:<20} {value:>12.1} {:>12} {:>9}  {unit}", "", "");
            figures.push(Figure { metric, unit, label: OURS, value });
        }
    }
    if let Some(path) = &options.json {
        write(path, &figures).context(|| format!("write {}", path.display()))?;
    }
    at.lab.end()
}

fn measure(group: &str, place: &Place<'_>) -> Result<Vec<Measured>, LabError> {
    match group {
        "seq" => fio::sequential(place),
        "rand" => fio::random(place),
        "sync" => fio::synchronous(place),
        "small" => files::small(place),
        "tree" => files::tree(place),
        _ => files::metadata(place),
    }
}

fn write(path: &PathBuf, figures: &[Figure]) -> std::io::Result<()> {
    let mut out = std::fs::File::create(path)?;
    for figure in figures {
        writeln!(out, "{}", serde_json::to_string(figure)?)?;
    }
    Ok(())
}
