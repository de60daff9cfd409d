//! What daemons logged: a test fails on any line of level ERROR or WARN that it does not expect.
//!
//! Understands the lines of `tracing`'s formatters (plain and JSON) and panics; everything else is taken as continuation.

use std::path::{Path, PathBuf};

use crate::error::{Context, LabError};

/// A line that asks for attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The log.
    pub file: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// The line without colours.
    pub text: String,
}

/// All ERROR, WARN and panic lines of the logs in `dir` whose file name holds one of `programs`, except those that hold one of
/// the `expected` texts.
pub fn unexpected(dir: &Path, programs: &[&str], expected: &[&str]) -> Result<Vec<LogLine>, LabError> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .context(|| format!("list {}", dir.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| programs.iter().any(|name| path.to_string_lossy().contains(name)))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).context(|| format!("read {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        found.extend(in_text(&text, expected).into_iter().map(|(line, text)| LogLine {
            file: file.clone(),
            line,
            text,
        }));
    }
    Ok(found)
}

/// Panics with all of them when [`unexpected`] finds lines.
pub fn assert_quiet(dir: &Path, programs: &[&str], expected: &[&str]) {
    let found = unexpected(dir, programs, expected).expect("logs are readable");
    let list: String = found.iter().map(|l| format!("{}:{}: {}\n", l.file.display(), l.line, l.text)).collect();
    assert!(found.is_empty(), "unexpected lines in the logs:\n{list}");
}

fn in_text(text: &str, expected: &[&str]) -> Vec<(usize, String)> {
    let lines = text.lines().zip(1..).map(|(line, number)| (number, plain(line)));
    lines.filter(|(_, line)| asks_attention(line) && !expected.iter().any(|text| line.contains(text))).collect()
}

fn asks_attention(line: &str) -> bool {
    // `tracing` writes the level as the second word, after the time; without a time it is the first.
    let level = line.split_whitespace().take(2).any(|word| word == "ERROR" || word == "WARN");
    level
        || line.contains("\"level\":\"ERROR\"")
        || line.contains("\"level\":\"WARN\"")
        || (line.starts_with("thread '") && line.contains("panicked at"))
}

/// The line without terminal colours.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text.push_str(before);
        rest = after.find('m').map_or("", |end| &after[end + 1..]);
    }
    text + rest
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
