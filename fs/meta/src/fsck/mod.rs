//! The check of a filesystem's metadata, and its repair.
//!
//! [`Export::examine`](crate::Export::examine) reads one shard as it is at one moment and checks what the shard can tell
//! alone. An
//! [`Examination`] puts together what all shards tell, has what looks wrong between them looked at again while it is at
//! rest, and chooses repairs. `repair` carries those out, as entries of the log.
//!
//! Memory: an examination is made in parts of at most about [`PART_INODES`] inodes, and keeps 16 bytes for each directory.

mod census;
mod examine;
mod look;
mod names;
mod owners;
mod plan;
pub(crate) mod repair;
mod space;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use forebay_env::Kv;
use forebay_types::{FileKind, FsId, InodeId};
use forebay_wire::meta::{Finding, FsckPage, Held, InodeFacts, Part};

use crate::error::ShardError;
use crate::shard::Shard;

pub use census::{Answer, Ask, Examination, Summary};
pub use examine::Scope;
pub(crate) use look::Watch;

/// Inodes, and stripes, that an examination looks at in one part.
pub const PART_INODES: u64 = 1 << 20;

impl<K: Kv + Clone> Shard<K> {
    /// Checks every rule that one shard can check by itself, of all filesystems. Keeps all that it reads: for tests and
    /// for a stopped shard.
    pub fn fsck(&self) -> Result<Vec<Finding>, ShardError> {
        let mut all = FsckPage::default();
        let scope = Scope { fs: None, part: Part::ALL, only: BTreeSet::new() };
        self.export().examine(&scope, &mut |page| {
            all.inodes.extend(page.inodes);
            all.names.extend(page.names);
            all.holds.extend(page.holds);
            all.findings.extend(page.findings);
            true
        })?;
        // Without its filesystem an inode's number means nothing; where there are several, other shards' rules are theirs.
        let filesystems: BTreeSet<FsId> = self.filesystems()?.into_iter().collect();
        if let (Some(fs), 1) = (filesystems.first(), filesystems.len()) {
            let found = self.alone(*fs, &all);
            all.findings.extend(found);
        }
        Ok(all.findings)
    }

    /// What is wrong with names that lead to this shard's own inodes.
    fn alone(&self, fs: FsId, all: &FsckPage) -> Vec<Finding> {
        let inodes: BTreeMap<InodeId, &InodeFacts> = all.inodes.iter().map(|facts| (facts.ino, facts)).collect();
        let held: BTreeSet<_> = all.holds.iter().map(|hold| &hold.what).collect();
        let (mut findings, mut links) = (Vec::new(), BTreeMap::<InodeId, u32>::new());
        for name in all.names.iter().filter(|name| name.ino.shard() == self.id()) {
            let hold = Held::Name { dir: name.dir, name: name.name.clone() };
            if inodes.get(&name.ino).is_none_or(|inode| inode.kind != name.kind) {
                let (dir, ino, name) = (name.dir, name.ino, name.name.clone());
                findings.push(Finding::DanglingName { fs, dir, name, ino });
            } else if !held.contains(&hold) {
                *links.entry(name.ino).or_default() += 1;
            }
        }
        // More are names in other shards.
        let fewer = |(ino, found): (InodeId, u32)| {
            let inode = inodes.get(&ino).filter(|inode| inode.kind != FileKind::Directory && inode.nlink < found)?;
            Some(Finding::Links { fs, ino, said: inode.nlink, found })
        };
        findings.extend(links.into_iter().filter_map(fewer));
        findings
    }
}
