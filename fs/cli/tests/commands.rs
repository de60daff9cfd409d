//! The command line as people meet it: help for every command, and exit codes that the help lists.

use std::process::{Command, Output};

fn forebay(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(words).env_remove("FOREBAY_HOSTS").env_remove("FOREBAY_KEY");
    command.env("FOREBAY_SITE", "/nonexistent/site.toml").output().unwrap()
}

fn help(words: &[&str]) -> String {
    let output = forebay(&[words, &["--help"]].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Names of a help text's commands, each of which it describes.
fn commands(words: &[&str], text: &str) -> Vec<String> {
    let listed = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is indented further goes on with what the line before says.
    let entries = listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let described = entries.filter_map(|line| {
        let (name, about) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        assert!(!about.trim().is_empty(), "{words:?}: nothing is said about {name}");
        (name != "help").then(|| name.to_owned())
    });
    described.collect()
}

/// Every command that does something, below `words`.
fn leaves(words: &[&str], found: &mut Vec<String>) {
    let text = help(words);
    assert!(text.lines().next().is_some_and(|line| !line.starts_with("Usage:")), "{words:?} does not say what it does");
    let below = commands(words, &text);
    if below.is_empty() {
        assert!(text.contains("--json"), "{words:?} has no --json");
        assert!(text.contains("Usage:"), "{words:?} shows no usage");
        found.push(words.join(" "));
    }
    for name in &below {
        leaves(&[words, &[name]].concat(), found);
    }
}

#[test]
fn every_command_has_help_and_json() {
    let mut found = Vec::new();
    leaves(&[], &mut found);
    for expected in [
        "status",
        "cluster create",
        "cluster keygen",
        "fs create",
        "fs import",
        "fs recall",
        "fs evict",
        "fs tier attach",
        "fsck",
        "job check",
        "job status",
        "job wait",
        "job retry",
        "job cancel",
        "job report",
        "local status",
        "local umount",
        "dev",
    ] {
        assert!(found.iter().any(|name| name == expected), "no {expected} among {found:?}");
    }
    assert!(help(&[]).contains("Exit codes:"));
}

/// The exit code, and what standard error says.
fn refused(words: &[&str]) -> (Option<i32>, String) {
    let output = forebay(words);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("none.key").display().to_string();
    let open = dir.path().join("open.key").display().to_string();
    std::fs::write(&open, format!("{}\n", "ab".repeat(32))).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let site = dir.path().join("site.toml").display().to_string();
    std::fs::write(&site, "schema = 1\n[cluster]\nname = \"x\"\n[storag]\n").unwrap();
    for (words, parts) in [
        (&["nonsense"][..], &["nonsense"][..]),
        (&["status"], &["--hosts", "site.toml"]),
        (&["--hosts", "127.0.0.1:9", "--key", &key, "status"], &["none.key"]),
        (&["--hosts", "127.0.0.1:9", "--key", &open, "status"], &["chmod 600", "open.key"]),
        (&["--site", &site, "status"], &["site.toml:4:2", "storage"]),
        (&["fs", "recall", "scratch", "/x", "--range", "9-1"], &["9-1", "A-B"]),
        (&["cluster", "create", "--name", "x", "--ec", "four", "h:1"], &["four"]),
    ] {
        let (code, said) = refused(words);
        assert_eq!(code, Some(2), "{words:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{words:?}: no {part:?} in {said}");
        }
    }
}

#[test]
fn who_cannot_be_reached_is_exit_code_8_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml").display().to_string();
    let sockets = format!("stagerd = \"{0}/stagerd.sock\"\nnode = \"{0}/node.sock\"", dir.path().display());
    let text = "schema = 1\n[cluster]\nname = \"x\"\n[storage]\nhosts = [\"127.0.0.1:9\"]\nfilesystem = \"fs\"\n";
    std::fs::write(&site, format!("{text}[socket]\n{sockets}\n")).unwrap();
    for (words, part) in [
        (&["--site", &site, "job", "status"][..], "stagerd.sock"),
        (&["--site", &site, "local", "status"], "node.sock"),
    ] {
        let (code, said) = refused(words);
        assert_eq!(code, Some(8), "{words:?}: {said}");
        assert!(said.contains(part), "{said}");
    }
}
