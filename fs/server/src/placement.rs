//! Where a shard's new stripes go: the map's writable groups, in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_meta::Placement;
use forebay_types::{Geometry, LifetimeClass, PgId};
use forebay_wire::meta::MetaError;

use crate::peers::SharedMap;

/// Round robin over the writable groups of the newest map.
pub(crate) struct MapPlacement {
    map: SharedMap,
    turn: AtomicUsize,
}

impl MapPlacement {
    pub fn new(map: SharedMap) -> Self {
        Self { map, turn: AtomicUsize::new(0) }
    }
}

impl Placement for MapPlacement {
    fn pick(&self, count: u32, _class: LifetimeClass) -> Result<Vec<(PgId, Geometry)>, MetaError> {
        let map = self.map.get();
        let writable: Vec<_> = map.groups.iter().filter(|group| group.writable).collect();
        if writable.is_empty() {
            return Err(MetaError::NoPlacement);
        }
        let first = self.turn.fetch_add(count as usize, Ordering::Relaxed);
        Ok((0..count as usize)
            .map(|n| writable[first.wrapping_add(n) % writable.len()])
            .map(|group| (group.id, group.geometry))
            .collect())
    }
}
