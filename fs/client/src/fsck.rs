//! Checks a filesystem's metadata: asks shards what an [`Examination`] wants to know, and has repaired what it chooses.

use std::time::Duration;

pub use forebay_meta::fsck::Summary;
use forebay_meta::fsck::{Answer, Ask, Examination};
use forebay_types::{Cred, Errno, FileKind, InodeId, ShardId};
use forebay_wire::meta::{Finding, FsckRead, FsckReply, MetaReply, MutateOp, ReadOp};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::ClientError;
use crate::filesystem::Filesystem;

/// How long what is in use is left alone before it is looked at again.
const PAUSE: Duration = Duration::from_millis(500);
/// Where inodes go that no name leads to: a directory in the root.
const LOST_AND_FOUND: &str = "lost+found";
/// Entries of a directory that are searched for a name, at most.
const SEARCHED_MAX: usize = 1 << 17;

impl Filesystem {
    /// Checks the filesystem while it is in use, and with `repair` repairs what it finds. `progress` hears what is being
    /// done, for people.
    ///
    /// Fails where a shard cannot be reached within the operation's deadline: what was repaired until then stays repaired.
    pub async fn fsck(&self, repair: bool, mut progress: impl FnMut(&str)) -> Result<Summary, ClientError> {
        let map = self.shards.cluster.current_map().await?;
        let shards: Vec<ShardId> = map.shards.iter().map(|shard| shard.id).collect();
        let size = self.rough_size(&shards).await;
        let seed = u64::from_be_bytes(crate::task::random_id()?.0[..8].try_into().unwrap_or_default());
        let mut check = Examination::new(self.shards.fs, shards, size, repair, seed);
        let mut said = String::new();
        loop {
            let mut asked = FuturesUnordered::new();
            loop {
                while let Some(ask) = check.ask() {
                    asked.push(self.put(ask));
                }
                let Some(answered) = asked.next().await else { break };
                let (ask, answer) = answered?;
                check.answer(ask, answer);
            }
            drop(asked);
            let goes_on = check.advance();
            let now = check.progress();
            if now != said {
                progress(&now);
                said = now;
            }
            if !goes_on {
                return Ok(check.into_summary());
            }
        }
    }

    /// About how many inodes or stripes there are, whichever are more. What cannot be read counts for nothing: it may be
    /// what is damaged.
    async fn rough_size(&self, shards: &[ShardId]) -> u64 {
        let mut inodes: u64 = 0;
        for shard in shards {
            if let Ok(MetaReply::Statfs(part)) = self.shards.read(*shard, &Cred::ROOT, ReadOp::Statfs).await {
                inodes = inodes.saturating_add(part.used_inodes);
            }
        }
        let bytes = self.space().await.map_or(0, |space| space.total_bytes.saturating_sub(space.free_bytes));
        inodes.max(bytes >> 20)
    }

    /// Puts a question to whoever can answer it.
    async fn put(&self, ask: Ask) -> Result<(Ask, Answer), ClientError> {
        let answer = match &ask {
            Ask::Pause => {
                tokio::time::sleep(PAUSE).await;
                Answer::Done
            }
            Ask::LostAndFound => {
                match self.make_dir(&Cred::ROOT, self.root(), LOST_AND_FOUND.as_bytes(), 0o700).await {
                    Ok(attr) => Answer::Directory(attr.ino),
                    Err(ClientError::Posix(errno)) => {
                        tracing::warn!(%errno, "there is no /{LOST_AND_FOUND}, and it cannot be made");
                        Answer::Done
                    }
                    Err(error) => return Err(error),
                }
            }
            Ask::Read(shard, question) => {
                match self.shards.read(*shard, &Cred::ROOT, ReadOp::Fsck(question.clone())).await {
                    Ok(MetaReply::Fsck(reply)) => Answer::Reply(reply),
                    Ok(_) => return Err(ClientError::UnexpectedReply { what: "a check" }),
                    Err(ClientError::Posix(Errno::Stale)) => Answer::Stale,
                    Err(error) => return Err(error),
                }
            }
            Ask::Repair(shard, repair) => {
                tracing::info!(%shard, ?repair, "repair");
                match self.shards.mutate(*shard, &Cred::ROOT, MutateOp::Repair(repair.clone())).await {
                    Ok(_) => {}
                    // The next round tells what is left.
                    Err(ClientError::Posix(errno)) => tracing::warn!(%shard, ?repair, %errno, "not repaired"),
                    Err(error) => return Err(error),
                }
                Answer::Done
            }
        };
        Ok((ask, answer))
    }

    /// The path of what a finding is about, as far as it can be found; none where there is no path.
    pub async fn path_of_finding(&self, finding: &Finding) -> Option<String> {
        let ino = finding.inode()?;
        let mut path = self.path_of_any(ino).await?;
        if let Some(name) = finding.name() {
            path = format!("{}/{}", path.trim_end_matches('/'), name.escape_ascii());
        }
        Some(path)
    }

    async fn path_of_any(&self, ino: InodeId) -> Option<String> {
        if ino == self.root() {
            return Some("/".into());
        }
        let dir = self.home_of(ino).await?;
        let name = self.name_in(dir, ino, SEARCHED_MAX).await.ok()?;
        let above = self.path_of(dir).await.ok()?;
        Some(format!("{}/{}", above.trim_end_matches('/'), name.escape_ascii()))
    }

    /// The directory that a directory is in; for a file, the one it was made in.
    async fn home_of(&self, ino: InodeId) -> Option<InodeId> {
        let question =
            FsckRead::Look { watch: 0, inodes: vec![ino], moving: Vec::new(), txns: Vec::new(), holds: Vec::new() };
        let reply = self.shards.read(ino.shard(), &Cred::ROOT, ReadOp::Fsck(question)).await.ok()?;
        let MetaReply::Fsck(reply) = reply else { return None };
        let FsckReply::Seen(seen) = *reply else { return None };
        let parent = seen.inodes.first()?.parent;
        let attr = self.getattr(parent).await.ok()?;
        (attr.kind == FileKind::Directory && parent != ino).then_some(parent)
    }
}
