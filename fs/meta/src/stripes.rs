//! Accounting of the stripes this shard allocated: a stripe is allocated by a session, live once a commit with proof
//! of its durability names it, and garbage when no extent names it any more.
//!
//! A stripe may hold bytes of several files, committed one after the other, so a garbage stripe becomes live again
//! where its session still has bytes to commit and its erasure is not close.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{Errno, Extent, Geometry, Location, OpId, PgId, SessionId, StripeId, StripeRef, Timestamp, limits};
use forebay_wire::chunk::Receipt;
use forebay_wire::meta::MetaError;

use crate::error::Fault;
use crate::key;
use crate::record::{StripeRecord, StripeState};
use crate::tx::Tx;

/// How long after a stripe was last named its chunks may be erased, in seconds: longer than anybody can still read
/// through extents got before.
pub const ERASE_GRACE_SECS: i64 = 30;
/// A garbage stripe closer than this to its erasure stays garbage, in seconds.
const REVIVE_MARGIN_SECS: i64 = 10;

/// Whether `len` bytes from where `at` says are within a stripe.
pub(crate) fn fits(at: &StripeRef, len: u64) -> bool {
    let chunk = at.chunk_bytes as usize;
    chunk > 0
        && chunk <= limits::CHUNK_MAX_BYTES
        && chunk.is_multiple_of(limits::BLOCK_BYTES)
        && u64::from(at.offset) + len <= u64::from(at.geometry.data) * u64::from(at.chunk_bytes)
}

fn load(tx: &Tx<'_>, stripe: StripeId) -> Result<Option<StripeRecord>, Fault> {
    tx.get("stripe", &tx.keys.stripe(stripe))
}

/// Allocates one stripe in each placement group.
pub(crate) fn allocate(
    tx: &mut Tx<'_>,
    session: SessionId,
    class: forebay_types::LifetimeClass,
    placements: &[(PgId, Geometry)],
) -> Result<Vec<StripeId>, Fault> {
    let mut counters = tx.counters()?;
    let mut stripes = Vec::with_capacity(placements.len());
    for (pg, geometry) in placements {
        let stripe = StripeId::new(*pg, tx.me, class, counters.stripe);
        counters.stripe += 1;
        let record =
            StripeRecord { session, geometry: *geometry, state: StripeState::Allocated, chunk_bytes: 0, live_bytes: 0 };
        tx.put(tx.keys.stripe(stripe), &record);
        tx.put_raw(tx.keys.uncommitted(session, stripe), Vec::new());
        stripes.push(stripe);
    }
    tx.put_counters(&counters);
    Ok(stripes)
}

/// Lets a commit name the stripes of its extents: each was allocated here, by the session, and is durable already or
/// by the receipts (whose seals were checked when the entry was prepared).
pub(crate) fn admit(tx: &mut Tx<'_>, id: OpId, extents: &[Extent], receipts: &[Receipt]) -> Result<(), Fault> {
    let mut named: BTreeMap<StripeId, StripeRef> = BTreeMap::new();
    for extent in extents {
        if let Location::Stripe(at) = extent.location {
            let first = *named.entry(at.stripe).or_insert(at);
            if (first.geometry, first.chunk_bytes) != (at.geometry, at.chunk_bytes) {
                return Err(Errno::Invalid.into());
            }
        }
    }
    for (stripe, at) in named {
        admit_one(tx, id, stripe, &at, receipts)?;
    }
    Ok(())
}

fn admit_one(tx: &mut Tx<'_>, id: OpId, stripe: StripeId, at: &StripeRef, receipts: &[Receipt]) -> Result<(), Fault> {
    let Some(mut record) = load(tx, stripe)?.filter(|_| stripe.shard() == tx.me) else {
        return Err(Errno::Invalid.into());
    };
    let known = record.chunk_bytes == 0 || record.chunk_bytes == at.chunk_bytes;
    if record.session != id.session || record.geometry != at.geometry || !known {
        return Err(Errno::Invalid.into());
    }
    match record.state {
        StripeState::Live => return Ok(()),
        StripeState::Garbage(when) if when.secs - tx.now.secs < REVIVE_MARGIN_SECS || record.chunk_bytes == 0 => {
            return Err(Errno::Stale.into());
        }
        StripeState::Garbage(when) => tx.delete(tx.keys.garbage(when, stripe)),
        StripeState::Allocated => {
            let good = |r: &&Receipt| r.stripe == stripe && r.chunk_bytes == at.chunk_bytes;
            let indexes: BTreeSet<u8> = receipts.iter().filter(good).map(|r| r.index).collect();
            let have = indexes.iter().filter(|i| usize::from(**i) < record.geometry.width()).count();
            let need = record.geometry.write_quorum();
            if have < need {
                return Err(MetaError::NotDurable { stripe, have: have as u8, need: need as u8 }.into());
            }
            tx.delete(tx.keys.uncommitted(record.session, stripe));
        }
    }
    record.state = StripeState::Live;
    record.chunk_bytes = at.chunk_bytes;
    tx.put(tx.keys.stripe(stripe), &record);
    tx.touched.insert(stripe);
    Ok(())
}

/// Counts bytes that extents name, or no longer name, in a stripe.
pub(crate) fn add_live(tx: &mut Tx<'_>, stripe: StripeId, bytes: i64) -> Result<(), Fault> {
    let mut record = load(tx, stripe)?.expect("a stripe that extents name has a record");
    record.live_bytes =
        record.live_bytes.checked_add_signed(bytes).expect("live bytes are counted as extents come and go");
    tx.put(tx.keys.stripe(stripe), &record);
    tx.touched.insert(stripe);
    Ok(())
}

/// At the end of an entry: stripes that it left without live bytes are garbage from now on.
pub(crate) fn settle(tx: &mut Tx<'_>) -> Result<(), Fault> {
    for stripe in std::mem::take(&mut tx.touched) {
        let Some(record) = load(tx, stripe)? else { continue };
        if record.live_bytes == 0 && record.state == StripeState::Live {
            discard(tx, stripe, record);
        }
    }
    Ok(())
}

fn discard(tx: &mut Tx<'_>, stripe: StripeId, mut record: StripeRecord) {
    let at = Timestamp { secs: tx.now.secs + ERASE_GRACE_SECS, ..tx.now };
    record.state = StripeState::Garbage(at);
    tx.put(tx.keys.stripe(stripe), &record);
    tx.put_raw(tx.keys.garbage(at, stripe), Vec::new());
}

/// A commit was refused for good: the stripes that it would have been the first to name are garbage.
pub(crate) fn give_up(tx: &mut Tx<'_>, session: SessionId, extents: &[Extent]) -> Result<(), Fault> {
    for extent in extents {
        let Location::Stripe(at) = extent.location else { continue };
        let allocated = |record: &StripeRecord| record.session == session && record.state == StripeState::Allocated;
        if let Some(record) = load(tx, at.stripe)?.filter(allocated) {
            tx.delete(tx.keys.uncommitted(session, at.stripe));
            discard(tx, at.stripe, record);
        }
    }
    Ok(())
}

/// The session has ended: what it did not commit is garbage.
pub(crate) fn abandon(tx: &mut Tx<'_>, session: SessionId) -> Result<(), Fault> {
    let range = tx.keys.of_session(b'U', session);
    loop {
        let page = tx.scan(&range, 1024)?;
        if page.is_empty() {
            return Ok(());
        }
        for (key, _) in page {
            let stripe = key::stripe_of(&key);
            tx.delete(key);
            if let Some(record) = load(tx, stripe)? {
                discard(tx, stripe, record);
            }
        }
    }
}

/// The chunks of these stripes are gone.
pub(crate) fn erased(tx: &mut Tx<'_>, stripes: &[StripeId]) -> Result<(), Fault> {
    for stripe in stripes {
        if let Some(StripeRecord { state: StripeState::Garbage(at), .. }) = load(tx, *stripe)? {
            tx.delete(tx.keys.garbage(at, *stripe));
            tx.delete(tx.keys.stripe(*stripe));
        }
    }
    Ok(())
}
