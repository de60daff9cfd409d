//! A real S3 server over a directory: each directory below the root is a bucket, requests are signed.
//!
//! For tests and the demo. Says `listening at <address>` on standard output once it accepts connections, and ends on
//! SIGTERM or SIGINT.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// After a failed accept: the process has no descriptor free, and none tells when one is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the directories below a root as S3 buckets.
#[derive(Parser)]
struct Options {
    /// Directory that holds one directory for each bucket.
    #[arg(long)]
    root: PathBuf,
    /// Address to listen at; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The one access key that is accepted.
    #[arg(long)]
    access_key: String,
    /// Its secret.
    #[arg(long)]
    secret_key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let files = s3s_fs::FileSystem::new(&options.root)
        .map_err(|e| anyhow::anyhow!("cannot serve {}: {e:?}", options.root.display()))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(options.access_key, options.secret_key));
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen at {}", options.listen))?;
    println!("listening at {}", listener.local_addr()?);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = serve(listener, builder.build()) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                connections.spawn(async move {
                    // A connection that breaks is its client's to complain about.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
