//! The files of the workspace, and what rules say about them.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::error::{Context, LabError};

/// One text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Path below the workspace's root, with `/`.
    pub path: String,
    /// Contents.
    pub text: String,
    /// Whether it may be executed.
    pub executable: bool,
}

impl File {
    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Whether this is a test file by its name or place.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("_tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }

    /// File name.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// All files of the workspace that belong to its sources.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Sorted by path.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads the workspace at `root`: what git tracks, and what it does not ignore.
    pub fn read(root: &Path) -> Result<Self, LabError> {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root)
            .output()
            .context(|| "run git ls-files".to_owned())?;
        if !listed.status.success() {
            return Err(LabError::Lab(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr))));
        }
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut files: Vec<File> = names.split_terminator('\0').filter_map(|name| read_file(root, name)).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Tree { files })
    }

    /// A made-up tree, for the rules' own tests.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |&(path, text): &(&str, &str)| File { path: path.to_owned(), text: text.to_owned(), executable: false };
        Tree { files: files.iter().map(file).collect() }
    }

    /// The Rust sources.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The manifests of crates, with the folder each lies in and its contents; one that does not parse is left to cargo.
    pub fn manifests(&self) -> Vec<(&str, &File, toml::Table)> {
        let manifest = |file: &'_ File| file.path.strip_suffix("/Cargo.toml").is_some();
        let files = self.files.iter().filter(|file| manifest(file));
        files.filter_map(|file| Some((file.path.strip_suffix("/Cargo.toml")?, file, file.text.parse().ok()?))).collect()
    }
}

/// A listed file that is gone from the working tree, or is no text, is none of the rules' business.
fn read_file(root: &Path, name: &str) -> Option<File> {
    use std::os::unix::fs::PermissionsExt;
    let path = root.join(name);
    let mode = std::fs::metadata(&path).ok()?.permissions().mode();
    let text = String::from_utf8(std::fs::read(&path).ok()?).ok()?;
    Some(File { path: name.to_owned(), text, executable: mode & 0o111 != 0 })
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File, below the workspace's root.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    /// At a line of a file.
    pub fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Finding { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}
