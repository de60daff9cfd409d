//! Random operations on a mount, each compared with a model in memory.
//!
//! `FOREBAY_SEED=N` replays a failure.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use forebay_tests::demo::dataset::Numbers;
use forebay_tests::{ClusterSettings, Mounted};

const FILE_MAX: u64 = 1 << 20;
const WRITE_MAX: u64 = 96 << 10;
const STEPS: u32 = 1500;
const NAMES: u64 = 6;

struct Run<'a> {
    numbers: Numbers,
    model: BTreeMap<String, Vec<u8>>,
    open: BTreeMap<String, File>,
    dir: &'a Path,
    log: Vec<String>,
}

impl Run<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        self.numbers.draw() % limit.max(1)
    }

    fn name(&mut self) -> String {
        format!("f{}", self.below(NAMES))
    }

    fn file(&mut self, name: &str) -> &File {
        let path = self.dir.join(name);
        self.open.entry(name.to_owned()).or_insert_with(|| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).expect("opens")
        })
    }

    fn step(&mut self) {
        let name = self.name();
        match self.below(100) {
            0..35 => self.write(&name),
            35..60 => self.read(&name),
            60..68 => self.truncate(&name),
            68..76 => self.append(&name),
            76..84 => {
                self.log.push(format!("fsync {name}"));
                self.file(&name).sync_all().expect("fsync");
                self.model.entry(name).or_default();
            }
            84..92 => {
                self.log.push(format!("close {name}"));
                self.open.remove(&name);
            }
            92..96 => self.rename(&name),
            _ => self.remove(&name),
        }
    }

    fn write(&mut self, name: &str) {
        let (at, length) = (self.below(FILE_MAX), 1 + self.below(WRITE_MAX));
        let fill = self.numbers.draw().to_le_bytes();
        let bytes: Vec<u8> =
            fill.iter().cycle().zip(0u64..).map(|(b, i)| b ^ (i >> 3) as u8).take(length as usize).collect();
        self.log.push(format!("write {name} {at}+{length}"));
        self.file(name).write_all_at(&bytes, at).expect("write");
        let whole = self.model.entry(name.to_owned()).or_default();
        whole.resize(whole.len().max((at + length) as usize), 0);
        whole[at as usize..(at + length) as usize].copy_from_slice(&bytes);
    }

    fn read(&mut self, name: &str) {
        let (at, length) = (self.below(FILE_MAX), 1 + self.below(WRITE_MAX));
        self.log.push(format!("read {name} {at}+{length}"));
        let mut got = vec![0xee; length as usize];
        let file = self.file(name);
        let mut n = 0;
        while n < got.len() {
            match file.read_at(&mut got[n..], at + n as u64).expect("read") {
                0 => break,
                more => n += more,
            }
        }
        let whole = self.model.entry(name.to_owned()).or_default();
        let want =
            whole.get((at as usize).min(whole.len())..((at + length) as usize).min(whole.len())).unwrap_or_default();
        assert!(
            got[..n] == *want,
            "read {name} {at}+{length}: {n} bytes, {} wanted, first difference at {:?}",
            want.len(),
            difference(&got[..n], want)
        );
    }

    fn truncate(&mut self, name: &str) {
        let size = self.below(FILE_MAX);
        self.log.push(format!("truncate {name} {size}"));
        self.file(name).set_len(size).expect("truncate");
        self.model.entry(name.to_owned()).or_default().resize(size as usize, 0);
    }

    fn append(&mut self, name: &str) {
        let bytes = vec![self.numbers.draw() as u8; 1 + self.below(WRITE_MAX / 4) as usize];
        let whole = self.model.entry(name.to_owned()).or_default();
        if whole.len() as u64 > FILE_MAX {
            return;
        }
        whole.extend_from_slice(&bytes);
        self.log.push(format!("append {name} {}", bytes.len()));
        let mut file = OpenOptions::new().append(true).create(true).open(self.dir.join(name)).expect("opens");
        std::io::Write::write_all(&mut file, &bytes).expect("append");
    }

    fn rename(&mut self, from: &str) {
        let to = self.name();
        if !self.model.contains_key(from) || from == to {
            return;
        }
        self.log.push(format!("rename {from} {to}"));
        fs::rename(self.dir.join(from), self.dir.join(&to)).expect("rename");
        // Descriptors follow the file, not the name.
        self.open.remove(&to);
        if let Some(file) = self.open.remove(from) {
            self.open.insert(to.clone(), file);
        }
        let whole = self.model.remove(from).expect("looked up");
        self.model.insert(to, whole);
    }

    fn remove(&mut self, name: &str) {
        if self.model.remove(name).is_some() {
            self.log.push(format!("remove {name}"));
            self.open.remove(name);
            fs::remove_file(self.dir.join(name)).expect("remove");
        }
    }

    /// Compares everything as another node, or a later mount, sees it.
    fn compare(&self, dir: &Path, whose: &str) {
        let mut names: Vec<String> =
            fs::read_dir(dir).expect("list").map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, self.model.keys().cloned().collect::<Vec<_>>(), "names {whose}");
        for (name, want) in &self.model {
            let got = fs::read(dir.join(name)).unwrap_or_else(|error| panic!("read {name} {whose}: {error}"));
            assert!(
                got == *want,
                "{name} {whose}: {} bytes, {} wanted, first difference at {:?}",
                got.len(),
                want.len(),
                difference(&got, want)
            );
        }
    }
}

fn difference(got: &[u8], want: &[u8]) -> Option<usize> {
    got.iter().zip(want).position(|(a, b)| a != b)
}

/// Prints how to replay a failure.
struct OnFailure<'a> {
    seed: u64,
    log: &'a std::cell::RefCell<Vec<String>>,
}

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.borrow();
            let last = &log[log.len().saturating_sub(30)..];
            eprintln!("FOREBAY_SEED={} replays this; step {}, the last:\n{}", self.seed, log.len(), last.join("\n"));
        }
    }
}

#[test]
fn random_operations_agree_with_a_model_on_both_nodes_and_after_a_remount() {
    let drawn = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64;
    let seed = std::env::var("FOREBAY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(drawn);
    println!("FOREBAY_SEED={seed}");
    let at = Mounted::start(2, &ClusterSettings { drive_mib: 1024, ..ClusterSettings::default() }).unwrap();
    at.run(0, "mkdir model").unwrap();
    let dir = at.path(0, "alice/model").unwrap();
    let log = std::cell::RefCell::new(Vec::new());
    let _on_failure = OnFailure { seed, log: &log };
    let mut run =
        Run { numbers: Numbers(seed), model: BTreeMap::new(), open: BTreeMap::new(), dir: &dir, log: Vec::new() };
    for step in 1..=STEPS {
        run.step();
        log.borrow_mut().append(&mut run.log);
        if step % 250 == 0 {
            run.compare(&dir, "on the node that wrote it");
            run.open.clear();
            run.compare(&at.path(1, "alice/model").unwrap(), "on the other node");
        }
    }
    run.open.clear();
    at.remount(0).unwrap();
    run.compare(&at.path(0, "alice/model").unwrap(), "after a remount");
}
