//! Many files: two threads create, look at, read and remove them.
//!
//! *Easy*: empty files, each thread in a folder of its own. *Hard*: 3901 bytes each, both threads in one folder. So many
//! that what a client may keep back is a small part of them. And a tree: unpacked, and looked through with nothing cached.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Measured, Place};
use crate::error::{Context, LabError};
use crate::paths;

const THREADS: u32 = 2;
/// Of each thread.
const FILES: u32 = 5000;
const SMALL_FILES: u32 = 600;
const TREE_FILES: u32 = 20_000;
/// Longest that anything with the tree may take.
const TREE_DEADLINE: Duration = Duration::from_secs(600);
/// Files of a folder of the tree.
const TREE_FOLDER: u32 = 50;
const HARD_BYTES: usize = 3901;
const SMALL_BYTES: usize = 8 << 10;
const UNIT: &str = "ops/s";

/// One operation on one file.
type Step = fn(&Path) -> std::io::Result<()>;

/// Names and attributes.
pub fn metadata(place: &Place<'_>) -> Result<Vec<Measured>, LabError> {
    let easy = Folders::make(place, "easy", false, FILES)?;
    let mut found = vec![
        ("md_easy_creation", UNIT, easy.rate(place, |path| File::create(path).map(drop))?),
        ("md_easy_stat", UNIT, easy.rate(place, |path| fs::metadata(path).map(drop))?),
        ("md_easy_removal", UNIT, easy.rate(place, |path| fs::remove_file(path))?),
    ];
    let hard = Folders::make(place, "hard", true, FILES)?;
    found.extend([
        ("md_hard_creation", UNIT, hard.rate(place, |path| fs::write(path, [7; HARD_BYTES]))?),
        ("md_hard_stat", UNIT, hard.rate(place, |path| fs::metadata(path).map(drop))?),
        ("md_hard_read", UNIT, hard.rate(place, |path| read(path, HARD_BYTES))?),
        ("md_hard_removal", UNIT, hard.rate(place, |path| fs::remove_file(path))?),
    ]);
    Ok(found)
}

/// Small files, durable, then read with nothing cached, and again.
pub fn small(place: &Place<'_>) -> Result<Vec<Measured>, LabError> {
    let folders = Folders::make(place, "small", false, SMALL_FILES)?;
    let write: Step = |path| {
        let mut file = File::create(path)?;
        file.write_all(&[9; SMALL_BYTES])?;
        file.sync_data()
    };
    let written = folders.rate(place, write)?;
    place.forget()?;
    let cold = folders.rate(place, |path| read(path, SMALL_BYTES))?;
    let warm = folders.rate(place, |path| read(path, SMALL_BYTES))?;
    Ok(vec![("small_write", UNIT, written), ("small_read_cold", UNIT, cold), ("small_read_warm", UNIT, warm)])
}

/// A tree of small files: unpacked, and looked through with nothing cached.
pub fn tree(place: &Place<'_>) -> Result<Vec<Measured>, LabError> {
    let archive = format!("{}/tree.tar", paths::DISK);
    let pack = format!(
        "import io, tarfile; tar = tarfile.open('{archive}', 'w')\n\
         for n in range({TREE_FILES}):\n\
         \tfile = tarfile.TarInfo('tree/%03d/%05d' % (n // {TREE_FOLDER}, n))\n\
         \tfile.size = 200 + n % 3000\n\
         \ttar.addfile(file, io.BytesIO(b'x' * file.size))\n\
         tar.close()"
    );
    let run = |script: &str| {
        let bash = place.at.client(0).command("/bin/bash").args(["-euc", script]).deadline(TREE_DEADLINE);
        bash.run().map(drop)
    };
    run(&format!("[ -e {archive} ] || python3 -c \"{pack}\""))?;
    let rate = |script: &str| {
        let start = Instant::now();
        run(script).map(|()| f64::from(TREE_FILES) / start.elapsed().as_secs_f64())
    };
    let inside = &place.inside;
    let unpacked = rate(&format!("tar -xf {archive} -C {inside}"))?;
    place.forget()?;
    let found = rate(&format!("[ $(find {inside}/tree -type f -size -100k | wc -l) = {TREE_FILES} ]"))?;
    let removed = rate(&format!("rm -r {inside}/tree"))?;
    Ok(vec![("untar", UNIT, unpacked), ("find_cold", UNIT, found), ("rm_tree_cold", UNIT, removed)])
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
    fn make(place: &Place<'_>, name: &'static str, shared: bool, files: u32) -> Result<Self, LabError> {
        let folders = Folders { name, shared, files };
        for thread in 0..THREADS {
            let dir = place.outside.join(folders.of(thread));
            fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
        }
        Ok(folders)
    }

    fn of(&self, thread: u32) -> PathBuf {
        let last = if self.shared { "all".to_owned() } else { thread.to_string() };
        Path::new(self.name).join(last)
    }

    /// Files a second, all threads together, each file once.
    fn rate(&self, place: &Place<'_>, step: Step) -> Result<f64, LabError> {
        // Relative paths: the way into the lab is not what is measured.
        std::env::set_current_dir(&place.outside).context(|| format!("enter {}", place.outside.display()))?;
        let start = Instant::now();
        let work = |thread: u32| {
            let dir = self.of(thread);
            (0..self.files).try_for_each(|number| step(&dir.join(format!("{thread}.{number}"))))
        };
        let ended: Vec<std::io::Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a step does not panic")).collect()
        });
        let seconds = start.elapsed().as_secs_f64();
        std::env::set_current_dir("/").context(|| "leave the folder".to_owned())?;
        ended
            .into_iter()
            .collect::<std::io::Result<()>>()
            .context(|| format!("work in {}", place.outside.display()))?;
        Ok(f64::from(THREADS * self.files) / seconds)
    }
}
