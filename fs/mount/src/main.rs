//! The node's client: mounts one filesystem and serves it.
//!
//! Linked as `/sbin/mount.forebay` it is what mount(8) runs for `mount -t forebay HOST[:PORT][,HOST...]/FS DIRECTORY`:
//! it starts itself as a daemon, waits until that has mounted or failed, and says which. With `--foreground` it serves
//! itself and logs to standard error, which is what a service manager wants. Exit codes are mount(8)'s: 0, 1 (wrong
//! usage), 32 (not mounted).

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use forebay_mount::daemon::MountRequest;
use forebay_mount::{MountError, MountOptions, MountSource, daemon, launch};
use tracing_subscriber::EnvFilter;

/// Mount a Forebay filesystem and serve it
///
/// Exit codes are those of mount(8): 0 mounted, 1 wrong usage, 32 not mounted.
#[derive(Parser)]
#[command(name = "forebay-client", version, max_term_width = 100)]
struct Arguments {
    /// What to mount: HOST[:PORT][,HOST...]/FILESYSTEM
    source: String,
    /// Where to mount it
    mountpoint: PathBuf,
    /// Options, separated by commas: ro, rw, suid, dev, noexec, noatime, sync, timeo=SECONDS, key=FILE, log=FILE,
    /// node_socket=PATH|none, name=NAME
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// Pass over options nobody knows
    #[arg(short)]
    sloppy: bool,
    /// Check the command line and the mountpoint, and mount nothing
    #[arg(short, conflicts_with = "foreground")]
    fake: bool,
    /// Say what has been mounted
    #[arg(short)]
    verbose: bool,
    /// Accepted and ignored: there is no mtab to write
    #[arg(short)]
    no_mtab: bool,
    /// Accepted and ignored: mount(8) names the type again
    #[arg(short = 't', value_name = "TYPE")]
    fstype: Option<String>,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    foreground: bool,
    /// Report success or failure on standard output, then close it: how this program starts itself
    #[arg(long, hide = true, conflicts_with = "foreground")]
    report_on_stdout: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where even that cannot be printed, the exit code has to do.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let filter = EnvFilter::try_from_env("FOREBAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if arguments.report_on_stdout {
                launch::report_failure(&error);
            }
            eprintln!("forebay-client: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), MountError> {
    let list = arguments.options.join(",");
    let request = MountRequest {
        source: MountSource::parse(&arguments.source)?,
        mountpoint: arguments.mountpoint.clone(),
        options: MountOptions::parse(&list, arguments.sloppy)?,
    };
    if arguments.report_on_stdout {
        launch::detach_from_caller();
        return daemon::run(&request, launch::report_ready);
    }
    if arguments.foreground {
        return daemon::run(&request, || {});
    }
    if arguments.fake {
        return daemon::check_mountpoint(&request.mountpoint).map(drop);
    }
    let mut passed_on = if list.is_empty() { Vec::new() } else { vec!["-o".to_owned(), list] };
    passed_on.extend(arguments.sloppy.then(|| "-s".to_owned()));
    launch::start(&request, &passed_on)?;
    if arguments.verbose {
        println!("forebay-client: {} is mounted on {}", arguments.source, arguments.mountpoint.display());
    }
    Ok(())
}
