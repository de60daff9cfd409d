//! `forebay fsck`: checks a filesystem's metadata, and repairs it.

use std::io::IsTerminal;

use forebay_client::{Filesystem, Summary};
use serde_json::json;

use crate::connect::Connection;
use crate::output::Output;

/// Findings whose paths are looked for; finding a path takes a few calls.
const PATHS_MAX: usize = 1000;

#[derive(clap::Args)]
#[command(after_help = "\
The filesystem stays in use meanwhile, and what is in use is not taken for damage. Without --repair nothing is changed.
With --repair nothing is thrown away that could be anybody's data: files and directories that no name leads to any more
are put into /lost+found, by their inode numbers, where only the superuser finds them. A file that has lost bytes is
named; read it before you trust it.

Exit codes: 0 nothing was found, or all of it is repaired; 1 something is left; the others are those of 'forebay --help'.")]
pub struct Arguments {
    /// The filesystem.
    fs: String,
    /// Repair what is found.
    #[arg(long)]
    repair: bool,
}

/// The exit code.
pub async fn run(connection: &Connection, arguments: Arguments, output: &Output) -> anyhow::Result<u8> {
    let fs = connection.filesystem(&arguments.fs).await?;
    let shows = std::io::stderr().is_terminal() && !output.is_json();
    let progress = |now: &str| {
        if shows {
            eprintln!("{now}");
        }
    };
    let checked = fs.fsck(arguments.repair, progress).await;
    let paths = match &checked {
        Ok(summary) => paths(&fs, summary).await,
        Err(_) => Vec::new(),
    };
    fs.abandon().await;
    let summary = checked?;
    print(&summary, &paths, output);
    Ok(u8::from(!is_clean(&summary)))
}

fn is_clean(summary: &Summary) -> bool {
    summary.complete && summary.findings.iter().all(|(_, repaired)| *repaired)
}

async fn paths(fs: &Filesystem, summary: &Summary) -> Vec<Option<String>> {
    let mut paths = Vec::new();
    for (finding, _) in summary.findings.iter().take(PATHS_MAX) {
        paths.push(fs.path_of_finding(finding).await);
    }
    paths
}

fn print(summary: &Summary, paths: &[Option<String>], output: &Output) {
    let path = |place: usize| paths.get(place).and_then(Option::as_deref);
    let repaired = summary.findings.iter().filter(|(_, repaired)| *repaired).count();
    let value = json!({
        "inodes": summary.inodes, "names": summary.names, "shards": summary.shards, "complete": summary.complete,
        "in_use": summary.unsettled, "repaired": repaired,
        "findings": summary.findings.iter().enumerate().map(|(place, (finding, repaired))| json!({
            "what": finding.to_string(), "inode": finding.inode().map(|ino| ino.0), "path": path(place),
            "repaired": repaired,
        })).collect::<Vec<_>>(),
    });
    output.print(&value, || {
        let mut lines: Vec<String> = Vec::new();
        for (place, (finding, repaired)) in summary.findings.iter().enumerate() {
            let path = path(place).map_or(String::new(), |path| format!("{path}: "));
            let state = if *repaired { " (repaired)" } else { "" };
            lines.push(format!("{path}{finding}{state}"));
        }
        if summary.unsettled > 0 {
            lines.push(format!("{} inodes were in use all the while: their names were not checked", summary.unsettled));
        }
        if !summary.complete {
            lines.push("leaders changed again and again: not everything was checked".into());
        }
        lines.push(format!(
            "{} inodes, {} names in {} shards checked, {} findings, {repaired} repaired",
            summary.inodes,
            summary.names,
            summary.shards,
            summary.findings.len()
        ));
        lines.join("\n")
    });
}
