//! Words that say nothing may not name a file, folder, crate, module or type.

use super::tree::{File, Finding, Tree};

/// Banned words, each with what it hides.
const BANNED: [&str; 8] = ["util", "utils", "common", "manager", "helper", "helpers", "v2", "misc"];
/// What declares a name.
const DECLARES: [&str; 5] = ["mod", "struct", "enum", "trait", "type"];

/// Checks paths, crate names and declarations.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut found: Vec<Finding> = tree.files.iter().filter_map(path).collect();
    for (_, file, table) in tree.manifests() {
        let name = table.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()).unwrap_or_default();
        found.extend(banned(name).map(|word| finding(&file.path, 1, name, word)));
    }
    for file in tree.rust() {
        for (number, line) in file.lines() {
            found.extend(declared(line).and_then(|name| Some(finding(&file.path, number, name, banned(name)?))));
        }
    }
    found
}

fn path(file: &File) -> Option<Finding> {
    file.path.split('/').find_map(|part| Some(finding(&file.path, 1, part, banned(part)?)))
}

fn finding(file: &str, line: usize, name: &str, word: &str) -> Finding {
    Finding::new(file, line, format!("the name {name} says {word:?}: name the thing by its job, in the field's words"))
}

/// The name a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let keyword = words.next()?;
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    DECLARES.contains(&keyword).then(|| &name[..end])
}

/// The banned word in a name, if any.
fn banned(name: &str) -> Option<&'static str> {
    let words = words(name);
    BANNED.into_iter().find(|word| words.iter().any(|w| w == word))
}

/// `FooBar_baz-qux.rs` is foo, bar, baz, qux, rs.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in name.chars() {
        let begins = c.is_uppercase() && !previous.is_uppercase();
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        previous = c;
    }
    words
}
