//! The doors through which Forebay's cores see the outside world, as traits.
//!
//! Job: name what a core may ask of its surroundings, and nothing more, so that a test can put a twin in place of the
//! real thing. Real doors live in `net`, `storage` and `object`. Does not know who stands on either side.
#![forbid(unsafe_code)]

pub mod kv;

pub use kv::{Batch, Durability, Kv, KvError, MemoryKv, Pair, Prefixed, Visitor};
