//! `forebay-stagerd`: brings jobs' data in before they start and their results out after they end.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use forebay_net::ClusterKey;
use forebay_site_config::SiteConfig;
use forebay_stager::daemon::Daemon;
use forebay_stager::forebay_fs::ForebayFs;
use forebay_stager::journal::Journal;
use forebay_stager::server::Server;
use forebay_stager::settings::{Settings, utc_offset_s};
use forebay_stager::slurm::SlurmCommands;
use forebay_storage::kv::RocksKv;
use tokio::signal::unix::{SignalKind, signal};

/// Stages Slurm jobs' data between the cold tiers and Forebay.
///
/// Exit codes: 0 stopped by SIGTERM or SIGINT; 1 not started, or the journal cannot be written; 2 wrong usage.
#[derive(Parser)]
#[command(name = "forebay-stagerd", version)]
struct Arguments {
    /// The site's configuration.
    #[arg(long, default_value_os_t = SiteConfig::default_path())]
    config: PathBuf,
    /// Socket to answer on, instead of the configuration's `[socket] stagerd`.
    #[arg(long)]
    socket: Option<PathBuf>,
}

/// Connects to the filesystem that the site's configuration names.
async fn connect(config: &SiteConfig) -> anyhow::Result<Arc<ForebayFs>> {
    let key = ClusterKey::load(&config.storage.key_file)?;
    let hosts = config.storage.hosts.iter().map(ToString::to_string).collect();
    let name = &config.storage.filesystem;
    let client = format!("stagerd@{}", config.cluster.name);
    ForebayFs::connect(hosts, key, name, &client).await.with_context(|| format!("filesystem '{name}'"))
}

async fn terminated() -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: stopping"),
        _ = int.recv() => tracing::info!("SIGINT: stopping"),
    }
    Ok(())
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = SiteConfig::load(&arguments.config)?;
    let socket = arguments.socket.unwrap_or_else(|| config.socket.stagerd.clone());
    let mut settings = Settings::of(&config);
    settings.policy.utc_offset_s = utc_offset_s().await;
    let path = &config.store.journal;
    std::fs::create_dir_all(path).with_context(|| format!("[store] journal {}", path.display()))?;
    let kv = RocksKv::open(path).context("the journal ([store] journal in site.toml)")?;
    let fs = connect(&config).await?;
    let slurm = Arc::new(SlurmCommands::new(
        config.slurm.squeue.clone(),
        config.slurm.scontrol.clone(),
        config.slurm.conf.clone(),
    ));
    let (daemon, handle) = Daemon::new(settings, Journal::new(Arc::new(kv)), slurm, fs.clone())?;
    let server = Server::bind(&socket, handle, daemon.performer())?;
    tracing::info!(socket = %socket.display(), cluster = config.cluster.name, "serving");
    let serving = tokio::spawn(server.run());
    let ended = daemon
        .run(async {
            if let Err(error) = terminated().await {
                tracing::error!("signals cannot be received: {error:#}");
            }
        })
        .await;
    serving.abort();
    fs.close().await;
    let _ = std::fs::remove_file(&socket);
    ended.context("the journal cannot be written: nothing is staged until it can")
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("FOREBAY_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?.block_on(run(arguments))
}
