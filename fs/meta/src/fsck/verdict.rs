//! What is wrong between shards, by what was seen while it was at rest.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FileKind, FsId, InodeId, ShardId};
use forebay_wire::meta::{Finding, FsckHold, FsckSeen, InodeFacts, NameFacts};

/// What was seen of some inodes before and after all their names were counted.
pub(super) struct Evidence {
    before: BTreeMap<InodeId, InodeFacts>,
    after: BTreeMap<InodeId, InodeFacts>,
    /// Those that were named meanwhile, or are part of a transaction.
    moved: BTreeSet<InodeId>,
    /// Whether every shard has watched all the while.
    watched: bool,
    names: BTreeMap<InodeId, Vec<NameFacts>>,
    active: BTreeSet<(ShardId, u64)>,
    held: BTreeSet<FsckHold>,
}

fn inodes(seen: &[(ShardId, FsckSeen)]) -> BTreeMap<InodeId, InodeFacts> {
    seen.iter().flat_map(|(_, seen)| &seen.inodes).map(|facts| (facts.ino, *facts)).collect()
}

impl Evidence {
    pub fn new(before: &[(ShardId, FsckSeen)], after: &[(ShardId, FsckSeen)], all: Vec<NameFacts>) -> Self {
        let mut names: BTreeMap<InodeId, Vec<NameFacts>> = BTreeMap::new();
        for name in all {
            names.entry(name.ino).or_default().push(name);
        }
        let both = || before.iter().chain(after).map(|(_, seen)| seen);
        let moved = both().flat_map(|seen| seen.moving.iter().chain(seen.named.iter().flatten())).copied().collect();
        let driven = |(shard, seen): &(ShardId, FsckSeen)| seen.txns.iter().map(|n| (*shard, *n)).collect::<Vec<_>>();
        Self {
            before: inodes(before),
            after: inodes(after),
            moved,
            watched: both().all(|seen| seen.named.is_some()),
            names,
            active: before.iter().flat_map(driven).collect(),
            held: after.iter().flat_map(|(_, seen)| seen.holds.iter().cloned()).collect(),
        }
    }

    /// The inode, where nothing about it has changed meanwhile: then all its names were counted.
    pub fn at_rest(&self, ino: InodeId) -> Option<Option<&InodeFacts>> {
        let (before, after) = (self.before.get(&ino), self.after.get(&ino));
        (self.watched && before == after && !self.moved.contains(&ino)).then_some(after)
    }

    /// Names of an inode.
    pub fn names_of(&self, ino: InodeId) -> u32 {
        self.names.get(&ino).map_or(0, |names| u32::try_from(names.len()).unwrap_or(u32::MAX))
    }

    /// Whether what is held is held by a transaction that is over: it was when that was asked, and is held still.
    pub fn is_lost(&self, hold: &FsckHold) -> bool {
        self.held.contains(hold) && !self.active.contains(&(hold.txn.source, hold.txn.number))
    }

    /// What is wrong with an inode at rest.
    pub fn judge(&self, fs: FsId, ino: InodeId, inode: Option<&InodeFacts>) -> Vec<Finding> {
        let names = self.names.get(&ino).map_or(&[][..], Vec::as_slice);
        let Some(inode) = inode else {
            let dangling = |name: &NameFacts| Finding::DanglingName { fs, dir: name.dir, name: name.name.clone(), ino };
            return names.iter().map(dangling).collect();
        };
        let kind = inode.kind;
        let mut found: Vec<Finding> = Vec::new();
        let (said, count) = (inode.nlink, names.len() as u32);
        let kept = match kind {
            FileKind::Directory if ino == InodeId::ROOT => {
                if said == 0 {
                    found.push(Finding::Links { fs, ino, said, found: 1 });
                }
                if inode.parent != ino {
                    found.push(Finding::WrongParent { fs, ino, said: inode.parent, found: ino });
                }
                None
            }
            FileKind::Directory => names.iter().find(|name| name.dir == inode.parent).or(names.first()),
            _ => {
                match count {
                    0 if said > 0 => found.push(Finding::Unreachable { fs, ino, kind }),
                    _ if said != count => found.push(Finding::Links { fs, ino, said, found: count }),
                    _ => {}
                }
                None
            }
        };
        if kind == FileKind::Directory {
            let extra = |name: &&NameFacts| Some(*name) != kept;
            found.extend(names.iter().filter(extra).map(|name| {
                let (dir, name) = (name.dir, name.name.clone());
                Finding::ExtraName { fs, dir, name, ino }
            }));
            found.extend(kept.map_or_else(|| alone(fs, inode), |kept| at(fs, inode, kept)));
        }
        let wrong = names.iter().filter(|name| name.kind != kind);
        found.extend(wrong.map(|name| Finding::WrongKind { fs, dir: name.dir, name: name.name.clone(), ino, kind }));
        found
    }

    /// A cycle, where all of it is at rest and is one still.
    pub fn cycle(&self, fs: FsId, cycle: &[InodeId]) -> Option<Finding> {
        let mut next = cycle.iter().cycle().skip(1);
        for ino in cycle {
            let inode = self.at_rest(*ino)??;
            // One whose name is elsewhere is in the cycle by what it says only.
            let named_there = self.names.get(ino).is_some_and(|names| names.iter().all(|n| n.dir == inode.parent));
            let leads_on = next.next() == Some(&inode.parent) && named_there;
            if inode.kind != FileKind::Directory || inode.nlink == 0 || !leads_on {
                return None;
            }
        }
        let ino = *cycle.iter().min()?;
        let parent = self.after.get(&ino)?.parent;
        Some(Finding::Cycle { fs, ino, parent })
    }
}

/// A directory without a name.
fn alone(fs: FsId, inode: &InodeFacts) -> Option<Finding> {
    let (ino, kind) = (inode.ino, inode.kind);
    (ino != InodeId::ROOT && inode.nlink > 0).then_some(Finding::Unreachable { fs, ino, kind })
}

/// A directory with a name.
fn at(fs: FsId, inode: &InodeFacts, name: &NameFacts) -> Option<Finding> {
    let ino = inode.ino;
    if inode.nlink == 0 {
        return Some(Finding::Links { fs, ino, said: 0, found: 1 });
    }
    let elsewhere = name.dir != inode.parent;
    elsewhere.then_some(Finding::WrongParent { fs, ino, said: inode.parent, found: name.dir })
}

/// The cycles among directories and what they say they are in, each in the order in which one leads to the next. Sorts
/// what it is given.
pub(super) fn cycles(parents: &mut [(InodeId, InodeId)]) -> Vec<Vec<InodeId>> {
    parents.sort_unstable();
    let find = |ino: InodeId| parents.binary_search_by_key(&ino, |(of, _)| *of).ok();
    // 0: not seen; else the walk that came by.
    let mut seen = vec![0_u32; parents.len()];
    let mut cycles = Vec::new();
    for start in 0..parents.len() {
        let walk = start as u32 + 1;
        let (mut at, mut path) = (start, Vec::new());
        while seen[at] == 0 {
            seen[at] = walk;
            path.push(at);
            let (ino, parent) = parents[at];
            match find(parent) {
                Some(above) if parent != ino || ino != InodeId::ROOT => at = above,
                _ => break,
            }
        }
        let of_this_walk = seen[at] == walk && path.last().is_some_and(|last| find(parents[*last].1) == Some(at));
        let is_root = parents[at].0 == InodeId::ROOT;
        if of_this_walk
            && !is_root
            && let Some(from) = path.iter().position(|place| *place == at)
        {
            cycles.push(path[from..].iter().map(|place| parents[*place].0).collect());
        }
    }
    cycles
}
