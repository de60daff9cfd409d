//! Set inode numbers aside for a session.

use forebay_types::{InodeId, limits};
use forebay_wire::meta::MetaReply;

use crate::error::Fault;
use crate::tx::Tx;

pub(super) fn apply(tx: &mut Tx<'_>, count: u32) -> Result<MetaReply, Fault> {
    let count = count.min(limits::INODES_PER_RESERVATION);
    let mut counters = tx.counters()?;
    let first = InodeId::new(tx.me, counters.inode);
    counters.inode += u64::from(count);
    tx.put_counters(&counters);
    Ok(MetaReply::Inodes { first, count })
}
