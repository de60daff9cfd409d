//! The erasure code behind a trait, so that faster kernels with the same matrix can take its place.
//!
//! The matrix is the systematic Vandermonde matrix over GF(2^8) with polynomial 0x11d that `reed-solomon-erasure`
//! builds; parity on drives depends on it, so it is part of the format and pinned by a test.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use forebay_types::{Geometry, limits};
use reed_solomon_erasure::galois_8::ReedSolomon;

/// Why chunks could not be encoded or rebuilt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The geometry is outside what Forebay supports.
    #[error("erasure code {geometry} is not supported: K goes from 1 to 32 and M from 0 to 8")]
    Geometry {
        /// The geometry asked for.
        geometry: Geometry,
    },
    /// The number of chunks handed in is not the geometry's.
    #[error("{given} chunks were given where {geometry} needs {wanted}")]
    Count {
        /// The geometry.
        geometry: Geometry,
        /// Chunks handed in.
        given: usize,
        /// Chunks needed.
        wanted: usize,
    },
    /// Chunks of one stripe differ in length.
    #[error("chunk {index} has {given_bytes} bytes where the stripe's chunks have {wanted_bytes}")]
    Length {
        /// The chunk that differs.
        index: usize,
        /// Its length in bytes.
        given_bytes: usize,
        /// Length of the first chunk present, in bytes.
        wanted_bytes: usize,
    },
    /// The chunks' length is no whole number of blocks, or is none, or passes the limit.
    #[error("chunks of {bytes} bytes: a chunk is 1 to 64 blocks of 4096 bytes")]
    Block {
        /// The length in bytes.
        bytes: usize,
    },
    /// Fewer chunks are left than the geometry's data chunks.
    #[error("{present} chunks are left of a {geometry} stripe: at least {} are needed to rebuild it", geometry.data)]
    TooFew {
        /// The geometry.
        geometry: Geometry,
        /// Chunks handed in.
        present: usize,
    },
    /// A chunk index the geometry does not have was wanted.
    #[error("chunk {index} was wanted of a {geometry} stripe, which has chunks 0 to {}", geometry.width() - 1)]
    Index {
        /// The geometry.
        geometry: Geometry,
        /// The index.
        index: usize,
    },
}

/// Computes parity and rebuilds chunks.
pub trait Codec: Send + Sync {
    /// The parity chunks, in order (index k first), of `data`: exactly k chunks of one length.
    fn encode(&self, geometry: Geometry, data: &[&[u8]]) -> Result<Vec<Vec<u8>>, CodecError>;

    /// Fills in the chunks named by `wanted` where they are absent, from any k that are present. `chunks` has one entry
    /// per chunk of the stripe, data first. Chunks that are absent and not wanted stay absent.
    fn reconstruct(&self, geometry: Geometry, chunks: &mut [Option<Bytes>], wanted: &[usize])
    -> Result<(), CodecError>;
}

/// The codec on `reed-solomon-erasure` with its SIMD kernels. Keeps one matrix per geometry that was asked for.
#[derive(Default)]
pub struct ReedSolomonCodec {
    matrices: RwLock<BTreeMap<Geometry, Arc<ReedSolomon>>>,
}

impl ReedSolomonCodec {
    /// A codec that has built no matrix yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn matrix(&self, geometry: Geometry) -> Result<Arc<ReedSolomon>, CodecError> {
        if let Some(found) = self.matrices.read().unwrap_or_else(PoisonError::into_inner).get(&geometry) {
            return Ok(Arc::clone(found));
        }
        let built = ReedSolomon::new(usize::from(geometry.data), usize::from(geometry.parity))
            .map_err(|_| CodecError::Geometry { geometry })?;
        let mut matrices = self.matrices.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(matrices.entry(geometry).or_insert_with(|| Arc::new(built))))
    }
}

fn check_geometry(geometry: Geometry) -> Result<(), CodecError> {
    if !(1..=32).contains(&geometry.data) || geometry.parity > 8 {
        return Err(CodecError::Geometry { geometry });
    }
    Ok(())
}

fn check_count(geometry: Geometry, given: usize, wanted: usize) -> Result<(), CodecError> {
    if given != wanted {
        return Err(CodecError::Count { geometry, given, wanted });
    }
    Ok(())
}

/// The one length, in bytes, of the chunks given with their indices; 0 where there are none.
fn common_length<'a>(chunks: impl Iterator<Item = (usize, &'a [u8])>) -> Result<usize, CodecError> {
    let mut length = None;
    for (index, chunk) in chunks {
        let wanted_bytes = *length.get_or_insert(chunk.len());
        if chunk.len() != wanted_bytes {
            return Err(CodecError::Length { index, given_bytes: chunk.len(), wanted_bytes });
        }
    }
    let bytes = length.unwrap_or(0);
    if length.is_some() && (bytes == 0 || !bytes.is_multiple_of(limits::BLOCK_BYTES) || bytes > limits::CHUNK_MAX_BYTES)
    {
        return Err(CodecError::Block { bytes });
    }
    Ok(bytes)
}

impl Codec for ReedSolomonCodec {
    fn encode(&self, geometry: Geometry, data: &[&[u8]]) -> Result<Vec<Vec<u8>>, CodecError> {
        check_geometry(geometry)?;
        check_count(geometry, data.len(), usize::from(geometry.data))?;
        let bytes = common_length(data.iter().copied().enumerate())?;
        if geometry.parity == 0 {
            return Ok(Vec::new());
        }
        let mut parity = vec![vec![0; bytes]; usize::from(geometry.parity)];
        let matrix = self.matrix(geometry)?;
        matrix.encode_sep(data, &mut parity).expect("counts and lengths were checked above");
        Ok(parity)
    }

    fn reconstruct(
        &self,
        geometry: Geometry,
        chunks: &mut [Option<Bytes>],
        wanted: &[usize],
    ) -> Result<(), CodecError> {
        check_geometry(geometry)?;
        check_count(geometry, chunks.len(), geometry.width())?;
        if let Some(&index) = wanted.iter().find(|&&index| index >= chunks.len()) {
            return Err(CodecError::Index { geometry, index });
        }
        let present = chunks.iter().flatten().count();
        let bytes = common_length(chunks.iter().enumerate().filter_map(|(i, c)| Some((i, c.as_deref()?))))?;
        if wanted.iter().all(|&index| chunks[index].is_some()) {
            return Ok(());
        }
        if present < usize::from(geometry.data) {
            return Err(CodecError::TooFew { geometry, present });
        }
        let matrix = self.matrix(geometry)?;
        let data = usize::from(geometry.data);
        let missing_data: Vec<usize> = (0..data).filter(|&i| chunks[i].is_none()).collect();
        // Parity is computed from data, so a wanted parity chunk brings every missing data chunk with it.
        let parity_wanted = wanted.iter().any(|&i| i >= data && chunks[i].is_none());
        let rebuilt = if missing_data.is_empty() { Vec::new() } else { rebuild_data(&matrix, chunks, bytes) };
        let at = |i: usize| rebuilt.iter().find(|(index, _)| *index == i).map(|(_, chunk)| chunk);
        let parity = if parity_wanted {
            let data_chunks: Vec<&Bytes> = (0..data).filter_map(|i| chunks[i].as_ref().or_else(|| at(i))).collect();
            let mut parity = vec![vec![0; bytes]; usize::from(geometry.parity)];
            matrix.encode_sep(&data_chunks, &mut parity).expect("every data chunk is present or was rebuilt");
            parity
        } else {
            Vec::new()
        };
        let found: Vec<(usize, Bytes)> = wanted
            .iter()
            .filter(|&&i| chunks[i].is_none())
            .filter_map(|&i| match i.checked_sub(data) {
                None => at(i).cloned().map(|chunk| (i, chunk)),
                Some(p) => parity.get(p).map(|chunk| (i, Bytes::copy_from_slice(chunk))),
            })
            .collect();
        for (index, chunk) in found {
            chunks[index] = Some(chunk);
        }
        Ok(())
    }
}

/// Every missing data chunk with its index. At least k chunks are present and all have `bytes` bytes.
fn rebuild_data(matrix: &ReedSolomon, chunks: &[Option<Bytes>], bytes: usize) -> Vec<(usize, Bytes)> {
    let data = matrix.data_shard_count();
    let mut spare = data;
    let mut shards: Vec<(Vec<u8>, bool)> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match chunk {
            // The code reads the first k chunks present; copying more of them would be wasted.
            Some(chunk) if spare > 0 => {
                spare -= 1;
                shards.push((chunk.to_vec(), true));
            }
            _ => shards.push((vec![0; bytes], false)),
        }
    }
    matrix.reconstruct_data(&mut shards).expect("counts and lengths were checked by the caller");
    let mut rebuilt = Vec::new();
    for (index, (shard, _)) in shards.into_iter().enumerate().take(data) {
        if chunks[index].is_none() {
            rebuilt.push((index, Bytes::from(shard)));
        }
    }
    rebuilt
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
