//! Many files: two threads create, look at, read and remove them.
//!
//! *Easy*: empty files, each thread in a folder of its own. *Hard*: 3901 bytes each, both threads in one folder. And a tree: unpacked, and looked through with nothing cached.
//! Each metric comes with what the daemons used meanwhile; work that they put off counts for the metric that follows.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::place::{Place, leave};
use super::report::Measured;
use super::usage::Usage;
use crate::error::{Context, LabError};
use crate::paths;

const THREADS: u32 = 2;
/// Of each thread.
const SMALL_FILES: u32 = 600;
/// Longest that anything with so many entries of a tree may take, and with fewer.
const TREE_DEADLINE: (u32, Duration) = (20_000, Duration::from_secs(600));
/// Files of a folder of the tree.
const TREE_FOLDER: u32 = 50;
const HARD_BYTES: usize = 3901;
const SMALL_BYTES: usize = 8 << 10;
/// Of a rate of operations.
pub const OPS: &str = "ops/s";

/// One operation on one file.
type Step = fn(&Path) -> std::io::Result<()>;

/// Names and attributes, each thread with so many files.
pub fn metadata(place: &dyn Place, files: u32) -> Result<Vec<Measured>, LabError> {
    let mut found = Vec::new();
    let easy = Folders::make(place, "easy", false, files)?;
    let steps: [(&str, Step); 3] = [
        ("md_easy_creation", |path| File::create(path).map(drop)),
        ("md_easy_stat", |path| fs::metadata(path).map(drop)),
        ("md_easy_removal", |path| fs::remove_file(path)),
    ];
    for (metric, step) in steps {
        found.extend(easy.measure(place, metric, step)?);
    }
    let hard = Folders::make(place, "hard", true, files)?;
    let steps: [(&str, Step); 4] = [
        ("md_hard_creation", |path| fs::write(path, [7; HARD_BYTES])),
        ("md_hard_stat", |path| fs::metadata(path).map(drop)),
        ("md_hard_read", |path| read(path, HARD_BYTES)),
        ("md_hard_removal", |path| fs::remove_file(path)),
    ];
    for (metric, step) in steps {
        found.extend(hard.measure(place, metric, step)?);
    }
    Ok(found)
}

/// Small files, durable, then read with nothing cached, and again.
pub fn small(place: &dyn Place) -> Result<Vec<Measured>, LabError> {
    let folders = Folders::make(place, "small", false, SMALL_FILES)?;
    let write: Step = |path| {
        let mut file = File::create(path)?;
        file.write_all(&[9; SMALL_BYTES])?;
        file.sync_data()
    };
    let mut found = folders.measure(place, "small_write", write)?;
    place.forget()?;
    for metric in ["small_read_cold", "small_read_warm"] {
        found.extend(folders.measure(place, metric, |path| read(path, SMALL_BYTES))?);
    }
    Ok(found)
}

/// A tree of so many small files: unpacked, and looked through and removed with nothing cached.
pub fn tree(place: &dyn Place, entries: u32) -> Result<Vec<Measured>, LabError> {
    let archive = format!("{}/tree.tar", paths::DISK);
    let pack = format!(
        "import io, tarfile; tar = tarfile.open('{archive}.new', 'w')\n\
         for n in range({entries}):\n\
         \tfile = tarfile.TarInfo('tree/%03d/%05d' % (n // {TREE_FOLDER}, n))\n\
         \tfile.size = 200 + n % 3000\n\
         \ttar.addfile(file, io.BytesIO(b'x' * file.size))\n\
         tar.close()"
    );
    let deadline = TREE_DEADLINE.1 * entries.div_ceil(TREE_DEADLINE.0).max(1);
    let run = |script: &str| {
        let bash = place.clients()[0].command("/bin/bash").args(["-euc", script]).deadline(deadline);
        bash.run().map(drop)
    };
    run(&format!("[ -e {archive} ] || {{ python3 -c \"{pack}\" && mv {archive}.new {archive}; }}"))?;
    let rate = |metric: &str, script: &str| {
        with_cost(place, metric, entries, || {
            let start = Instant::now();
            run(script).map(|()| start.elapsed())
        })
    };
    let folder = place.folder();
    let mut found = rate("untar", &format!("tar -xf {archive} -C {folder}"))?;
    place.forget()?;
    let looks = format!("[ $(find {folder}/tree -type f -size -100k | wc -l) = {entries} ]");
    found.extend(rate("find_cold", &looks)?);
    found.extend(rate("rm_tree_cold", &format!("rm -r {folder}/tree"))?);
    Ok(found)
}

/// The rate of so many operations, and what the daemons of the place used for a thousand of them.
pub fn with_cost(
    place: &dyn Place,
    metric: &str,
    operations: u32,
    work: impl FnOnce() -> Result<Duration, LabError>,
) -> Result<Vec<Measured>, LabError> {
    let (counted, before) = (place.counters()?, Usage::of(place)?);
    let took = work()?;
    let spent = Usage::of(place)?.since(&before);
    let counts = place.counters()?.into_iter().zip(counted);
    let operations = f64::from(operations);
    let mut found = vec![Measured::rate(metric, OPS, operations / took.as_secs_f64())];
    if !place.servers().is_empty() {
        let (per_thousand, unit) = (1000.0 / operations, "s/1000 ops");
        found.push(Measured::cost(format!("{metric}_server_cpu"), unit, spent.server_cpu_seconds * per_thousand));
        found.push(Measured::cost(format!("{metric}_client_cpu"), unit, spent.client_cpu_seconds * per_thousand));
        found.push(Measured::cost(format!("{metric}_disk_write"), "B/op", spent.written_bytes / operations));
    }
    found.extend(counts.map(|(now, then)| {
        Measured::cost(format!("{metric}_{}", now.name), now.unit, (now.count - then.count) / operations)
    }));
    Ok(found)
}

fn read(path: &Path, size: usize) -> std::io::Result<()> {
    let got = fs::read(path)?.len();
    if got == size {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("{} has {got} bytes, not {size}", path.display())))
    }
}

/// The folders that threads work in, one each or one for all.
struct Folders {
    name: &'static str,
    shared: bool,
    /// Files of each thread.
    files: u32,
}

impl Folders {
    fn make(place: &dyn Place, name: &'static str, shared: bool, files: u32) -> Result<Self, LabError> {
        let folders = Folders { name, shared, files };
        let outside = place.outside(0)?;
        for thread in 0..THREADS {
            let dir = outside.join(folders.of(thread));
            fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
        }
        Ok(folders)
    }

    fn of(&self, thread: u32) -> PathBuf {
        let last = if self.shared { "all".to_owned() } else { thread.to_string() };
        Path::new(self.name).join(last)
    }

    /// Files a second, all threads together, each file once.
    fn measure(&self, place: &dyn Place, metric: &str, step: Step) -> Result<Vec<Measured>, LabError> {
        with_cost(place, metric, THREADS * self.files, || self.time(&place.outside(0)?, step))
    }

    fn time(&self, outside: &Path, step: Step) -> Result<Duration, LabError> {
        // Relative paths: the way into the lab is not what is measured.
        std::env::set_current_dir(outside).context(|| format!("enter {}", outside.display()))?;
        let start = Instant::now();
        let work = |thread: u32| {
            let dir = self.of(thread);
            (0..self.files).try_for_each(|number| step(&dir.join(format!("{thread}.{number}"))))
        };
        let ended: Vec<std::io::Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a step does not panic")).collect()
        });
        let took = start.elapsed();
        leave()?;
        ended.into_iter().collect::<std::io::Result<()>>().context(|| format!("work in {}", outside.display()))?;
        Ok(took)
    }
}
