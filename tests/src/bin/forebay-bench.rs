//! `forebay-bench`: what `tests/bench` runs.

use std::process::ExitCode;

use forebay_tests::bench::{self, Options};

const USAGE: &str = "usage: forebay-bench [--peers PEER,...] [--json FILE] [--only GROUP] [--files N] [--entries N]";

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
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
