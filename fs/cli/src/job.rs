//! `forebay job`: what the stager does for jobs. Talks to the stager's socket on this machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use forebay_stager::client::{Printed, StagerClient};
use forebay_wire::stager::{DEFAULT_SOCKET, WaitFor};

use crate::connect::Connection;
use crate::output::Output;

#[derive(Subcommand)]
pub enum Command {
    /// Look at a job script and its sources before submitting it.
    Check {
        /// The script.
        script: PathBuf,
    },
    /// Where a job's staging stands; all of your jobs where none is named.
    Status {
        /// Slurm's job id.
        job: Option<u32>,
    },
    /// Wait until a job's inputs are ready, or its outputs are delivered.
    Wait {
        /// Slurm's job id.
        job: u32,
        /// What to wait for.
        #[arg(long = "for", value_enum, default_value_t = Until::Ready)]
        until: Until,
        /// Longest wait, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        timeout: u64,
    },
    /// Try again what waits for you, after you have mended it.
    Retry {
        /// Slurm's job id.
        job: u32,
    },
    /// Stop staging for a job and release its data; nothing that the job wrote is deleted.
    Cancel {
        /// Slurm's job id.
        job: u32,
    },
    /// A job's I/O: bytes in and out, waiting times, rates.
    Report {
        /// Slurm's job id.
        job: u32,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Until {
    /// Inputs are ready.
    Ready,
    /// Outputs are delivered.
    Out,
}

pub fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<u8> {
    let socket = connection.site()?.map_or_else(|| DEFAULT_SOCKET.into(), |site| site.socket.stagerd);
    let stager = StagerClient::new(socket);
    let printed = match command {
        Command::Check { script } => stager.check(&script),
        Command::Status { job } => stager.status(job),
        Command::Wait { job, until, timeout } => {
            let until = match until {
                Until::Ready => WaitFor::Ready,
                Until::Out => WaitFor::Out,
            };
            stager.wait(job, until, Duration::from_secs(timeout))
        }
        Command::Retry { job } => stager.retry(job),
        Command::Cancel { job } => stager.cancel(job),
        Command::Report { job } => stager.report(job),
    };
    match printed {
        Ok(Printed { exit_code, text, json }) => {
            match (output.is_json(), exit_code) {
                (true, _) => println!("{json}"),
                (false, 0) => println!("{}", text.trim_end()),
                (false, _) => eprintln!("{}", text.trim_end()),
            }
            Ok(exit_code)
        }
        Err(error) => {
            eprintln!("forebay: {error}");
            Ok(error.exit_code())
        }
    }
}
