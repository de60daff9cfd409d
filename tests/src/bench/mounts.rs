//! Several mounts of one filesystem, each creating files at the same time.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};

use super::files::with_cost;
use super::ours::Ours;
use super::place::Place;
use super::report::Measured;
use crate::error::{Context, LabError};

/// Mounts of the scaling report.
const SCALE: [usize; 3] = [1, 2, 4];
/// Mounts that the groups of this module need at most.
pub const MOST: usize = 4;

/// Two mounts, each creating so many files in one folder.
pub fn shared(place: &dyn Place, files: u32) -> Result<Vec<Measured>, LabError> {
    creation(place, "md_shared_creation", 2, files, true)
}

/// One mount and more, each creating so many files in a folder of its own.
pub fn scale(place: &dyn Place, files: u32) -> Result<Vec<Measured>, LabError> {
    scaled(place, "scale", files)
}

/// The same with all of Forebay's metadata in one shard.
pub fn scale_one_shard(files: u32) -> Result<Vec<Measured>, LabError> {
    let ours = Ours::start(MOST, 1)?;
    let found = scaled(&ours, "scale_one_shard", files)?;
    ours.end()?;
    Ok(found)
}

fn scaled(place: &dyn Place, name: &str, files: u32) -> Result<Vec<Measured>, LabError> {
    let mut found = Vec::new();
    for mounts in SCALE {
        found.extend(creation(place, &format!("{name}_creation_{mounts}_mounts"), mounts, files, false)?);
    }
    Ok(found)
}

/// So many mounts create files; all but the first are there only meanwhile.
fn creation(
    place: &dyn Place,
    metric: &str,
    mounts: usize,
    files: u32,
    shared: bool,
) -> Result<Vec<Measured>, LabError> {
    (1..mounts).try_for_each(|client| place.mount(client))?;
    let mut folders = Vec::new();
    for client in 0..mounts {
        let below = if shared { metric.to_owned() } else { format!("{metric}/{client}") };
        let first = place.outside(0)?.join(&below);
        fs::create_dir_all(&first).context(|| format!("make {}", first.display()))?;
        let seen = place.outside(client)?.join(&below);
        folders.push(File::open(&seen).context(|| format!("open {}", seen.display()))?);
    }
    let all = files * u32::try_from(mounts).expect("a few mounts");
    let found = with_cost(place, metric, all, || create(&folders, files))?;
    drop(folders);
    (1..mounts).try_for_each(|client| place.unmount(client))?;
    Ok(found)
}

/// Creates so many files in each folder, in all at once, by one thread each.
fn create(folders: &[File], files: u32) -> Result<Duration, LabError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let work = |client: usize, folder: &File| {
        (0..files).try_for_each(|number| {
            openat(folder, format!("{client}.{number}"), flags, Mode::from_raw_mode(0o644)).map(drop)
        })
    };
    let start = Instant::now();
    let ended: Vec<_> = std::thread::scope(|scope| {
        let each = folders.iter().enumerate();
        let threads: Vec<_> = each.map(|(client, folder)| scope.spawn(move || work(client, folder))).collect();
        threads.into_iter().map(|thread| thread.join().expect("creating a file does not panic")).collect()
    });
    let took = start.elapsed();
    ended.into_iter().try_for_each(|end| end.context(|| "create files on several mounts".to_owned()))?;
    Ok(took)
}
