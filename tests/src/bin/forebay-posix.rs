//! `forebay-posix`: the conformance cases on mounted filesystems.

use std::path::PathBuf;
use std::process::ExitCode;

use forebay_tests::posix::{actor, cases, run};

const USAGE: &str = "\
usage: forebay-posix [--local | --only WORD] FOLDER [FOLDER...]
  Runs the cases whose names have WORD in them below FOLDER, as root. Several FOLDERs are the same one on different
  mounts: the steps of each case go to them in turn. With --local only what any filesystem of the kernel's keeps.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let played = match words.as_slice() {
        ["__actor", name] => actor::play(name).map(|()| true),
        ["--local", folders @ ..] if !folders.is_empty() => play(folders, cases::all(), ""),
        ["--only", word, folders @ ..] if !folders.is_empty() => play(folders, all(), word),
        [first, ..] if !first.starts_with('-') => play(&words, all(), ""),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("forebay-posix: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Vec<cases::Case> {
    [cases::all(), cases::ours()].concat()
}

fn play(folders: &[&str], cases: Vec<cases::Case>, filter: &str) -> anyhow::Result<bool> {
    let roots: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    let (count, failures) = run::run(&roots, &cases, filter)?;
    for failure in &failures {
        println!("{}\n    {}\n    saw: {}", failure.case, failure.step, failure.seen);
    }
    println!("{} of {count} cases pass", count - failures.len());
    Ok(failures.is_empty() && count > 0)
}
