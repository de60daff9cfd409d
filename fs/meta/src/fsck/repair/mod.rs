//! Repairs, as they are applied. Each looks first whether there is something to repair, as far as this shard can tell, and
//! reads rows that cannot be read as if they were not there. What several rows say together is believed before what one
//! row says that adds them up. Counts that other repairs leave too high are put right last: one that is too low would
//! let something be removed that is in use.

mod accounts;
mod inode;
mod names;

use forebay_types::{Errno, FileKind, FsId, InodeId, LifetimeClass, Space};
use forebay_wire::meta::{Held, MetaReply, Mutation, QuotaState, Repair, TxnId};

use super::look::{holder, readable};
use crate::access::Inherited;
use crate::dir::{self, Birth};
use crate::entry::Effect;
use crate::error::{Fault, ShardError};
use crate::key::{self, Range};
use crate::quota::BudgetRecord;
use crate::record::{CookieRecord, Counters, Dentry, ExtentRecord, Inode, StripeRecord, TxnRecord, Usage, decode};
use crate::tx::Tx;

/// Rows read at a time.
const PAGE: usize = 1024;

/// Carries a repair out.
pub(crate) fn apply(tx: &mut Tx<'_>, m: &Mutation, repair: &Repair) -> Result<MetaReply, Fault> {
    if m.cred.uid != 0 {
        return Err(Errno::NotPermitted.into());
    }
    for ino in repair.inodes() {
        tx.local(ino)?;
    }
    let fs = m.fs;
    match repair {
        Repair::Row { key } => row(tx, key)?,
        Repair::Inode { ino } => inode::apply(tx, fs, *ino)?,
        Repair::Orphan { ino, version } => orphan(tx, fs, *ino, *version)?,
        Repair::Links { ino, version, names } => names::links(tx, fs, *ino, *version, *names)?,
        Repair::Parent { ino, version, parent } => names::parent(tx, fs, *ino, *version, *parent)?,
        Repair::Name { dir, name, ino, kind } => names::name(tx, fs, (*dir, name), *ino, *kind)?,
        Repair::Attach { dir, ino, kind } => names::attach(tx, fs, *dir, *ino, *kind)?,
        Repair::Hold(hold) => {
            let txn = hold.txn;
            let over = txn.source != tx.me || tx.get_raw(&tx.keys.txn(txn.number))?.is_none();
            if over && holder(tx, hold)? == Some(txn) {
                match &hold.what {
                    Held::Name { dir, name } => dir::release(tx, hold.fs, *dir, name),
                    Held::Moves => tx.delete(tx.keys.moving(hold.fs)),
                    Held::Directory { ino } => {
                        if let Some(mut inode) = readable::<Inode>(tx, &tx.keys.inode(hold.fs, *ino))? {
                            inode.dying = None;
                            tx.put_inode(hold.fs, &mut inode);
                        }
                    }
                }
            }
        }
        Repair::Stripes { stripes } => accounts::stripes(tx, stripes)?,
        Repair::Usage => accounts::usage(tx, fs)?,
        Repair::Counters => accounts::counters(tx)?,
    }
    Ok(MetaReply::Done)
}

/// Is shown a row's key and value.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Fault> + 'a;

/// Visits the rows of a range, a page at a time.
fn each(tx: &Tx<'_>, (start, end): &Range, visit: &mut Visit<'_>) -> Result<(), Fault> {
    let mut start = start.clone();
    loop {
        let page = tx.scan(&(start.clone(), end.clone()), PAGE)?;
        for (key, value) in &page {
            visit(key, value)?;
        }
        let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
        start = [&last[..], &[0]].concat();
    }
}

/// Removes a row that says nothing; what is missed at once where it is gone is made anew in the same entry.
fn row(tx: &mut Tx<'_>, key: &[u8]) -> Result<(), Fault> {
    let (prefix, _) = tx.keys.everything();
    let whole = [&prefix[..], key].concat();
    let Some(value) = tx.get_raw(&whole)? else { return Ok(()) };
    if is_sound(tx, key, &value) {
        return Ok(());
    }
    tx.delete(whole.clone());
    match key.first() {
        Some(b'C') => accounts::counters(tx),
        Some(b'F' | b'V') => accounts::usage(tx, key::fs_of(&whole)),
        Some(b'S') => accounts::stripes(tx, &[key::stripe_of(&whole)]),
        _ => Ok(()),
    }
}

/// Whether a row can be read and may be where it is. Rows of tables that are not examined count as sound.
fn is_sound(tx: &Tx<'_>, key: &[u8], value: &[u8]) -> bool {
    fn reads<T: serde::de::DeserializeOwned>(value: &[u8]) -> bool {
        decode::<T>("row", value).is_ok()
    }
    let readable = match key.first() {
        Some(b'C') => reads::<Counters>(value),
        Some(b'D') => reads::<Dentry>(value),
        Some(b'E') => reads::<ExtentRecord>(value),
        Some(b'F') => reads::<Usage>(value),
        Some(b'I') => reads::<Inode>(value),
        Some(b'K') => reads::<CookieRecord>(value),
        Some(b'M' | b'N') => reads::<TxnId>(value),
        Some(b'S') => reads::<StripeRecord>(value),
        Some(b'V') => reads::<Space>(value) && key::owner_at(key.get(5..).unwrap_or_default()).is_some(),
        Some(b'W') => reads::<BudgetRecord>(value),
        Some(b'Y') => reads::<QuotaState>(value),
        Some(b'T') => {
            let number = key::number(key, 1);
            decode::<TxnRecord>("row", value).is_ok_and(|r| r.step.txn == TxnId { source: tx.me, number })
        }
        _ => true,
    };
    readable && super::examine::belongs(tx.me, key)
}

fn orphan(tx: &mut Tx<'_>, fs: FsId, ino: InodeId, version: u64) -> Result<(), Fault> {
    let key = tx.keys.orphan(fs, ino);
    let listed = tx.get_raw(&key)?.is_some();
    let inode: Option<Inode> = readable(tx, &tx.keys.inode(fs, ino))?;
    match inode {
        Some(inode) if inode.attr.nlink == 0 && !listed && inode.attr.version == version => {
            tx.put_raw(key, Vec::new());
            tx.effects.push(Effect::Orphaned { fs, ino });
        }
        Some(inode) if inode.attr.nlink == 0 => {}
        _ if listed => tx.delete(key),
        _ => {}
    }
    Ok(())
}

/// A record in the place of one that is lost: the superuser's alone until somebody has looked at it.
fn made_anew(tx: &Tx<'_>, ino: InodeId, kind: FileKind) -> Inode {
    let mode = match kind {
        FileKind::Directory if ino == InodeId::ROOT => 0o755,
        FileKind::Directory => 0o700,
        _ => 0o600,
    };
    let inherited = Inherited { gid: 0, mode, acl: None, default_acl: None };
    let class = LifetimeClass::default();
    let mut inode =
        dir::born(tx, Birth { ino, kind, parent: InodeId::ROOT, uid: 0, class, quota_dir: None, inherited });
    // Above that of the lost one, which changed less than a million times a second.
    inode.attr.version = u64::try_from(tx.now.secs).unwrap_or(0).saturating_mul(1_000_000);
    inode
}

/// The inode's record, where it can be read.
fn inode_of(tx: &Tx<'_>, fs: FsId, ino: InodeId) -> Result<Option<Inode>, ShardError> {
    readable(tx, &tx.keys.inode(fs, ino))
}
