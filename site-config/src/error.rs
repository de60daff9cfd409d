//! Why a `site.toml` is refused.

use std::path::PathBuf;

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// It cannot be read at all.
    #[error("{}: {reason}; write one as in site.example.toml, or name another with --file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Its content is refused.
    #[error("{}", lines(path, faults))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Everything found wrong, in the order of the file; never empty.
        faults: Vec<Fault>,
    },
}

fn lines(path: &std::path::Path, faults: &[Fault]) -> String {
    let line = |fault: &Fault| match fault.line {
        0 => format!("{}: {fault}", path.display()),
        line => format!("{}:{line}:{}: {fault}", path.display(), fault.column),
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One thing wrong with the file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, serde::Serialize)]
#[error("{}{text}; {remedy}", named(key))]
pub struct Fault {
    /// Line, from 1; 0 where it is about the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 where it is about the whole file.
    pub column: u32,
    /// The key, as in `gate.default`; empty where it is about none.
    pub key: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

fn named(key: &str) -> String {
    match key {
        "" => String::new(),
        key => format!("{key}: "),
    }
}
