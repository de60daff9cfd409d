//! The demo: a job's data from the cold tier through a real Slurm and back, while storage hosts die.
//!
//! One file a part: [`dataset`], [`cold`], [`scripts`] (what the user writes), [`job`], [`verify`], [`record`] (`--json`), [`screen`]
//! and [`interrupt`]. This file has the order of things. Every figure it reports is measured.

pub mod cold;
pub mod dataset;
pub mod interrupt;
pub mod job;
pub mod record;
pub mod screen;
pub mod scripts;
pub mod verify;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, ClusterSettings};
use crate::error::LabError;
use crate::lab::Lab;
use crate::node::User;
use crate::site::Site;
use crate::wait;
use cold::ColdTier;
use dataset::Recipe;
use job::Stage;
use record::{JobRecord, Record};
use screen::{Screen, size};

const HOSTS: u32 = 6;
const NODES: u32 = 2;
const FIRST: Recipe = Recipe { seed: 1, small_files: 1200, large_mib: 256 };
const SECOND: Recipe = Recipe { seed: 2, small_files: 200, large_mib: 48 };
const RUNNING: Duration = Duration::from_secs(120);
const DETECTED: Duration = Duration::from_secs(60);

/// What the demo was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The cold tier is an S3 server.
    pub s3: bool,
    /// Where to write what happened.
    pub json: Option<PathBuf>,
    /// Leave everything running.
    pub keep: bool,
}

/// Runs the demo. The result is what was not as it should be.
pub fn run(options: &Options) -> Result<Vec<String>, LabError> {
    let screen = Screen::new();
    let builder = Lab::builder().slurm_nodes(NODES).storage_hosts(HOSTS);
    let lab = if options.s3 { builder.node(cold::NODE) } else { builder }.start()?;
    // Hosts are killed here on purpose; the tests are stricter.
    lab.expect_anything_logged();
    let footprint = lab.footprint();
    interrupt::watch(lab.stopper(), footprint.clone())
        .map_err(|source| LabError::Io { what: "watch for signals".to_owned(), source })?;
    let mut record = Record { cold_tier: if options.s3 { "s3" } else { "directory" }, ..Record::default() };
    if let Err(error) = play(&lab, options, &screen, &mut record) {
        interrupt::yield_to_signal();
        record.error = Some(format!("step {} failed: {error}", screen.current_step()));
        lab.save_logs();
    }
    if options.keep {
        record.seconds = screen.seconds();
        explain(&screen, &lab.detach()?);
    } else {
        screen.step("Take everything down");
        let ended = lab.end();
        interrupt::yield_to_signal();
        if let Err(error) = ended {
            record.error.get_or_insert(error.to_string());
        }
        let left = footprint.leftovers();
        record.leftovers = Some(left.count() as u64);
        screen.note(&format!(
            "left behind: {} processes, {} mounts, {} namespaces, {} files",
            left.processes.len(),
            left.mounts.len(),
            left.namespaces.len(),
            left.files.len()
        ));
        record.left = if left.is_empty() { None } else { Some(left) };
        record.seconds = screen.seconds();
    }
    let faults = record.faults();
    if let Some(path) = &options.json {
        record.write(path)?;
    }
    if faults.is_empty() {
        screen.note(&format!("all as it should be, in {:.1} s", record.seconds));
    }
    Ok(faults)
}

fn play(lab: &Lab, options: &Options, screen: &Screen, record: &mut Record) -> Result<(), LabError> {
    screen.step("Six storage hosts, 4+2 erasure coding");
    let mut cluster = Cluster::start(lab, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() })?;
    screen.note(&cluster.forebay(&cluster.hosts()[0])?.arg("status").run()?);
    screen.step(if options.s3 { "A cold tier: an S3 server" } else { "A cold tier: a folder" });
    let cold = ColdTier::start(lab, options.s3)?;
    screen.note(&cold.attach(&cluster)?);
    let first = lay(lab, &cold, screen, "dataset", &FIRST)?;
    lay(lab, &cold, screen, "second", &SECOND)?;
    screen.step("A real Slurm: a controller and two compute nodes, configured by forebay-site from one site.toml");
    let site = Site::start(lab, &cluster)?;
    screen.note(&site.slurm.command(&User::alice(), "sinfo").run()?);
    let put = format!("cat >{0} && chmod +x {0}", scripts::PROGRAM);
    lab.node("n1").command("/bin/bash").args(["-euc", &put]).user(&User::alice()).input(scripts::TASK).run()?;
    let stage = Stage { lab, site: &site, cold: &cold, screen };
    screen.step("A job whose data is cold: it waits in the queue, not on nodes");
    record.add(first_job(&stage, first)?);
    screen.step("A second job, and two storage hosts die while it runs");
    let second = second_job(&stage, &mut cluster, record)?;
    record.add(second);
    record.nodes_drained = site.slurm.drained_nodes()?.len() as u64;
    screen.step("Reports");
    record.jobs.iter_mut().try_for_each(|job| stage.report(job))?;
    if options.keep {
        let down = cluster.down()?;
        cluster.restart(&down.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn lay(lab: &Lab, cold: &ColdTier, screen: &Screen, name: &str, recipe: &Recipe) -> Result<dataset::Made, LabError> {
    let made = recipe.lay(&cold.folder(lab, name)?, &lab.shared().join(format!("{name}.sha256")))?;
    let listed = cold.publish(name)?;
    let (url, files, bytes) = (&cold.url, made.files, size(made.bytes));
    screen.note(&format!("{url}/{name}/: {files} files, {bytes}, checksums recorded, {}", listed.trim()));
    Ok(made)
}

fn first_job(stage: &Stage<'_>, made: dataset::Made) -> Result<JobRecord, LabError> {
    let script = scripts::batch(&stage.cold.url, "dataset", "plain");
    stage.screen.note(&script);
    let id = stage.submit(&script)?;
    let mut record = JobRecord::default();
    stage.watch_pending(id, &mut record)?;
    let record = stage.finish(id, record)?;
    for check in &record.checks {
        if (check.files, check.bytes) != (made.files, made.bytes) {
            return Err(LabError::Lab(format!("laid down {made:?}, but {check:?} was seen")));
        }
    }
    Ok(record)
}

fn second_job(stage: &Stage<'_>, cluster: &mut Cluster, record: &mut Record) -> Result<JobRecord, LabError> {
    let id = stage.submit(&scripts::batch(&stage.cold.url, "second", "outlast"))?;
    let mut job = JobRecord::default();
    stage.watch_pending(id, &mut job)?;
    let markers: Vec<PathBuf> = stage
        .site
        .slurm
        .nodes()
        .iter()
        .map(|node| stage.lab.shared().join(format!("{}.{node}", scripts::RUNNING)))
        .collect();
    wait::until(&format!("both nodes of job {id} read and write"), RUNNING, || {
        let state = stage.site.slurm.job(id)?;
        if state.is_over() {
            return Err(LabError::Slurm(format!("job {id} ended before hosts could be killed: {}", state.text)));
        }
        let there = markers.iter().all(|marker| marker.exists());
        Ok(if there { wait::Seen::Yes(()) } else { wait::Seen::NotYet(state.text) })
    })?;
    let victims = draw_two(&cluster.names());
    let victims = [victims[0].as_str(), victims[1].as_str()];
    for host in victims {
        let status = cluster.daemon(host).kill()?;
        let by_kill = std::os::unix::process::ExitStatusExt::signal(&status) == Some(Signal::SIGKILL as i32);
        record.hosts_killed += u64::from(by_kill);
    }
    stage.screen.note(&format!(
        "SIGKILL to {} while job {id} runs (any two of the six, drawn at random; data is 4+2, metadata on five each)",
        victims.join(" and ")
    ));
    cluster.wait_down(&victims, DETECTED)?;
    stage.screen.note(&cluster.forebay(&cluster.hosts()[0])?.arg("status").run()?);
    let killed = stage.lab.shared().join(scripts::KILLED);
    std::fs::write(&killed, "")
        .map_err(|source| LabError::Io { what: format!("write {}", killed.display()), source })?;
    stage.finish(id, job)
}

/// Two of these names, in order, drawn anew each time.
fn draw_two(names: &[String]) -> [String; 2] {
    // The keys of a new hasher are random (std::collections::hash_map::RandomState).
    let number = RandomState::new().hash_one(0_u8) as usize;
    let (first, other) = (number % names.len(), (number >> 32) % (names.len() - 1));
    let second = (first + 1 + other) % names.len();
    [names[first.min(second)].clone(), names[first.max(second)].clone()]
}

fn explain(screen: &Screen, id: &str) {
    screen.step("Everything stays up");
    screen.note(&format!(
        "\
a shell on a compute node:   forebay-lab shell {id} n1 --user alice
a shell on the controller:   forebay-lab shell {id} ctl
the filesystem:              ls /mnt/forebay            (on n1 and n2)
the cluster:                 forebay --site /etc/forebay/site.toml status     (on ctl)
jobs:                        sbatch, squeue; forebay job status               (on ctl)
the end:                     forebay-lab down {id}
forebay-lab is {}",
        crate::paths::build_dir().join(crate::lab::PROGRAM).display()
    ));
}
