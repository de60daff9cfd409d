//! Stripes: how user bytes become chunks, and chunks user bytes again.
//!
//! Job: parity of a stripe's data chunks and the rebuilding of lost chunks ([`Codec`]), the CRC32C that guards every
//! block ([`crc`]), and the arithmetic between bytes of a stripe and pieces of its chunks ([`StripeLayout`]).
//! Invariants: all chunks of a stripe have one length, a multiple of [`forebay_types::limits::BLOCK_BYTES`]; parity is
//! a function of geometry and data alone, so any member of a cluster computes the same bytes; chunks given to
//! [`Codec::reconstruct`] have been verified by the caller, because the code itself cannot tell a wrong byte from a
//! right one. This crate knows no drive, no network and no clock.
#![forbid(unsafe_code)]

mod codec;
pub mod crc;
mod layout;

pub use codec::{Codec, CodecError, ReedSolomonCodec};
pub use layout::{LayoutError, Piece, StripeLayout};
