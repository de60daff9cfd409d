//! A session has ended: its answers and what it did not commit are forgotten, and it is never heard again.

use forebay_types::{Errno, SessionId};
use forebay_wire::meta::{MetaReply, Mutation};

use crate::entry::Effect;
use crate::error::Fault;
use crate::tx::Tx;
use crate::{session, stripes};

pub(super) fn apply(tx: &mut Tx<'_>, m: &Mutation, ended: SessionId) -> Result<MetaReply, Fault> {
    if m.cred.uid != 0 && m.id.session != ended {
        return Err(Errno::NotPermitted.into());
    }
    let mut record = session::load(tx, ended)?;
    if !record.ended {
        record.ended = true;
        tx.put(tx.keys.session(ended), &record);
        tx.delete_all(&tx.keys.of_session(b'P', ended))?;
        stripes::abandon(tx, ended)?;
    }
    tx.effects.push(Effect::SessionEnded { session: ended });
    Ok(MetaReply::Done)
}
