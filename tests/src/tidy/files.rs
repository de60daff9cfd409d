//! Top-level names, file lengths, and where tests stand.

use std::collections::BTreeSet;

use super::tree::{File, Finding, Tree};

/// Everything that may stand visibly at the top.
const TOP: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "rust-toolchain.toml",
    "fs",
    "prolog",
    "epilog",
    "spank-plugin",
    "stager",
    "site-config",
];
const TESTS: &str = "tests";
/// Lines a file may have at most.
const HARD_LINES: usize = 700;
/// Lines a file should stay under.
const SOFT_LINES: usize = 500;

/// Checks names at the top, lengths, and that tests stand in files of their own.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = top(tree);
    for file in tree.rust() {
        let lines = file.text.lines().count();
        if lines > HARD_LINES {
            let message =
                format!("{lines} lines, at most {HARD_LINES}: two jobs belong in two files, tests in a sibling");
            found.push(Finding::new(&file.path, HARD_LINES, message));
        }
        found.extend(sibling(tree, file));
        found.extend(lines_of(file));
    }
    found
}

/// Files over the length they should have, longest first: a list to look at, not an error.
pub fn long(tree: &Tree) -> Vec<Finding> {
    let mut long: Vec<(usize, &File)> = tree.rust().map(|file| (file.text.lines().count(), file)).collect();
    long.retain(|(lines, _)| *lines > SOFT_LINES);
    long.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    long.iter().map(|(lines, file)| Finding::new(&file.path, SOFT_LINES, format!("{lines} lines"))).collect()
}

fn top(tree: &Tree) -> Vec<Finding> {
    let names: BTreeSet<&str> = tree.files.iter().filter_map(|file| file.path.split('/').next()).collect();
    let extra = names.into_iter().filter(|name| !name.starts_with('.') && *name != TESTS && !TOP.contains(name));
    extra
        .map(|name| {
            Finding::new(name, 1, "does not belong at the top level: put it in the room it serves (fs/, tests/, …)")
        })
        .collect()
}

/// `foo_tests.rs` stands beside `foo.rs`, or is the test of its whole folder.
fn sibling(tree: &Tree, file: &File) -> Option<Finding> {
    let stem = file.path.strip_suffix("_tests.rs")?;
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = [format!("{stem}.rs"), format!("{stem}/mod.rs"), format!("{folder}/mod.rs")];
    if beside.iter().any(|path| tree.get(path).is_some()) {
        return None;
    }
    Some(Finding::new(
        &file.path,
        1,
        format!("tests nothing beside it: {stem}.rs is missing; rename it after the file it tests"),
    ))
}

fn lines_of(file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut test_next = false;
    for (number, line) in file.lines() {
        let code = line.trim();
        if test_next && code.starts_with("mod ") && code.ends_with('{') {
            let remedy = "move it to a sibling file: #[path = \"…_tests.rs\"] mod tests;";
            found.push(Finding::new(&file.path, number, format!("tests inside the file they test: {remedy}")));
        }
        test_next = code == concat!("#[cfg", "(test)]");
        if code.starts_with(concat!("#[ig", "nore")) {
            found.push(Finding::new(&file.path, number, "an ignored test proves nothing: mend it or delete it"));
        }
        if code.contains(concat!("to", "do!(")) || code.contains(concat!("unimpl", "emented!(")) {
            found.push(Finding::new(
                &file.path,
                number,
                "unfinished code: finish it, or return an error that says what is missing",
            ));
        }
    }
    found
}
