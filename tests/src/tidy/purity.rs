//! Crates that decide and do nothing else: no clock, randomness, thread, async or I/O, so that a seed replays them; and `unsafe`
//! only where hardware or C asks for it.

use super::tree::{File, Finding, Tree};

/// Folders of the pure crates.
const PURE: [&str; 12] = [
    "fs/types/",
    "fs/wire/",
    "fs/env/",
    "fs/erasure/",
    "fs/cluster/",
    "fs/consensus/",
    "fs/meta/",
    "fs/drive/",
    "fs/cache/",
    "fs/tier/",
    "stager/directive/",
    "fs/sim/",
];
/// What pure code may not name, with the remedy.
const IMPURE: [(&str, &str); 9] = [
    ("Instant::now", "take the time as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    ("std::thread", "return an effect and let the shell run it"),
    ("thread::spawn", "return an effect and let the shell run it"),
    ("tokio::", "return an effect and let the shell run it"),
    ("rand::", "take a forebay_env::Rng"),
    ("getrandom::", "take a forebay_env::Rng"),
    ("std::fs::", "go through a door of forebay_env"),
    ("std::net::Tcp", "go through a door of forebay_env"),
];
/// Dependencies a pure crate may not have.
const IMPURE_CRATES: [&str; 8] =
    ["tokio", "rand", "getrandom", "rocksdb", "object_store", "fuser", "io-uring", "async-std"];
/// Folders whose code may be `unsafe`.
const UNSAFE: [&str; 7] =
    ["fs/erasure/", "fs/net/src/shm", "fs/net/src/rdma", "fs/storage/", "fs/fuse/", "fs/bypass/", "spank-plugin/"];

/// Checks sources and manifests.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        if is_pure(&file.path) && !file.is_test() {
            found.extend(impure(file));
        }
        if !UNSAFE.iter().any(|folder| file.path.starts_with(folder)) {
            found.extend(unsafe_code(file));
        }
    }
    for (folder, file, table) in tree.manifests() {
        let Some(dependencies) = table.get("dependencies").and_then(|d| d.as_table()) else { continue };
        for name in
            IMPURE_CRATES.iter().filter(|name| is_pure(&format!("{folder}/")) && dependencies.contains_key(**name))
        {
            let line = file.lines().find(|(_, line)| line.starts_with(name)).map_or(1, |(number, _)| number);
            let message = format!("a pure crate does not depend on {name}: put that part behind a door of forebay_env");
            found.push(Finding::new(&file.path, line, message));
        }
    }
    found
}

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|folder| path.starts_with(folder))
}

fn impure(file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in file.lines() {
        let code = code_of(line);
        for (name, remedy) in IMPURE.iter().filter(|(name, _)| names(code, name)) {
            found.push(Finding::new(&file.path, number, format!("pure code names {name}: {remedy}")));
        }
    }
    found
}

fn unsafe_code(file: &File) -> Vec<Finding> {
    let word = concat!("un", "safe");
    let starts = [
        format!("{word} {{"),
        format!("{word} fn"),
        format!("{word} impl"),
        format!("{word} extern"),
        format!("{word}("),
    ];
    let lines = file.lines().filter(|(_, line)| {
        let code = code_of(line);
        starts.iter().any(|start| names(code, start))
    });
    lines
        .map(|(number, _)| {
            Finding::new(&file.path, number, format!("{word} here: wrap it in a crate that may have it"))
        })
        .collect()
}

/// The line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether `name` stands in `code` as a word of its own (`operand::x` does not name `rand::`).
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"'))
}
