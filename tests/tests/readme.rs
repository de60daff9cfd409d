//! Every command of ours that README.md names is one that the programs know.

use std::collections::BTreeSet;
use std::process::Command;

use forebay_tests::paths;

/// The program and its subcommands, up to the first argument.
fn command_words(text: &str) -> Option<Vec<String>> {
    let word = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-');
    let words: Vec<String> = text.split_whitespace().take_while(word).map(str::to_owned).collect();
    let ours = ["forebay", "forebay-site"].iter().any(|program| words.first().is_some_and(|first| first == program));
    (ours && words.len() > 1).then_some(words)
}

#[test]
fn subcommands_named_in_the_readme_answer_help() {
    let text = std::fs::read_to_string(paths::workspace().join("README.md")).expect("README.md is readable");
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let commands: BTreeSet<Vec<String>> = text.lines().map(str::trim).chain(spans).filter_map(command_words).collect();
    assert!(commands.len() > 8, "the README names our commands: {commands:?}");
    let mut unknown = Vec::new();
    for words in commands {
        let program = paths::built(&words[0]).unwrap_or_else(|error| panic!("{error}"));
        let output = Command::new(program).args(&words[1..]).arg("--help").output().expect("it starts");
        if !output.status.success() {
            unknown.push(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(unknown.is_empty(), "README.md names commands that do not exist:\n{}", unknown.join("\n"));
}
