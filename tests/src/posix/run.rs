//! Playing cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};

use super::cases::{self, Case};
use super::crew::Crew;
use super::script::{self, Step};

/// A tick of the kernel's coarse clock takes 10 ms at most; a machine that is busy shows it later.
const TICK_MOST: Duration = Duration::from_secs(10);

/// What differed from a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The case.
    pub case: &'static str,
    /// The step, as it is written.
    pub step: String,
    /// What was seen.
    pub seen: String,
}

/// Verbs whose first argument is an open file, and those that open one: an open file is one mount's, the first.
const OF_OPEN_FILES: [&str; 18] = [
    "open",
    "tmpfile",
    "close",
    "write",
    "pwrite",
    "read",
    "pread",
    "ftruncate",
    "fchmod",
    "fchown",
    "fstat",
    "seek",
    "fallocate",
    "copy",
    "linkfd",
    "fsync",
    "futimes",
    "fsetxattr",
];

/// Plays every case whose name has `filter` in it, each in a new folder below the mounts, and reports failures.
pub fn run(roots: &[PathBuf], all: &[Case], filter: &str) -> Result<(usize, Vec<Failure>)> {
    let mut crew = Crew::start(roots)?;
    let base = PathBuf::from(format!("posix-{}", std::process::id()));
    std::fs::create_dir(roots[0].join(&base))?;
    open_to_all(&roots[0].join(&base))?;
    let mut failures = Vec::new();
    let left_out = |case: &&Case| roots.len() > 1 && cases::NOT_ON_TWO.contains(&case.name);
    let chosen: Vec<&Case> = all.iter().filter(|case| case.name.contains(filter) && !left_out(case)).collect();
    for (number, case) in chosen.iter().enumerate() {
        let below = base.join(number.to_string());
        std::fs::create_dir(roots[0].join(&below))?;
        open_to_all(&roots[0].join(&below))?;
        crew.gather(&below)?;
        failures.extend(play(&mut crew, case)?);
    }
    crew.gather(Path::new(""))?;
    std::fs::remove_dir_all(roots[0].join(&base))?;
    Ok((chosen.len(), failures))
}

fn open_to_all(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))
}

/// Plays one case up to its first failure.
fn play(crew: &mut Crew, case: &Case) -> Result<Option<Failure>> {
    let mut marks: BTreeMap<String, String> = BTreeMap::new();
    for (turn, step) in script::parse(case.script).into_iter().enumerate() {
        let verb = step.words[0].as_str();
        let mount = if OF_OPEN_FILES.contains(&verb) { 0 } else { turn % crew.mounts() };
        let seen = match verb {
            "mark" => {
                let path = &step.words[1];
                let seen = crew.tell(mount, &step.who, &["lstat".to_owned(), path.clone()])?;
                marks.insert(path.clone(), seen.clone());
                tick()?;
                seen
            }
            "changed" | "same" => {
                let Some(mark) = marks.get(&step.words[1]) else { bail!("{}: {} has no mark", case.name, step.line) };
                compare(crew, mount, &step, mark)?
            }
            "umask" => {
                let said: Result<Vec<_>> =
                    (0..crew.mounts()).map(|mount| crew.tell(mount, &step.who, &step.words)).collect();
                said?.pop().unwrap_or_default()
            }
            _ => crew.tell(mount, &step.who, &step.words)?,
        };
        if !fits(&seen, &step.wanted) {
            return Ok(Some(Failure { case: case.name, step: step.line, seen }));
        }
    }
    Ok(None)
}

/// Whether an answer is what is wanted.
fn fits(seen: &str, wanted: &[String]) -> bool {
    let (how, words) = seen.split_once(' ').unwrap_or((seen, ""));
    let words: Vec<&str> = words.split(' ').collect();
    match wanted {
        [error] if how == "error" => words == [error.as_str()],
        _ => how == "ok" && wanted.iter().all(|want| words.contains(&want.as_str())),
    }
}

fn compare(crew: &mut Crew, mount: usize, step: &Step, mark: &str) -> Result<String> {
    let now = crew.tell(mount, &step.who, &["lstat".to_owned(), step.words[1].clone()])?;
    let field = |text: &str, name: &str| {
        let found = text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    for name in &step.words[2..] {
        let (old, new) = (field(mark, name), field(&now, name));
        let changed = match name.as_str() {
            "atime" | "mtime" | "ctime" => time(new.as_deref()) > time(old.as_deref()),
            _ => new != old,
        };
        if changed != (step.words[0] == "changed") {
            return Ok(format!("error {name} was {} and is {}", old.unwrap_or_default(), new.unwrap_or_default()));
        }
    }
    Ok("ok ".to_owned())
}

/// A time as it is told, for comparing.
fn time(text: Option<&str>) -> Option<(i64, u32)> {
    let (secs, nanos) = text?.split_once('.')?;
    Some((secs.parse().ok()?, nanos.parse().ok()?))
}

/// Waits until the clock that filesystems of the kernel take times from has gone on.
fn tick() -> Result<()> {
    let from = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
    let start = Instant::now();
    while clock_gettime(ClockId::CLOCK_REALTIME_COARSE)? == from {
        ensure!(start.elapsed() < TICK_MOST, "the kernel's coarse clock has stood at {from} for {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
