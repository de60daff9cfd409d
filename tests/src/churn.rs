//! Programs that keep a mount's names busy: each makes, renames, links and removes names, every one exactly once, and at
//! the end checks that all of it is there and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::LabError;
use crate::mounted::Mounted;
use crate::node::{Node, User};
use crate::process::Daemon;
use crate::wait;

/// Any error ends it: one that was not there, one that was there already, a wrong count, a lost byte.
const WORKER: &str = r#"
import os, sys
os.chdir("/mnt/forebay/alice")
me, done = sys.argv[1], 0
os.mkdir(me)
while not os.path.exists("/run/lab/shared/stop"):
    d = f"{me}/d{done}"
    os.mkdir(d)                                             # EEXIST if it happened twice
    fd = os.open(f"{d}/a", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, b"x" * (done % 5000 + 1))
    os.close(fd)
    os.link(f"{d}/a", f"{d}/b")                             # EEXIST
    os.rename(f"{d}/a", f"{me}/f{done}")                    # ENOENT; over two shards
    os.mkdir(f"{d}/gone")
    os.rmdir(f"{d}/gone")                                   # ENOENT
    if os.stat(f"{d}/b").st_nlink != 2:
        sys.exit(f"{d}/b has {os.stat(f'{d}/b').st_nlink} links")
    done += 1
    with open(f"/run/lab/shared/{me}.done", "w") as f:
        f.write(str(done))
for n in range(done):
    size = n % 5000 + 1
    for name in (f"{me}/f{n}", f"{me}/d{n}/b"):
        with open(name, "rb") as f:
            if f.read() != b"x" * size:
                sys.exit(f"{name} is not what was written")
    if os.listdir(f"{me}/d{n}") != ["b"]:
        sys.exit(f"{me}/d{n} has {os.listdir(f'{me}/d{n}')}")
print("all well")
"#;

/// How long it may take until every worker has got further, or has ended.
const SOON: Duration = Duration::from_secs(120);

/// One worker on each client.
pub struct Churn {
    workers: Vec<Daemon>,
    shared: PathBuf,
}

impl Churn {
    /// Starts them.
    pub fn start(at: &Mounted) -> Result<Self, LabError> {
        let workers = (0..at.clients.len()).map(|place| {
            at.run(place, "true")?;
            let name = format!("w{place}");
            let argument = name.clone();
            let recipe = move |node: &Node| {
                Ok(node.command("/usr/bin/python3").args(["-c", WORKER, &argument]).user(&User::alice()))
            };
            Daemon::start(at.client(place), &name, recipe)
        });
        Ok(Self { workers: workers.collect::<Result<_, _>>()?, shared: at.lab.shared() })
    }

    fn done(&self) -> Vec<u64> {
        let count = |place| {
            let text = std::fs::read_to_string(self.shared.join(format!("w{place}.done"))).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        (0..self.workers.len()).map(count).collect()
    }

    /// Waits until every worker has got further; panics with what it said if one has ended.
    pub fn wait_progress(&self) -> Result<(), LabError> {
        let before = self.done();
        wait::until("every worker gets further", SOON, || {
            for worker in &self.workers {
                assert!(worker.runs()?, "a worker has ended: {}", worker.log_text());
            }
            let now = self.done();
            let all = now.iter().zip(&before).all(|(now, before)| now > before);
            Ok(if all { wait::Seen::Yes(()) } else { wait::Seen::NotYet(format!("{before:?}, then {now:?}")) })
        })
    }

    /// Has them stop, and waits until each has found all it did; panics with what it said if one has not.
    pub fn end(self) -> Result<(), LabError> {
        std::fs::write(self.shared.join("stop"), "").map_err(|error| LabError::Lab(format!("stop: {error}")))?;
        for worker in &self.workers {
            wait::until("it has ended", SOON, || {
                Ok(if worker.runs()? { wait::Seen::NotYet(worker.log_end()) } else { wait::Seen::Yes(()) })
            })?;
            assert!(worker.log_text().ends_with("all well\n"), "{}", worker.log_text());
        }
        Ok(())
    }
}
