//! How long operations stand still when the host that leads their shard is killed.
//!
//! Files are made and synced, since making one in a directory of its own asks nobody; what is looked at is believed.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::report::Measured;
use crate::cluster::MOUNT;
use crate::error::{Context, LabError};
use crate::mounted::Mounted;
use crate::node::User;
use crate::wait::{self, Seen};

/// Leaders killed, one after the other.
const ROUNDS: usize = 5;
/// Low bits of an inode's number that name its shard.
const SHARD_BITS: u32 = 10;
/// Operations before and after a leader's death.
const SETTLED: u32 = 50;
const DEADLINE: Duration = Duration::from_secs(120);

/// What two loops saw.
#[derive(Default)]
struct Longest {
    create: Duration,
    stat: Duration,
}

/// The longest that a create and a stat took around the death of their leader: the median of the rounds, and the worst.
pub fn measure(at: &mut Mounted) -> Result<Vec<Measured>, LabError> {
    at.client(0).shell(&User::root(), &format!("mkdir -p {MOUNT}/failover"))?;
    let folder = at.path(0, "failover")?;
    let ino = fs::metadata(&folder).context(|| format!("look at {}", folder.display()))?.ino();
    let shard = (ino & ((1 << SHARD_BITS) - 1)) as usize;
    let (mut creates, mut stats) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let leader = leader(at, shard)?;
        let longest = around(at, &folder, round, &leader)?;
        creates.push(longest.create);
        stats.push(longest.stat);
        at.cluster.restart(&[&leader])?;
        at.cluster.wait_down(&[], DEADLINE)?;
    }
    let millis = |times: &mut Vec<Duration>, at: usize| {
        times.sort_unstable();
        times[at].as_secs_f64() * 1000.0
    };
    Ok(vec![
        Measured::time("failover_create", "ms", millis(&mut creates, ROUNDS / 2)),
        Measured::time("failover_create_worst", "ms", millis(&mut creates, ROUNDS - 1)),
        Measured::time("failover_stat", "ms", millis(&mut stats, ROUNDS / 2)),
        Measured::time("failover_stat_worst", "ms", millis(&mut stats, ROUNDS - 1)),
    ])
}

/// The host that leads a shard, once every host is up and has been for long enough to lead what it should.
fn leader(at: &Mounted, shard: usize) -> Result<String, LabError> {
    wait::until("the shard is led by the host that should", DEADLINE, || {
        let status = at.cluster.ask(&["status"])?;
        let entry = &status["shards"][shard];
        let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
        let name = |id: &Value| hosts.iter().find(|host| host["id"] == *id).and_then(|host| host["name"].as_str());
        let should = &entry["replicas"][0];
        Ok(match name(&entry["leader"]).filter(|_| entry["leader"] == *should) {
            Some(name) => Seen::Yes(name.to_owned()),
            None => Seen::NotYet(entry.to_string()),
        })
    })
}

/// Kills the leader while two threads create files and look at one, each as fast as it can.
fn around(at: &mut Mounted, folder: &Path, round: usize, leader: &str) -> Result<Longest, LabError> {
    let failed = |error: std::io::Error| LabError::Lab(format!("failed at an operation while a leader died: {error}"));
    let first = folder.join(format!("{round}.first"));
    File::create(&first).map_err(failed)?;
    let (stop, creates, stats) = (AtomicBool::new(false), Counter::default(), Counter::default());
    std::thread::scope(|scope| {
        let create = scope.spawn(|| {
            longest(&stop, &creates, |number| File::create(folder.join(format!("{round}.{number}")))?.sync_all())
        });
        let stat = scope.spawn(|| longest(&stop, &stats, |_| fs::metadata(&first).map(drop)));
        let both = |what: &str| {
            let (from, to) = ((creates.get(), stats.get()), (creates.get() + SETTLED, stats.get() + SETTLED));
            wait::until(what, DEADLINE, || {
                let now = (creates.get(), stats.get());
                let ended = create.is_finished() || stat.is_finished();
                Ok(if ended || now.0 >= to.0 && now.1 >= to.1 {
                    Seen::Yes(())
                } else {
                    Seen::NotYet(format!("{from:?}, then {now:?}"))
                })
            })
        };
        let ran = both("operations go on")
            .and_then(|()| at.cluster.kill(&[leader]))
            .and_then(|()| both("operations go on after the leader's death"));
        stop.store(true, Ordering::Relaxed);
        let create = create.join().expect("an operation does not panic").map_err(failed)?;
        let stat = stat.join().expect("an operation does not panic").map_err(failed)?;
        ran.map(|()| Longest { create, stat })
    })
}

/// Operations done.
#[derive(Default)]
struct Counter(std::sync::atomic::AtomicU32);

impl Counter {
    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Carries an operation out again and again; the longest it took.
fn longest(
    stop: &AtomicBool,
    done: &Counter,
    operation: impl Fn(u32) -> std::io::Result<()>,
) -> std::io::Result<Duration> {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        operation(done.get())?;
        longest = longest.max(since.elapsed());
        done.0.fetch_add(1, Ordering::Relaxed);
    }
    Ok(longest)
}
