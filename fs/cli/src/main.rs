//! `forebay`: the command line for users and operators.
//!
//! One file a noun. Every command prints text for people, or with `--json` one JSON value on standard output; errors go
//! to standard error. Exit codes are those of [`exit::HELP`].

mod cluster;
mod connect;
mod dev;
mod error;
mod exit;
mod fs;
mod fsck;
mod host;
mod job;
mod local;
mod output;
mod quota;
mod status;
mod tier;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::connect::Connection;
use crate::output::Output;

/// Forebay: a parallel scratch filesystem that knows Slurm jobs.
#[derive(Parser)]
#[command(name = "forebay", version, propagate_version = true, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Print one JSON value instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Health of the cluster: hosts, drives, filesystems, sessions.
    Status {
        /// Show every drive, placement and session.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Make a cluster, or its key.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Make filesystems, attach cold tiers, move data between tiers.
    #[command(subcommand)]
    Fs(fs::Command),
    /// Check a filesystem's metadata while it is in use, and repair it.
    Fsck(fsck::Arguments),
    /// Look after the staging of jobs.
    #[command(subcommand)]
    Job(job::Command),
    /// Look after this node's mount.
    #[command(subcommand)]
    Local(local::Command),
    /// Try Forebay alone: six hosts in this process, and a mount.
    Dev(dev::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("FOREBAY_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let output = Output::new(arguments.json);
    match run(arguments, &output) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("forebay: {error:#}");
            ExitCode::from(exit::code(&error))
        }
    }
}

fn run(arguments: Arguments, output: &Output) -> anyhow::Result<u8> {
    let Arguments { connection, command, .. } = arguments;
    match command {
        Command::Job(command) => job::run(&connection, command, output),
        Command::Local(command) => local::run(&connection, command, output),
        other => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                match other {
                    Command::Status { verbose } => status::run(&connection, verbose, output).await,
                    Command::Cluster(command) => cluster::run(&connection, command, output).await,
                    Command::Fs(command) => fs::run(&connection, command, output).await,
                    Command::Fsck(arguments) => return fsck::run(&connection, arguments, output).await,
                    Command::Dev(arguments) => dev::run(arguments, output).await,
                    Command::Job(_) | Command::Local(_) => unreachable!("handled without a runtime"),
                }?;
                Ok(0)
            })
        }
    }
}
