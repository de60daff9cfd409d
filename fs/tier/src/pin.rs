//! One figure for the version of a whole source: another where any object's key, size or entity tag is.

use forebay_types::Uuid;

/// The digest of objects, in whatever order they are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    sum: u128,
    objects: u64,
}

impl Pin {
    /// One object of the source, by its key below the source.
    pub fn add(&mut self, key: &str, size_bytes: u64, etag: &str) {
        let mut hasher = blake3::Hasher::new();
        for part in [key.as_bytes(), etag.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&size_bytes.to_le_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        // A sum does not depend on the order, and unlike exclusive-or it does not lose what comes twice.
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(first));
        self.objects += 1;
    }

    /// The figure.
    #[must_use]
    pub fn digest(&self) -> Uuid {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.sum.to_le_bytes());
        hasher.update(&self.objects.to_le_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Uuid(digest)
    }
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
