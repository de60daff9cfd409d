//! The storage doors.
//!
//! Job: put RocksDB behind the key-value door ([`kv`]) and files or block devices behind the drive core ([`drive`]).
//! Does not know what the keys or the chunks mean.

pub mod drive;
pub mod kv;
