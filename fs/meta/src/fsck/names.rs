//! Directories: what they say of their names, and that names and places agree.

use std::collections::BTreeMap;

use forebay_types::{FileKind, FsId, InodeId};
use forebay_wire::meta::{Finding, Quantity};

use super::examine::Row;
use crate::dir::FIRST_COOKIE;
use crate::key;
use crate::record::{CookieRecord, Dentry, Inode};

/// A directory whose names were read.
#[derive(Default)]
struct Directory {
    /// Whether its inode was read, and is a directory's.
    real: bool,
    names: u64,
    subdirs: u64,
    /// Sums of a hash of each entry, by name and by place. Order does not count, so nothing has to be kept.
    by_name: u64,
    by_place: u64,
    /// The least that a next cookie can be, and what it is.
    above: u64,
    next_cookie: u64,
}

/// The directories of a part.
#[derive(Default)]
pub(super) struct Directories(BTreeMap<(FsId, InodeId), Directory>);

/// FNV-1a, and a last mix so that sums do not cancel.
fn hash(name: &[u8], cookie: u64, ino: InodeId, kind: FileKind) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let numbers = [cookie, ino.0, kind as u64];
    for byte in numbers.iter().flat_map(|n| n.to_be_bytes()).chain(name.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl Directories {
    pub fn name(&mut self, row: &Row<'_>, dentry: &Dentry) {
        let dir = self.0.entry((row.fs, row.ino)).or_default();
        dir.names += 1;
        dir.subdirs += u64::from(dentry.kind == FileKind::Directory);
        dir.by_name = dir.by_name.wrapping_add(hash(row.rest, dentry.cookie, dentry.ino, dentry.kind));
        dir.above = dir.above.max(dentry.cookie.saturating_add(1));
    }

    pub fn inode(&mut self, row: &Row<'_>, inode: &Inode, findings: &mut Vec<Finding>) {
        let (fs, ino) = (row.fs, row.ino);
        if !inode.is_dir() {
            return;
        }
        let dir = self.0.entry((fs, ino)).or_default();
        (dir.real, dir.next_cookie) = (true, inode.next_cookie);
        let links = if inode.attr.nlink == 0 && dir.names == 0 { 0 } else { 2 + dir.subdirs };
        for (what, said, found) in
            [(Quantity::Names, inode.attr.size, dir.names), (Quantity::Links, u64::from(inode.attr.nlink), links)]
        {
            if said != found {
                findings.push(Finding::Count { fs, ino, what, said, found });
            }
        }
    }

    /// All inodes were read.
    pub fn end_of_inodes(&mut self, findings: &mut Vec<Finding>) {
        self.0.retain(|&(fs, dir), directory| {
            if !directory.real {
                findings.push(Finding::NamesOfNothing { fs, dir });
            }
            directory.real
        });
    }

    pub fn cookie(&mut self, row: &Row<'_>, record: &CookieRecord, findings: &mut Vec<Finding>) {
        let (fs, dir) = (row.fs, row.ino);
        let cookie = key::number(row.key, 13);
        let Some(directory) = self.0.get_mut(&(fs, dir)) else {
            let finding = Finding::NamesOfNothing { fs, dir };
            // The places of a directory follow each other, and so do findings.
            if findings.last() != Some(&finding) {
                findings.push(finding);
            }
            return;
        };
        directory.by_place = directory.by_place.wrapping_add(hash(&record.name, cookie, record.ino, record.kind));
        if cookie < FIRST_COOKIE {
            // Never equal to what names say.
            directory.by_place = directory.by_place.wrapping_add(1);
        }
        directory.above = directory.above.max(cookie.saturating_add(1));
    }

    /// All places of names were read.
    pub fn end_of_places(&mut self, findings: &mut Vec<Finding>) {
        for ((fs, ino), dir) in std::mem::take(&mut self.0) {
            if dir.by_name != dir.by_place {
                findings.push(Finding::CookieMismatch { fs, dir: ino });
            }
            if dir.next_cookie < dir.above {
                let (what, said, found) = (Quantity::NextCookie, dir.next_cookie, dir.above);
                findings.push(Finding::Count { fs, ino, what, said, found });
            }
        }
    }
}
