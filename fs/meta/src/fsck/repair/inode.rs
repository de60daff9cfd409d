//! Make an inode and what belongs to it agree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use forebay_types::{ByteRange, Extent, FileKind, FsId, InodeId, Location, limits};

use super::{each, inode_of, made_anew};
use crate::dir::FIRST_COOKIE;
use crate::error::Fault;
use crate::fsck::examine::belongs;
use crate::fsck::space::is_sound;
use crate::key;
use crate::name::{self, NameKind};
use crate::record::{CookieRecord, Dentry, ExtentRecord, Inode, decode};
use crate::shard::has_extents;
use crate::tx::Tx;

/// A directory's two tables, as far as they can be read.
#[derive(Default)]
struct Rows {
    names: BTreeMap<Bytes, Dentry>,
    places: BTreeMap<u64, CookieRecord>,
    held: BTreeSet<Bytes>,
}

pub(super) fn apply(tx: &mut Tx<'_>, fs: FsId, ino: InodeId) -> Result<(), Fault> {
    let rows = read_names(tx, fs, ino)?;
    let extents = read_extents(tx, fs, ino)?;
    let before = inode_of(tx, fs, ino)?;
    let has_names = !rows.names.is_empty() || !rows.places.is_empty();
    // A root is a directory, whatever its record says.
    let can_be = |inode: &Inode| ino != InodeId::ROOT || inode.is_dir();
    let mut inode = match before.clone().filter(can_be) {
        Some(inode) => inode,
        None if has_names || ino == InodeId::ROOT => made_anew(tx, ino, FileKind::Directory),
        None if !extents.is_empty() => {
            let mut file = made_anew(tx, ino, FileKind::Regular);
            let end = extents.iter().map(|(offset, record)| offset.saturating_add(record.len)).max();
            file.attr.size = end.unwrap_or(0).min(limits::FILE_SIZE_MAX);
            file
        }
        None => return Ok(()),
    };
    inode.attr.ino = ino;
    if inode.is_dir() {
        names(tx, fs, &mut inode, rows)?;
    } else {
        let all: Vec<_> = [b'D', b'K'].map(|table| tx.keys.of_inode(table, fs, ino)).into();
        for range in &all {
            tx.delete_all(range)?;
        }
    }
    bytes(tx, fs, &mut inode, extents);
    if before.as_ref() != Some(&inode) {
        tx.put_inode(fs, &mut inode);
    }
    Ok(())
}

fn read_names(tx: &Tx<'_>, fs: FsId, dir: InodeId) -> Result<Rows, Fault> {
    let mut rows = Rows::default();
    each(tx, &tx.keys.of_inode(b'D', fs, dir), &mut |key, value| {
        if let Ok(dentry) = decode("dentry", value)
            && belongs(tx.me, &key[3..])
        {
            rows.names.insert(Bytes::copy_from_slice(&key[16..]), dentry);
        }
        Ok(())
    })?;
    each(tx, &tx.keys.of_inode(b'K', fs, dir), &mut |key, value| {
        if let Ok(record) = decode("directory entry", value) {
            rows.places.insert(key::number(key, 16), record);
        }
        Ok(())
    })?;
    each(tx, &tx.keys.of_inode(b'N', fs, dir), &mut |key, _| {
        rows.held.insert(Bytes::copy_from_slice(&key[16..]));
        Ok(())
    })?;
    Ok(rows)
}

fn read_extents(tx: &Tx<'_>, fs: FsId, ino: InodeId) -> Result<Vec<(u64, ExtentRecord)>, Fault> {
    let mut extents = Vec::new();
    each(tx, &tx.keys.of_inode(b'E', fs, ino), &mut |key, value| {
        if let Ok(record) = decode("extent", value) {
            extents.push((key::number(key, 16), record));
        }
        Ok(())
    })?;
    Ok(extents)
}

/// A name is kept if either table has it; where they lead to different inodes, it is what a lookup finds.
fn names(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, rows: Rows) -> Result<(), Fault> {
    let Rows { names, mut places, held } = rows;
    let dir = inode.attr.ino;
    let above = names.values().map(|dentry| dentry.cookie).chain(places.keys().copied()).max();
    let above = above.map_or(FIRST_COOKIE, |cookie| cookie.saturating_add(1));
    inode.next_cookie = inode.next_cookie.max(above).max(FIRST_COOKIE);
    let mut kept: BTreeMap<Bytes, Dentry> = BTreeMap::new();
    let mut taken: BTreeSet<u64> = BTreeSet::new();
    let mut without_place = Vec::new();
    for (name, dentry) in names {
        let there = places.get(&dentry.cookie);
        let agrees = |at: &CookieRecord| at.name == name && at.ino == dentry.ino && at.kind == dentry.kind;
        if dentry.cookie >= FIRST_COOKIE && there.is_some_and(agrees) {
            places.remove(&dentry.cookie);
            taken.insert(dentry.cookie);
            kept.insert(name, dentry);
        } else {
            without_place.push((name, dentry));
        }
    }
    let known: BTreeSet<Bytes> = without_place.iter().map(|(name, _)| name.clone()).collect();
    for (cookie, CookieRecord { name, ino, kind }) in places {
        let legal = name::check(&name) == Ok(NameKind::Plain);
        let wanted = legal && !kept.contains_key(&name) && !known.contains(&name) && !held.contains(&name);
        let exists = ino.shard() != tx.me || inode_of(tx, fs, ino)?.is_some();
        if wanted && exists && cookie >= FIRST_COOKIE && taken.insert(cookie) {
            let dentry = Dentry { ino, kind, cookie };
            tx.named.push((fs, ino));
            tx.put(tx.keys.dentry(fs, dir, &name), &dentry);
            kept.insert(name, dentry);
        } else {
            tx.delete(tx.keys.cookie(fs, dir, cookie));
        }
    }
    for (name, mut dentry) in without_place {
        if dentry.cookie < FIRST_COOKIE || !taken.insert(dentry.cookie) {
            dentry.cookie = inode.next_cookie;
            inode.next_cookie += 1;
            taken.insert(dentry.cookie);
            tx.put(tx.keys.dentry(fs, dir, &name), &dentry);
        }
        let (ino, kind) = (dentry.ino, dentry.kind);
        tx.put(tx.keys.cookie(fs, dir, dentry.cookie), &CookieRecord { name: name.clone(), ino, kind });
        kept.insert(name, dentry);
    }
    let subdirs = kept.values().filter(|dentry| dentry.kind == FileKind::Directory).count();
    inode.attr.size = kept.len() as u64;
    if inode.attr.nlink > 0 || !kept.is_empty() {
        inode.attr.nlink = u32::try_from(2 + subdirs).unwrap_or(u32::MAX);
    }
    Ok(())
}

/// Extents are cut to what fits; the inode says what they add up to. Stripes and usage are counted anew on their own.
fn bytes(tx: &mut Tx<'_>, fs: FsId, inode: &mut Inode, extents: Vec<(u64, ExtentRecord)>) {
    let ino = inode.attr.ino;
    let limit = if has_extents(inode.attr.kind) { inode.attr.size.min(limits::FILE_SIZE_MAX) } else { 0 };
    let (mut at, mut allocated, mut cold) = (0_u64, 0_u64, 0_u64);
    let mut cut = Vec::new();
    for (offset, record) in extents {
        let sound = record.len > 0 && offset.checked_add(record.len).is_some() && is_sound(&record);
        let whole = ByteRange::new(offset, record.len);
        let extent = Extent { range: whole, location: record.location };
        // What is not sound cannot even be cut.
        let fits = if sound { extent.clip(ByteRange::between(at, limit)) } else { None };
        if let Some(Extent { range, location }) = &fits {
            at = range.end();
            allocated += range.len;
            cold += if matches!(location, Location::Object(_)) { range.len } else { 0 };
        }
        if fits.as_ref().is_none_or(|fits| fits.range != whole) {
            tx.delete(tx.keys.extent(fs, ino, offset));
            cut.extend(fits);
        }
    }
    // Where one has been cut at its front, another may have begun.
    for Extent { range, location } in cut {
        tx.put(tx.keys.extent(fs, ino, range.offset), &ExtentRecord { len: range.len, location });
    }
    (inode.attr.allocated_bytes, inode.attr.cold_bytes) = (allocated, cold);
}
