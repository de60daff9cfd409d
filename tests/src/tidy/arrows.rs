//! Which crate may know which: imports point up one list, and the job side touches no core.
//!
//! Development dependencies are free: tests may stand on anything.

use toml::Table;

use super::tree::{File, Finding, Tree};

/// The crates of `fs/`, from the innermost out. A crate may depend on those before it.
const LIST: [&str; 22] = [
    "types",
    "wire",
    "env",
    "erasure",
    "cluster",
    "consensus",
    "meta",
    "drive",
    "cache",
    "tier",
    "net",
    "storage",
    "object",
    "fuse",
    "client",
    "server",
    "mount",
    "bypass",
    "gateway",
    "admin",
    "cli",
    "sim",
];
/// Crates beside `fs/`, with all they may depend on.
const JOB_SIDE: [(&str, &[&str]); 7] = [
    ("directive", &["types"]),
    ("hook", &["types", "wire", "directive", "site-config"]),
    ("site-config", &["types", "wire", "directive"]),
    ("prolog", &["types", "wire", "site-config", "directive", "hook"]),
    ("epilog", &["types", "wire", "site-config", "directive", "hook"]),
    ("spank-plugin", &["types", "wire", "site-config", "directive", "hook"]),
    ("stager", &["types", "wire", "env", "net", "storage", "client", "site-config", "directive", "hook"]),
];
/// What the command line may use of the job side: site files, directives, and the stager's own client.
const CLI_EXTRA: [&str; 3] = ["directive", "site-config", "stager"];
/// Crates whose arrows are free.
const FREE: [&str; 3] = ["tests", "s3-server", "testbed"];

/// Checks every manifest.
pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.manifests().iter().flat_map(|(_, file, table)| check_crate(file, table)).collect()
}

fn check_crate(file: &File, table: &Table) -> Vec<Finding> {
    let Some(name) = package(table) else { return Vec::new() };
    if FREE.contains(&name) {
        return Vec::new();
    }
    let Some(allowed) = allowed(name) else {
        let remedy = "give it a place in the list of tests/src/tidy/arrows.rs and in ARCHITECTURE.md";
        return vec![Finding::new(
            &file.path,
            1,
            format!("crate forebay-{name} has no place among the layers: {remedy}"),
        )];
    };
    let bad = dependencies(table).into_iter().filter(|dependency| !allowed.contains(&dependency.as_str()));
    bad.map(|dependency| {
        let line = file.lines().find(|(_, line)| line.starts_with(&format!("forebay-{dependency}")));
        let list = if allowed.is_empty() { "no crate of the workspace".to_owned() } else { allowed.join(", ") };
        let message = format!(
            "{name} does not know {dependency} (it may know: {list}): move the shared part into a crate both may know, or turn the \
             dependency round with a trait"
        );
        Finding::new(&file.path, line.map_or(1, |(number, _)| number), message)
    })
    .collect()
}

fn package(table: &Table) -> Option<&str> {
    let name = table.get("package")?.get("name")?.as_str()?;
    Some(name.strip_prefix("forebay-").unwrap_or(name))
}

fn allowed(name: &str) -> Option<Vec<&'static str>> {
    if let Some((_, allowed)) = JOB_SIDE.iter().find(|(crate_name, _)| *crate_name == name) {
        return Some(allowed.to_vec());
    }
    let place = LIST.iter().position(|layer| *layer == name)?;
    let extra = if name == "cli" { CLI_EXTRA.as_slice() } else { &[] };
    Some(LIST[..place].iter().chain(extra).copied().collect())
}

/// Crates of this workspace among the dependencies and build dependencies, also those of one platform.
fn dependencies(table: &Table) -> Vec<String> {
    let platforms = table.get("target").and_then(|target| target.as_table()).into_iter().flat_map(|t| t.values());
    let tables = platforms.filter_map(|platform| platform.as_table()).chain([table]);
    let sections = tables.flat_map(|t| ["dependencies", "build-dependencies"].map(|section| t.get(section)));
    let names = sections.flatten().filter_map(|section| section.as_table()).flat_map(|section| section.keys());
    names.filter_map(|name| name.strip_prefix("forebay-")).map(str::to_owned).collect()
}
