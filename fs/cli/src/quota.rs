//! `forebay fs quota`: what users, groups and directories may use.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use forebay_client::Filesystem;
use forebay_directive::{parse_duration_s, parse_size_bytes};
use forebay_types::{Cred, DEFAULT_GRACE_SECS, InodeId, Limits, Owner, Quota, Space};
use forebay_wire::meta::{QuotaChange, QuotaState};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::error::UsageError;
use crate::output::{Output, bytes, table};

/// How long to wait for every shard to have heard of a quota.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(20);
/// Pause between looks at that.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Subcommand)]
pub enum Command {
    /// Limit what a user, a group or a directory may use. What is not given has no limit.
    Set {
        /// The filesystem.
        fs: String,
        #[command(flatten)]
        whose: Whose,
        /// Most bytes, as in 50TiB: beyond it is EDQUOT.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        hard_limit: Option<u64>,
        /// Bytes that may be passed for the time of --grace.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        soft_limit: Option<u64>,
        /// Most files, directories and everything else with an inode.
        #[arg(long, value_name = "N")]
        hard_files: Option<u64>,
        /// Files that may be passed for the time of --grace.
        #[arg(long, value_name = "N")]
        soft_files: Option<u64>,
        /// How long soft limits may be passed, as in 12h or 7d.
        #[arg(long, value_name = "TIME", value_parser = grace, default_value = "7d")]
        grace: u32,
    },
    /// Take a limit away.
    Unset {
        /// The filesystem.
        fs: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Limits, and what is used of them.
    List {
        /// The filesystem.
        fs: String,
        /// Also everybody who has no limit.
        #[arg(long)]
        all: bool,
    },
}

/// Who is limited.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// A directory of the filesystem, as in /projects/team-a, with all that is below it.
    #[arg(long)]
    path: Option<String>,
    /// A user, by name or uid.
    #[arg(long)]
    user: Option<String>,
    /// A group, by name or gid.
    #[arg(long)]
    group: Option<String>,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size_bytes(text).map_err(|error| error.to_string())
}

fn grace(text: &str) -> Result<u32, String> {
    let seconds = parse_duration_s(text).map_err(|error| error.to_string())?;
    u32::try_from(seconds).map_err(|_| format!("'{text}' is longer than any grace"))
}

impl Whose {
    async fn find(&self, fs: &Filesystem) -> anyhow::Result<Owner> {
        if let Some(path) = &self.path {
            let found = fs.resolve(&Cred::ROOT, path).await;
            let attr = found.with_context(|| format!("{path} in filesystem '{}'", fs.name()))?;
            if attr.kind != forebay_types::FileKind::Directory || attr.ino == InodeId::ROOT {
                return Err(UsageError::NoQuotaOn { path: path.clone() }.into());
            }
            return Ok(Owner::Directory(attr.ino));
        }
        if let Some(user) = &self.user {
            let uid = |name: &str| nix::unistd::User::from_name(name).map(|found| found.map(|user| user.uid.as_raw()));
            return number("user", user, uid).map(Owner::User);
        }
        let group = self.group.as_deref().unwrap_or_default();
        let gid = |name: &str| nix::unistd::Group::from_name(name).map(|found| found.map(|group| group.gid.as_raw()));
        number("group", group, gid).map(Owner::Group)
    }
}

/// The number of a user or group, given by number or by a name of this machine.
fn number(what: &'static str, given: &str, find: impl FnOnce(&str) -> nix::Result<Option<u32>>) -> anyhow::Result<u32> {
    if let Ok(number) = given.parse() {
        return Ok(number);
    }
    let found = find(given).with_context(|| format!("look up {what} {given}"))?;
    Ok(found.ok_or_else(|| UsageError::Unknown { what, name: given.into() })?)
}

pub async fn run(connection: &Connection, command: Command, output: &Output) -> anyhow::Result<()> {
    let (Command::Set { fs: name, .. } | Command::Unset { fs: name, .. } | Command::List { fs: name, .. }) = &command;
    let fs = connection.filesystem(name).await?;
    let done = match &command {
        Command::Set { whose, hard_limit, soft_limit, hard_files, soft_files, grace, .. } => {
            let hard = Limits { bytes: *hard_limit, inodes: *hard_files };
            let soft = Limits { bytes: *soft_limit, inodes: *soft_files };
            set(&fs, whose, Quota { hard, soft, grace_secs: *grace }, output).await
        }
        Command::Unset { whose, .. } => unset(&fs, whose, output).await,
        Command::List { all, .. } => list(&fs, *all, output).await,
    };
    fs.abandon().await;
    done
}

async fn set(fs: &Filesystem, whose: &Whose, quota: Quota, output: &Output) -> anyhow::Result<()> {
    if quota.hard == Limits::default() && quota.soft == Limits::default() {
        return Err(UsageError::NoLimit.into());
    }
    let owner = whose.find(fs).await?;
    let counted = match owner {
        Owner::Directory(dir) => fs.set_directory_quota(dir, above(fs, dir).await?, quota).await?,
        _ => {
            fs.change_quota(QuotaChange::Set { owner, quota }).await?;
            0
        }
    };
    wait(fs, owner, |limited| limited, "not every shard limits it yet: look with 'forebay fs quota list'").await?;
    let name = name(fs, owner).await?;
    output.print(&json!({ "owner": name, "limits": limits(&quota), "counted": counted }), || match owner {
        Owner::Directory(_) => format!("{name} is limited; {counted} files and directories count for it"),
        _ => format!("{name} is limited"),
    });
    Ok(())
}

async fn unset(fs: &Filesystem, whose: &Whose, output: &Output) -> anyhow::Result<()> {
    let owner = whose.find(fs).await?;
    let name = name(fs, owner).await?;
    if !fs.quotas().await?.iter().any(|state| state.owner == owner && state.quota.is_some()) {
        return Err(UsageError::NoQuota { owner: name, fs: fs.name().into() }.into());
    }
    match owner {
        Owner::Directory(dir) => drop(fs.unset_directory_quota(dir, above(fs, dir).await?).await?),
        _ => fs.change_quota(QuotaChange::Unset { owner }).await?,
    }
    wait(fs, owner, |limited| !limited, "not every shard has heard of it yet").await?;
    output.print(&json!({ "owner": name }), || format!("{name} has no limit any more"));
    Ok(())
}

/// Waits until every shard has heard of a change.
async fn wait(fs: &Filesystem, owner: Owner, done: fn(bool) -> bool, late: &'static str) -> anyhow::Result<()> {
    let look = async {
        loop {
            let usage = fs.owner_usage(&[owner]).await?;
            if usage.first().is_some_and(|(_, limited)| done(*limited)) {
                return Ok::<_, forebay_client::ClientError>(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(IN_FORCE_WITHIN, look).await.context(late)??;
    Ok(())
}

/// The innermost directory above this one that has a quota.
async fn above(fs: &Filesystem, dir: InodeId) -> anyhow::Result<Option<InodeId>> {
    let quotas = fs.quotas().await?;
    let limited = |ino| quotas.iter().any(|state| state.owner == Owner::Directory(ino));
    let mut at = dir;
    while at != InodeId::ROOT {
        at = fs.parent_of(at).await?;
        if limited(at) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// What people call an owner.
async fn name(fs: &Filesystem, owner: Owner) -> anyhow::Result<String> {
    let or_number = |name: Option<String>, number: u32| name.unwrap_or_else(|| number.to_string());
    Ok(match owner {
        Owner::User(uid) => {
            let found = nix::unistd::User::from_uid(uid.into()).ok().flatten();
            format!("user {}", or_number(found.map(|user| user.name), uid))
        }
        Owner::Group(gid) => {
            let found = nix::unistd::Group::from_gid(gid.into()).ok().flatten();
            format!("group {}", or_number(found.map(|group| group.name), gid))
        }
        Owner::Directory(dir) => match fs.path_of(dir).await {
            Ok(path) => path,
            // Removed since; its quota can go too.
            Err(forebay_client::ClientError::Posix(forebay_types::Errno::NoEntry)) => format!("directory {dir} (gone)"),
            Err(error) => return Err(error.into()),
        },
    })
}

async fn list(fs: &Filesystem, all: bool, output: &Output) -> anyhow::Result<()> {
    let quotas = fs.quotas().await?;
    let owners: Vec<Owner> = quotas.iter().map(|state| state.owner).collect();
    let usage = fs.owner_usage(&owners).await?;
    let mut rows = Vec::new();
    for (state, (used, limited)) in quotas.iter().zip(usage) {
        rows.push(Row { name: name(fs, state.owner).await?, used, state: Some((*state, limited)) });
    }
    if all {
        for (owner, used) in fs.owners().await? {
            if !owners.contains(&owner) {
                rows.push(Row { name: name(fs, owner).await?, used, state: None });
            }
        }
    }
    let value: Vec<Value> = rows.iter().map(Row::json).collect();
    output.print(&json!(value), || {
        if rows.is_empty() {
            return "no limits yet: set one with 'forebay fs quota set'".into();
        }
        let heading = ["OWNER", "USED", "SOFT", "HARD", "FILES", "SOFT", "HARD", ""].map(str::to_owned).to_vec();
        table(&std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect::<Vec<_>>())
    });
    Ok(())
}

struct Row {
    name: String,
    used: Space,
    /// The quota, and whether every shard has heard of it.
    state: Option<(QuotaState, bool)>,
}

fn limits(quota: &Quota) -> Value {
    json!({
        "hard_bytes": quota.hard.bytes, "soft_bytes": quota.soft.bytes,
        "hard_files": quota.hard.inodes, "soft_files": quota.soft.inodes,
        "grace_seconds": quota.grace_secs,
    })
}

impl Row {
    fn quota(&self) -> Option<Quota> {
        self.state.and_then(|(state, _)| state.quota)
    }

    /// What has to be said of it.
    fn remark(&self) -> &'static str {
        match &self.state {
            None => "",
            Some((state, limited)) if state.quota.is_none() || !limited => "changing",
            Some((state, _)) if !state.is_whole => "incomplete: set it again",
            Some((state, _)) if state.over.bytes.is_some() || state.over.inodes.is_some() => "over its soft limit",
            Some(_) => "",
        }
    }

    fn json(&self) -> Value {
        let over = self.state.map(|(state, _)| state.over).unwrap_or_default();
        json!({
            "owner": self.name,
            "used_bytes": self.used.bytes,
            "used_files": self.used.inodes,
            "limits": self.quota().as_ref().map(limits),
            "in_force": self.state.is_some_and(|(_, limited)| limited),
            "complete": self.state.is_some_and(|(state, _)| state.is_whole),
            "bytes_over_soft_since": over.bytes.map(|at| at.secs),
            "files_over_soft_since": over.inodes.map(|at| at.secs),
        })
    }

    fn cells(&self) -> Vec<String> {
        let quota = self.quota().unwrap_or(Quota { grace_secs: DEFAULT_GRACE_SECS, ..Quota::default() });
        let size = |limit: Option<u64>| limit.map_or_else(|| "-".into(), bytes);
        let count = |limit: Option<u64>| limit.map_or_else(|| "-".into(), |n| n.to_string());
        vec![
            self.name.clone(),
            bytes(self.used.bytes),
            size(quota.soft.bytes),
            size(quota.hard.bytes),
            self.used.inodes.to_string(),
            count(quota.soft.inodes),
            count(quota.hard.inodes),
            self.remark().into(),
        ]
    }
}
