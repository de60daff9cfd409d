//! What a shard asks of the cluster map.

use forebay_types::{Geometry, LifetimeClass, PgId};
use forebay_wire::meta::MetaError;

/// The cluster map, as far as a shard needs it.
pub trait Placement {
    /// Placement groups for `count` new stripes, as many as asked for (a group may come up more than once);
    /// [`MetaError::NoPlacement`] where none can be written.
    fn pick(&self, count: u32, class: LifetimeClass) -> Result<Vec<(PgId, Geometry)>, MetaError>;
}
