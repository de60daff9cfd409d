//! `forebay-bench`: what `tests/bench` runs.

use std::path::PathBuf;
use std::process::ExitCode;

use forebay_tests::bench::{self, GROUPS, Options};

const USAGE: &str = "usage: forebay-bench [--json FILE] [--only GROUP]";

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("forebay-bench: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match bench::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => options.json = Some(PathBuf::from(args.next().ok_or("--json needs a file")?)),
            "--only" => {
                let group = args.next().ok_or("--only needs a group")?;
                if !GROUPS.contains(&group.as_str()) {
                    return Err(format!("there is no group {group}; there are: {}", GROUPS.join(", ")));
                }
                options.only = Some(group);
            }
            "--peers" => return Err("--peers (other filesystems beside it) comes later".to_owned()),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}
