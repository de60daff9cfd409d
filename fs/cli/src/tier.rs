//! `forebay fs tier`: cold tiers of filesystems.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use forebay_wire::cluster::{AdminRequest, AttachTier, ClusterReply, TierCredentials};
use serde_json::json;

use crate::connect::Connection;
use crate::error::UsageError;
use crate::output::{Output, table};

#[derive(Subcommand)]
pub enum Command {
    /// Attach an object store, or a directory that every storage host sees at the same path.
    Attach {
        /// The filesystem.
        fs: String,
        /// A name for the tier.
        name: String,
        /// Its root: s3://bucket/prefix or file:///absolute/directory.
        url: String,
        /// For s3: URL of the endpoint, as in https://s3.example.org; the region's own where absent.
        #[arg(long, default_value = "")]
        endpoint: String,
        /// For s3: the region.
        #[arg(long, default_value = "us-east-1")]
        region: String,
        /// For s3: file with the lines access_key=... and secret_key=..., readable by its owner only.
        #[arg(long, value_name = "FILE")]
        credentials: Option<PathBuf>,
    },
    /// Detach a tier that no file needs any more.
    Detach {
        /// The filesystem.
        fs: String,
        /// The tier's name.
        name: String,
    },
    /// List the tiers of a filesystem.
    List {
        /// The filesystem.
        fs: String,
    },
}

pub async fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<()> {
    let cluster = connection.cluster()?;
    match command {
        Command::Attach { fs, name, url, endpoint, region, credentials } => {
            let credentials =
                credentials.map_or_else(|| Ok(TierCredentials::default()), |file| read_credentials(&file))?;
            let tier = AttachTier { fs, name: name.clone(), url: url.clone(), endpoint, region, credentials };
            let ClusterReply::Tier { tier, .. } = cluster.administer(AdminRequest::AttachTier(tier)).await? else {
                bail!("the cluster answered AttachTier with something else");
            };
            output
                .print(&json!({ "id": tier.0, "name": name, "url": url }), || format!("tier '{name}' attached: {url}"));
        }
        Command::Detach { fs, name } => {
            cluster.administer(AdminRequest::DetachTier { fs, name: name.clone() }).await?;
            output.print(&json!({ "name": name }), || format!("tier '{name}' detached"));
        }
        Command::List { fs } => {
            let map = cluster.current_map().await?;
            let Some(entry) = map.filesystem(&fs) else {
                let have: Vec<&str> = map.filesystems.iter().map(|fs| fs.name.as_str()).collect();
                return Err(UsageError::UnknownFilesystem { fs, have: have.join(", ") }.into());
            };
            let tiers: Vec<_> = map.tiers.iter().filter(|tier| tier.fs == entry.id).collect();
            let value: Vec<_> =
                tiers.iter().map(|tier| json!({ "id": tier.id.0, "name": tier.name, "url": tier.url })).collect();
            output.print(&json!(value), || match tiers.as_slice() {
                [] => format!("filesystem '{fs}' has no cold tier"),
                all => table(&all.iter().map(|tier| vec![tier.name.clone(), tier.url.clone()]).collect::<Vec<_>>()),
            });
        }
    }
    Ok(())
}

/// Reads a credentials file, refusing one that others can read.
fn read_credentials(file: &Path) -> anyhow::Result<TierCredentials> {
    use std::os::unix::fs::PermissionsExt;
    let shown = file.display().to_string();
    let unusable = |reason: String| UsageError::Credentials { file: shown.clone(), reason };
    let unreadable = |error: std::io::Error| unusable(format!("cannot be read: {error}"));
    let meta = std::fs::metadata(file).map_err(unreadable)?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(unusable(format!("can be read by others: chmod 600 {shown}")).into());
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let mut credentials = TierCredentials::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("access_key", value)) => credentials.access_key = value.into(),
            Some(("secret_key", value)) => credentials.secret_key = value.into(),
            _ => return Err(unusable("has a line that is neither access_key=... nor secret_key=...".into()).into()),
        }
    }
    if credentials.access_key.is_empty() || credentials.secret_key.is_empty() {
        return Err(unusable("lacks access_key=... or secret_key=...".into()).into());
    }
    Ok(credentials)
}
