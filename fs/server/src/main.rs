//! `forebayd`: the daemon of a storage host.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use forebay_net::ClusterKey;
use forebay_server::{DriveSpec, Host, HostConfig};
use tracing_subscriber::EnvFilter;

/// A storage host of a Forebay cluster: drives, metadata shards and object-store movers.
///
/// Exit codes: 0 stopped by SIGTERM or SIGINT; 1 not started, standard error says why; 2 wrong usage. A drive that
/// cannot be used does not keep it from serving the others.
#[derive(Parser)]
#[command(name = "forebayd", version, max_term_width = 100)]
struct Arguments {
    /// Directory for metadata and identity; one forebayd a directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Address and port to listen at.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7440")]
    listen: SocketAddr,
    /// The host's name, unique in its cluster [default: the machine's host name].
    #[arg(long)]
    name: Option<String>,
    /// File with the cluster's key (made by 'forebay cluster keygen').
    #[arg(long, value_name = "FILE", default_value = "/etc/forebay/cluster.key")]
    key: PathBuf,
    /// A drive: PATH:SIZE for a file, as in /data/d1:64GiB, or a block device. Give it once a drive.
    #[arg(long = "drive", value_name = "PATH[:SIZE]")]
    drives: Vec<DriveSpec>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("FOREBAY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let name = match arguments.name {
        Some(name) => name,
        None => host_name().context("the machine's host name cannot be read: give --name")?,
    };
    let config = HostConfig {
        dir: arguments.dir,
        name,
        listen: arguments.listen,
        key: ClusterKey::load(&arguments.key)?,
        drives: arguments.drives,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(config))
}

fn host_name() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_string())
}

async fn serve(config: HostConfig) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let host = Host::start(config).await?;
    tracing::info!(address = %host.address(), "listening");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    host.stop().await;
    Ok(())
}
