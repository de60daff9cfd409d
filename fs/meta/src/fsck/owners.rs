//! What is counted for owners, against what there is.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FsId, Owner, ShardId, Space};
use forebay_wire::meta::Finding;

use crate::quota;
use crate::record::Inode;

type All = BTreeMap<(FsId, Owner), Space>;

/// See the module.
#[derive(Default)]
pub(super) struct Owners {
    said: All,
    found: All,
}

/// Counts an inode for its owners.
pub(super) fn count(found: &mut All, fs: FsId, inode: &Inode) {
    for owner in quota::owners(inode) {
        let sum = found.entry((fs, owner)).or_default();
        *sum = sum.plus(quota::space(inode));
    }
}

impl Owners {
    pub fn inode(&mut self, fs: FsId, inode: &Inode) {
        count(&mut self.found, fs, inode);
    }

    pub fn said(&mut self, fs: FsId, owner: Owner, said: Space) {
        self.said.insert((fs, owner), said);
    }

    /// All rows were read.
    pub fn end(&mut self, shard: ShardId, findings: &mut Vec<Finding>) {
        let (said, found) = (std::mem::take(&mut self.said), std::mem::take(&mut self.found));
        let all: BTreeSet<(FsId, Owner)> = said.keys().chain(found.keys()).copied().collect();
        for (fs, owner) in all {
            let of = |all: &All| all.get(&(fs, owner)).copied().unwrap_or_default();
            let (said, found) = (of(&said), of(&found));
            if said != found {
                findings.push(Finding::Owner { fs, shard, owner, said, found });
            }
        }
    }
}
