//! Which cluster to talk to.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use forebay_client::{ClientOptions, Cluster, Filesystem};
use forebay_net::{ClusterKey, Role};
use forebay_site_config::SiteConfig;

use crate::error::UsageError;

/// How long a command tries before it gives up.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the cluster is, and its key. What is not given is read from the site's configuration.
#[derive(clap::Args, Debug)]
pub struct Connection {
    /// Addresses of storage hosts, separated by commas; any of them leads to the rest [env: FOREBAY_HOSTS].
    #[arg(long, global = true, value_delimiter = ',', value_name = "HOST:PORT,...")]
    pub hosts: Vec<String>,
    /// File with the cluster's key [env: FOREBAY_KEY].
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The site's configuration.
    #[arg(long, global = true, value_name = "FILE")]
    pub site: Option<PathBuf>,
}

impl Connection {
    /// The site's configuration; `None` where none is named and the default one does not exist.
    pub fn site(&self) -> anyhow::Result<Option<SiteConfig>> {
        let path = self.site.clone().unwrap_or_else(SiteConfig::default_path);
        if self.site.is_none() && !path.exists() {
            return Ok(None);
        }
        Ok(Some(SiteConfig::load(&path)?))
    }

    /// The cluster's key.
    pub fn cluster_key(&self) -> anyhow::Result<ClusterKey> {
        let given = self.key.clone().or_else(|| std::env::var_os("FOREBAY_KEY").map(PathBuf::from));
        let path = match given {
            Some(path) => path,
            None => self.site()?.map_or_else(|| "/etc/forebay/cluster.key".into(), |site| site.storage.key_file),
        };
        Ok(ClusterKey::load(&path)?)
    }

    fn seeds(&self) -> anyhow::Result<Vec<String>> {
        if !self.hosts.is_empty() {
            return Ok(self.hosts.clone());
        }
        if let Ok(list) = std::env::var("FOREBAY_HOSTS") {
            return Ok(list.split(',').map(str::to_owned).collect());
        }
        match self.site()? {
            Some(site) => Ok(site.storage.hosts.iter().map(ToString::to_string).collect()),
            None => Err(UsageError::NoHosts { site_file: SiteConfig::DEFAULT_PATH.into() }.into()),
        }
    }

    /// A handle on the cluster.
    pub fn cluster(&self) -> anyhow::Result<Cluster> {
        let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
        Ok(Cluster::new(self.seeds()?, self.cluster_key()?, Role::Client, &client_name(), options))
    }

    /// A filesystem of the cluster, with a session of its own.
    pub async fn filesystem(&self, name: &str) -> anyhow::Result<Filesystem> {
        let cluster = self.cluster()?;
        Filesystem::mount(&cluster, name, &client_name()).await.with_context(|| format!("filesystem '{name}'"))
    }
}

/// How this program calls itself in session lists.
pub fn client_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("forebay@{}", host.trim())
}
