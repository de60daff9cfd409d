//! What daemons logged: a test fails on any line of level ERROR or WARN that it does not expect.
//!
//! A [`crate::Lab`] looks at the logs of our daemons when it ends; a test that provokes a complaint says so beforehand
//! ([`crate::Lab::expect_logged`]). Understands the lines of `tracing`'s formatters (plain and JSON) and panics; everything else is taken as continuation.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

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

/// Daemons whose logs are looked at when a lab ends.
const DAEMONS: [&str; 3] = ["forebayd", "forebay-client", "forebay-stagerd"];

/// What the daemons of a lab may complain of.
#[derive(Debug)]
pub struct Expected(Mutex<Option<Vec<String>>>);

impl Default for Expected {
    /// Nothing.
    fn default() -> Self {
        Expected(Mutex::new(Some(Vec::new())))
    }
}

impl Expected {
    /// Lines that hold one of these texts are fine; `*` in a text stands for anything.
    pub fn add(&self, texts: &[&str]) {
        if let Some(expected) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            expected.extend(texts.iter().map(|&text| text.to_owned()));
        }
    }

    /// Every line is fine.
    pub fn add_everything(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What else the daemons whose logs are in `dir` complained of, a line each; empty for nothing.
    pub fn complaints(&self, dir: &Path) -> Result<String, LabError> {
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(expected) = expected else { return Ok(String::new()) };
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let found = unexpected(dir, &DAEMONS, &expected)?;
        let name = |line: &LogLine| line.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(found.iter().map(|line| format!("{}:{}: {}\n", name(line), line.line, line.text)).collect())
    }
}

fn in_text(text: &str, expected: &[&str]) -> Vec<(usize, String)> {
    let lines = text.lines().zip(1..).map(|(line, number)| (number, plain(line)));
    lines.filter(|(_, line)| asks_attention(line) && !expected.iter().any(|text| holds(line, text))).collect()
}

/// Whether a line holds a text, in which `*` stands for anything.
fn holds(line: &str, text: &str) -> bool {
    let mut rest = Some(line);
    for part in text.split('*') {
        rest = rest.and_then(|rest| rest.find(part).map(|at| &rest[at + part.len()..]));
    }
    rest.is_some()
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
