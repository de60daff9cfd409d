//! `forebay-demo`: what `tests/demo` runs.

use std::path::PathBuf;
use std::process::ExitCode;

use forebay_tests::demo::{self, Options};

const USAGE: &str = "usage: forebay-demo [--s3] [--json FILE] [--keep]";

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("forebay-demo: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match demo::run(&options) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("forebay-demo: {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("forebay-demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--s3" => options.s3 = true,
            "--keep" => options.keep = true,
            "--json" => options.json = Some(PathBuf::from(args.next().ok_or("--json needs a file")?)),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}
