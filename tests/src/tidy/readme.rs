//! The commands of README.md exist.

use super::tree::{Finding, Tree};

const README: &str = "README.md";

/// Checks the first word of each line in the README's shell blocks: scripts of the tree exist and run, our programs are built here.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(readme) = tree.get(README) else {
        return vec![Finding::new(README, 1, "is missing: write what this is and the two commands to try it")];
    };
    let programs = programs(tree);
    let mut found = Vec::new();
    let mut in_shell = false;
    for (number, line) in readme.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            in_shell = !in_shell && kind == "sh";
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        let problem = if !in_shell {
            None
        } else if word.starts_with("tests/") || word.starts_with("./") {
            script(tree, word.trim_start_matches("./"))
        } else if word.starts_with("forebay") && !programs.iter().any(|program| program == word) {
            Some(format!("no crate builds the program {word}"))
        } else {
            None
        };
        found.extend(problem.map(|message| Finding::new(README, number, message + ": mend the README or the program")));
    }
    found
}

fn script(tree: &Tree, path: &str) -> Option<String> {
    match tree.get(path) {
        Some(file) if file.executable => None,
        Some(_) => Some(format!("{path} is not executable")),
        None => Some(format!("{path} does not exist")),
    }
}

/// Programs the workspace builds: `[[bin]]` names, `src/bin/*.rs`, and crates with a `src/main.rs`.
fn programs(tree: &Tree) -> Vec<String> {
    let mut programs = Vec::new();
    for (folder, _, table) in tree.manifests() {
        let bins = table.get("bin").and_then(|bins| bins.as_array()).into_iter().flatten();
        programs.extend(bins.filter_map(|bin| Some(bin.get("name")?.as_str()?.to_owned())));
        let name = table.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()).unwrap_or_default();
        if tree.get(&format!("{folder}/src/main.rs")).is_some() {
            programs.push(name.to_owned());
        }
    }
    let bins = tree.rust().filter(|file| file.path.contains("/src/bin/"));
    programs.extend(bins.filter_map(|file| file.name().strip_suffix(".rs")).map(str::to_owned));
    programs
}
