//! What is alive, and what is dead but still on the device.

use std::collections::{BTreeMap, HashMap};

use forebay_types::{Epoch, Geometry, StripeId};

use crate::record::BLOCK;

/// A chunk's name: its stripe and its index in it.
pub type ChunkKey = (StripeId, u8);

/// A chunk that is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    /// Of the header block, in bytes from the segment's start.
    pub(crate) offset: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) geometry: Geometry,
    pub(crate) epoch: Epoch,
    pub(crate) fingerprint: u64,
    pub(crate) sequence: u64,
    /// Found damaged: a put of the same content replaces it instead of being taken for a retry.
    pub(crate) corrupt: bool,
}

impl Entry {
    pub(crate) fn record_bytes(&self) -> u64 {
        BLOCK as u64 + u64::from(self.payload_bytes)
    }
}

/// Records of a key that are dead and in segments not yet reused, and the tombstone that keeps them so.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Dead {
    /// The segment of each such record.
    pub(crate) copies: Vec<u32>,
    /// Segment and bound of the tombstone with the highest bound.
    pub(crate) tombstone: Option<(u32, u64)>,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Index {
    pub(crate) live: BTreeMap<ChunkKey, Entry>,
    pub(crate) dead: HashMap<ChunkKey, Dead>,
}
