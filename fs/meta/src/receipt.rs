//! The seal on a drive's word that a chunk is durable. Drives seal, metadata checks, with one key derived from the
//! cluster's, so a client cannot make up a receipt unless it has the cluster's key.

use forebay_types::{DriveId, StripeId};
use forebay_wire::chunk::Receipt;

/// Key of all receipts of a cluster.
#[derive(Clone)]
pub struct ReceiptKey([u8; 32]);

impl ReceiptKey {
    /// Derives it from the cluster's key.
    #[must_use]
    pub fn derive(cluster_key: &[u8]) -> Self {
        Self(blake3::derive_key("forebay receipt v1", cluster_key))
    }

    /// A sealed receipt for a durable chunk of `chunk_bytes` bytes.
    #[must_use]
    pub fn seal_receipt(&self, drive: DriveId, stripe: StripeId, index: u8, chunk_bytes: u32) -> Receipt {
        Receipt { drive, stripe, index, chunk_bytes, seal: self.seal(drive, stripe, index, chunk_bytes) }
    }

    /// Whether a receipt is one that [`Self::seal_receipt`] made.
    #[must_use]
    pub fn check_receipt(&self, receipt: &Receipt) -> bool {
        let want = self.seal(receipt.drive, receipt.stripe, receipt.index, receipt.chunk_bytes);
        // No early exit: how long the comparison takes must not tell how many bytes were right.
        want.iter().zip(&receipt.seal).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }

    fn seal(&self, drive: DriveId, stripe: StripeId, index: u8, chunk_bytes: u32) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&drive.0.to_be_bytes());
        hasher.update(&stripe.to_bytes());
        hasher.update(&[index]);
        hasher.update(&chunk_bytes.to_be_bytes());
        let mut seal = [0; 16];
        seal.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        seal
    }
}

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptKey(..)")
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
