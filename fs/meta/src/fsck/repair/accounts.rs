//! What is counted over a whole shard: counted anew. Each reads a table from end to end.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{FsId, InodeId, Location, SessionId, StripeId, StripeRef, Timestamp};

use super::{each, readable};
use crate::error::Fault;
use crate::fsck::owners::count;
use crate::key;
use crate::record::{Counters, ExtentRecord, Inode, StripeRecord, StripeState, Usage, decode, encode};
use crate::stripes::ERASE_GRACE_SECS;
use crate::tx::Tx;

/// Numbers left out above the greatest that is in use: those between were given out before a counter was lost.
const SKIPPED: u64 = 1 << 20;

pub(super) fn usage(tx: &mut Tx<'_>, fs: FsId) -> Result<(), Fault> {
    let (mut found, mut owners) = (Usage::default(), BTreeMap::new());
    let of_fs = (tx.keys.inode(fs, InodeId(0)), tx.keys.inode(FsId(fs.0.saturating_add(1)), InodeId(0)));
    each(tx, &of_fs, &mut |_, value| {
        if let Ok(inode) = decode::<Inode>("inode", value) {
            found.inodes += 1;
            found.bytes = found.bytes.saturating_add(inode.attr.allocated_bytes);
            count(&mut owners, fs, &inode);
        }
        Ok(())
    })?;
    let key = tx.keys.usage(fs);
    let said: Option<Usage> = readable(tx, &key)?;
    if said.unwrap_or_default() != found {
        tx.put(key, &found);
    }
    let mut said = BTreeMap::new();
    each(tx, &tx.keys.of_fs(b'V', fs), &mut |key, value| {
        said.insert(key.to_vec(), value.to_vec());
        Ok(())
    })?;
    for ((fs, owner), found) in owners {
        let (key, value) = (tx.keys.owner(fs, owner), encode(&found));
        if said.remove(&key).as_ref() != Some(&value) {
            tx.put_raw(key, value);
        }
    }
    said.into_keys().for_each(|key| tx.delete(key));
    Ok(())
}

pub(super) fn counters(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let (mut inode, mut stripe, mut txn, mut active) = (0_u64, 0_u64, 0_u64, 0_u32);
    each(tx, &tx.keys.all(b'I'), &mut |key, _| {
        let counter = key::ino_of(key).counter();
        // Greater ones were chosen by other shards.
        inode = inode.max(if counter < 1 << 40 { counter } else { 0 });
        Ok(())
    })?;
    each(tx, &tx.keys.all(b'S'), &mut |key, _| {
        stripe = stripe.max(key::stripe_of(key).sequence());
        Ok(())
    })?;
    let mut oldest = u64::MAX;
    each(tx, &tx.keys.all(b'T'), &mut |key, _| {
        let number = key::number(key, 4);
        (txn, oldest, active) = (txn.max(number), oldest.min(number), active.saturating_add(1));
        Ok(())
    })?;
    let key = tx.keys.counters();
    let said: Option<Counters> = readable(tx, &key)?;
    let mut now = said.unwrap_or(Counters { inode: 0, stripe: 0, txn: 0, ..Counters::default() });
    for (counter, used) in [(&mut now.inode, inode.max(1)), (&mut now.stripe, stripe), (&mut now.txn, txn)] {
        if *counter <= used {
            *counter = used.saturating_add(SKIPPED);
        }
    }
    now.active_txns = active;
    now.oldest_txn = now.oldest_txn.min(oldest);
    if said != Some(now) {
        tx.put_counters(&now);
    }
    Ok(())
}

/// Bytes that extents name in each of the stripes, and how they name it.
type Named = BTreeMap<StripeId, (u64, Option<StripeRef>)>;

pub(super) fn stripes(tx: &mut Tx<'_>, stripes: &[StripeId]) -> Result<(), Fault> {
    let mut named: Named = stripes.iter().map(|stripe| (*stripe, (0, None))).collect();
    each(tx, &tx.keys.all(b'E'), &mut |_, value| {
        if let Ok(ExtentRecord { len, location: Location::Stripe(at) }) = decode("extent", value)
            && let Some((live, how)) = named.get_mut(&at.stripe)
        {
            *live = live.saturating_add(len);
            *how = Some(at);
        }
        Ok(())
    })?;
    let mut listings: BTreeMap<StripeId, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for table in [b'G', b'U'] {
        each(tx, &tx.keys.all(table), &mut |key, _| {
            let stripe = key::stripe_of(key);
            if named.contains_key(&stripe) {
                listings.entry(stripe).or_default().insert(key.to_vec());
            }
            Ok(())
        })?;
    }
    for (stripe, (live, how)) in named {
        one_stripe(tx, stripe, (live, how), listings.remove(&stripe).unwrap_or_default())?;
    }
    Ok(())
}

fn one_stripe(
    tx: &mut Tx<'_>,
    stripe: StripeId,
    (live, how): (u64, Option<StripeRef>),
    listings: BTreeSet<Vec<u8>>,
) -> Result<(), Fault> {
    let key = tx.keys.stripe(stripe);
    let said: Option<StripeRecord> = readable(tx, &key)?;
    let state = if live > 0 { StripeState::Live } else { said.map_or(StripeState::Live, |record| record.state) };
    let anew = how.map(|at| StripeRecord {
        session: SessionId(0),
        geometry: at.geometry,
        state,
        chunk_bytes: at.chunk_bytes,
        live_bytes: live,
    });
    let Some(mut record) = said.or(anew) else {
        // Nothing names it, and nothing is known of it.
        listings.into_iter().for_each(|listing| tx.delete(listing));
        return Ok(());
    };
    record.live_bytes = live;
    record.state = match state {
        StripeState::Live if live == 0 => {
            StripeState::Garbage(Timestamp { secs: tx.now.secs + ERASE_GRACE_SECS, ..tx.now })
        }
        state => state,
    };
    let listing = match record.state {
        StripeState::Live => None,
        StripeState::Allocated => Some(tx.keys.uncommitted(record.session, stripe)),
        StripeState::Garbage(at) => Some(tx.keys.garbage(at, stripe)),
    };
    for old in listings.into_iter().filter(|old| Some(old) != listing.as_ref()) {
        tx.delete(old);
    }
    if let Some(listing) = listing
        && tx.get_raw(&listing)?.is_none()
    {
        tx.put_raw(listing, Vec::new());
    }
    if said != Some(record) {
        tx.put(key, &record);
    }
    Ok(())
}
