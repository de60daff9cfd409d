//! The tier core: what movers do, decided without doing it.
//!
//! Job: say which path an object's key becomes ([`name`], [`glob`], [`import`]), which parts of a file are fetched
//! ([`recall`]) or given up ([`evict`]), when a cold copy is known to be the file's ([`origin`]), who keeps data hot
//! ([`hold`]), what an export reads and writes ([`export`], [`manifest`], [`pieces`]), and how far a task is ([`progress`], [`table`],
//! [`backoff`]).
//!
//! Invariants: every plan is computed from what is there now, so a task started again goes on where it was; a part
//! covers bytes that are neighbours both in the file and where they come from, and names exactly the extents that must
//! still be there when it is exchanged. Knows no I/O, clock, async or thread.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod evict;
pub mod export;
pub mod glob;
pub mod hold;
pub mod import;
pub mod manifest;
pub mod name;
pub mod origin;
pub mod pieces;
pub mod pin;
pub mod progress;
pub mod recall;
pub mod table;
