//! `forebay fs`: filesystems, and data between tiers.

use anyhow::Context;
use clap::Subcommand;
use forebay_client::{Cluster, Filesystem};
use forebay_types::{ByteRange, Cred, FileKind, InodeId, LifetimeClass, TierId};
use forebay_wire::cluster::{AdminRequest, ClusterReply};
use forebay_wire::map::{ClusterMap, TierEntry};
use forebay_wire::meta::SetAttr;
use forebay_wire::tier::{Progress, TaskSpec};
use serde_json::json;

use crate::connect::Connection;
use crate::error::UsageError;
use crate::output::{Output, bytes, table};
use crate::{quota, tier};

#[derive(Subcommand)]
pub enum Command {
    /// Make a filesystem.
    Create {
        /// Its name.
        name: String,
    },
    /// List filesystems.
    List,
    /// Attach, detach or list cold tiers.
    #[command(subcommand)]
    Tier(tier::Command),
    /// Limit what users, groups and directories may use.
    #[command(subcommand)]
    Quota(quota::Command),
    /// Make files for every object below a URL of an attached tier: metadata only, their bytes come when needed.
    Import {
        /// The filesystem.
        fs: String,
        /// What to import, as in s3://bucket/prefix/ or file:///dir/.
        url: String,
        /// The directory to import into; made where it is missing.
        path: String,
    },
    /// Bring cold bytes to the hot tier.
    Recall {
        /// The filesystem.
        fs: String,
        /// A file, or a directory and everything below it.
        path: String,
        /// Of a file, only bytes A to B (B not included).
        #[arg(long, value_name = "A-B", value_parser = parse_range)]
        range: Option<ByteRange>,
    },
    /// Make sure bytes are in the cold tier and free their hot copy.
    Evict {
        /// The filesystem.
        fs: String,
        /// A file, or a directory and everything below it.
        path: String,
        /// Of a file, only bytes A to B (B not included).
        #[arg(long, value_name = "A-B", value_parser = parse_range)]
        range: Option<ByteRange>,
        /// The tier for bytes that have no cold copy yet [default: the only one].
        #[arg(long)]
        tier: Option<String>,
    },
}

fn parse_range(text: &str) -> Result<ByteRange, String> {
    let bad = || format!("'{text}' is not a range of bytes: write A-B, as in 0-1048576");
    let (start, end) = text.split_once('-').ok_or_else(bad)?;
    let (start, end) = (start.trim().parse().map_err(|_| bad())?, end.trim().parse().map_err(|_| bad())?);
    if start < end { Ok(ByteRange::between(start, end)) } else { Err(bad()) }
}

pub async fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::Create { name } => create(&connection.cluster()?, name, output).await,
        Command::List => list(&connection.cluster()?, output).await,
        Command::Tier(command) => tier::run(connection, command, output).await,
        Command::Quota(command) => quota::run(connection, command, output).await,
        Command::Import { fs, url, path } => import(&connection.filesystem(&fs).await?, &url, &path, output).await,
        Command::Recall { fs, path, range } => {
            let fs = connection.filesystem(&fs).await?;
            let root = find(&fs, &path).await?;
            run_task(&fs, TaskSpec::Recall { fs: fs.id(), root, range }, "recalled", output).await
        }
        Command::Evict { fs, path, range, tier } => {
            let fs = connection.filesystem(&fs).await?;
            let root = find(&fs, &path).await?;
            let tier = choose_tier(&*fs.cluster().current_map().await?, &fs, tier.as_deref())?;
            run_task(&fs, TaskSpec::Evict { fs: fs.id(), root, range, tier }, "evicted", output).await
        }
    }
}

/// What is at a path; the message of a failure names it.
async fn find(fs: &Filesystem, path: &str) -> anyhow::Result<InodeId> {
    let found = fs.resolve(&Cred::ROOT, path).await;
    Ok(found.with_context(|| format!("{path} in filesystem '{}'", fs.name()))?.ino)
}

/// Makes a filesystem; public to `forebay dev`.
pub async fn create(cluster: &Cluster, name: String, output: &Output) -> anyhow::Result<()> {
    let ClusterReply::Filesystem { fs, .. } = cluster.administer(AdminRequest::CreateFs { name: name.clone() }).await?
    else {
        anyhow::bail!("the cluster answered CreateFs with something else");
    };
    output.print(&json!({ "id": fs.0, "name": name }), || format!("filesystem '{name}' made"));
    Ok(())
}

async fn list(cluster: &Cluster, output: &Output) -> anyhow::Result<()> {
    let map = cluster.current_map().await?;
    let value = json!(map.filesystems.iter().map(|fs| json!({ "id": fs.id.0, "name": fs.name })).collect::<Vec<_>>());
    output.print(&value, || match map.filesystems.as_slice() {
        [] => "no filesystem yet: make one with 'forebay fs create NAME'".into(),
        all => table(&all.iter().map(|fs| vec![fs.name.clone()]).collect::<Vec<_>>()),
    });
    Ok(())
}

/// The tier of a filesystem that a name means, or the only one.
fn choose_tier(map: &ClusterMap, fs: &Filesystem, name: Option<&str>) -> anyhow::Result<TierId> {
    let all: Vec<&TierEntry> = map.tiers.iter().filter(|tier| tier.fs == fs.id()).collect();
    let names = || all.iter().map(|tier| tier.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, all.as_slice()) {
        (_, []) => Err(UsageError::NoTier { fs: fs.name().into() }.into()),
        (None, [one]) => Ok(one.id),
        (None, _) => Err(UsageError::WhichTier { fs: fs.name().into(), have: names() }.into()),
        (Some(name), _) => {
            let unknown = || UsageError::UnknownTier { fs: fs.name().into(), tier: name.into(), have: names() };
            Ok(all.iter().find(|tier| tier.name == name).ok_or_else(unknown)?.id)
        }
    }
}

/// The tier whose root is the longest prefix of a URL, and what follows the root.
fn locate<'a>(map: &'a ClusterMap, fs: &Filesystem, url: &str) -> anyhow::Result<(&'a TierEntry, String)> {
    let below = |tier: &TierEntry| {
        let rest = url.strip_prefix(&tier.url)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_string())
    };
    let candidates = map.tiers.iter().filter(|tier| tier.fs == fs.id());
    let found = candidates.filter_map(|tier| below(tier).map(|rest| (tier, rest)));
    found.max_by_key(|(tier, _)| tier.url.len()).ok_or_else(|| {
        let roots: Vec<&str> = map.tiers.iter().filter(|t| t.fs == fs.id()).map(|t| t.url.as_str()).collect();
        let have = if roots.is_empty() { "none".to_owned() } else { roots.join(", ") };
        UsageError::OutsideTiers { url: url.into(), fs: fs.name().into(), have }.into()
    })
}

async fn import(fs: &Filesystem, url: &str, path: &str, output: &Output) -> anyhow::Result<()> {
    let map = fs.cluster().current_map().await?;
    let (tier, prefix) = locate(&map, fs, url)?;
    let into = fs.make_dirs(&Cred::ROOT, path, 0o755).await?;
    // What is recalled of it dies when it is evicted: segments of its own.
    let set = SetAttr { class: Some(LifetimeClass::Dataset), ..SetAttr::default() };
    if into.kind == FileKind::Directory {
        fs.set(&Cred::ROOT, into.ino, set).await?;
    }
    let spec = TaskSpec::Import {
        fs: fs.id(),
        into: into.ino,
        tier: tier.id,
        prefix,
        uid: 0,
        gid: 0,
        mode: 0o644,
        as_user: None,
        include: Vec::new(),
        exclude: Vec::new(),
    };
    run_task(fs, spec, "imported", output).await
}

async fn run_task(fs: &Filesystem, spec: TaskSpec, verb: &str, output: &Output) -> anyhow::Result<()> {
    let bar = output.progress();
    let show = |progress: &Progress| {
        bar.set_length(progress.bytes);
        bar.set_position(progress.done_bytes);
        bar.set_message(format!("{} of {} files", progress.done_files, progress.files));
    };
    let result = fs.cluster().run_task(Cluster::new_task_id()?, spec, show).await;
    bar.finish_and_clear();
    fs.abandon().await;
    let done = result?;
    let value = json!({ "files": done.done_files, "bytes": done.done_bytes, "moved_bytes": done.moved_bytes });
    output.print(&value, || {
        format!("{verb}: {} files, {} ({} moved)", done.done_files, bytes(done.done_bytes), bytes(done.moved_bytes))
    });
    Ok(())
}
