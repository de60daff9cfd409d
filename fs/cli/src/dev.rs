//! `forebay dev`: the smallest way to try the filesystem. Six hosts in this process, one mount, no Slurm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use forebay_client::{ClientOptions, Cluster};
use forebay_mount::daemon::MountRequest;
use forebay_mount::{MountOptions, MountSource};
use forebay_net::{ClusterKey, Role};
use forebay_server::{DriveSpec, Host, HostConfig};
use forebay_types::Geometry;

use crate::output::Output;

const HOSTS: usize = 6;
const FS: &str = "dev";

#[derive(clap::Args)]
pub struct Arguments {
    /// Directory for everything that is stored; used again the next time.
    #[arg(long)]
    dir: PathBuf,
    /// Where to mount.
    #[arg(long)]
    mount: PathBuf,
    /// Size of each of the six drives, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    drive_mib: u64,
    /// First of the six ports on 127.0.0.1; a directory must always be used with the same.
    #[arg(long, default_value_t = 7440)]
    port: u16,
}

pub async fn run(arguments: Arguments, output: &Output) -> anyhow::Result<()> {
    let Arguments { dir, mount, drive_mib, port } = arguments;
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let key_file = dir.join("cluster.key");
    if !key_file.exists() {
        ClusterKey::generate()?.save(&key_file)?;
    }
    let key = ClusterKey::load(&key_file)?;
    let (hosts, addresses) = start(&dir, &key, drive_mib, port).await?;
    let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
    let cluster = Cluster::new(addresses.clone(), key, Role::Client, "forebay dev", options);
    if cluster.refresh().await.is_err() {
        let geometry = Geometry { data: 4, parity: 2 };
        crate::cluster::create(&cluster, FS.into(), geometry, 8, addresses.clone()).await?;
        crate::fs::create(&cluster, FS.into(), output).await?;
    }
    let source = MountSource::parse(&format!("{}/{FS}", addresses.join(",")))?;
    let list = format!("key={},node_socket=none", key_file.display());
    let request = MountRequest { source, mountpoint: mount.clone(), options: MountOptions::parse(&list, false)? };
    let ready = move || {
        eprintln!("{} is mounted; end with Ctrl-C or umount", mount.display());
    };
    let mounted = tokio::task::spawn_blocking(move || forebay_mount::daemon::run(&request, ready)).await?;
    for host in hosts {
        host.stop().await;
    }
    Ok(mounted?)
}

async fn start(dir: &Path, key: &ClusterKey, drive_mib: u64, port: u16) -> anyhow::Result<(Vec<Host>, Vec<String>)> {
    let mut hosts = Vec::new();
    let mut addresses = Vec::new();
    for n in 0..HOSTS {
        let name = format!("dev{}", n + 1);
        let listen = format!("127.0.0.1:{}", usize::from(port) + n);
        let host_dir = dir.join(&name);
        let drive = DriveSpec { path: host_dir.join("drive"), size_bytes: drive_mib << 20 };
        let config = HostConfig {
            dir: host_dir,
            name,
            listen: listen.parse().with_context(|| listen.clone())?,
            key: key.clone(),
            drives: vec![drive],
        };
        hosts.push(Host::start(config).await?);
        addresses.push(listen);
    }
    Ok((hosts, addresses))
}
