//! Allocate stripe ids for a session.

use forebay_types::{Geometry, LifetimeClass, PgId};
use forebay_wire::meta::{MetaReply, Mutation};

use crate::error::Fault;
use crate::stripes;
use crate::tx::Tx;

pub(super) fn apply(
    tx: &mut Tx<'_>,
    m: &Mutation,
    class: LifetimeClass,
    placements: &[(PgId, Geometry)],
) -> Result<MetaReply, Fault> {
    let stripes = stripes::allocate(tx, m.id.session, class, placements)?;
    Ok(MetaReply::Stripes { stripes, geometries: placements.iter().map(|(_, geometry)| *geometry).collect() })
}
