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
mod tests {
    use super::*;

    fn pin(objects: &[(&str, u64, &str)]) -> Uuid {
        let mut pin = Pin::default();
        objects.iter().for_each(|(key, size, etag)| pin.add(key, *size, etag));
        pin.digest()
    }

    #[test]
    fn every_part_of_every_object_counts_and_the_order_does_not() {
        let one = pin(&[("a", 1, "x"), ("b", 2, "y")]);
        assert_eq!(one, pin(&[("b", 2, "y"), ("a", 1, "x")]));
        for other in [
            pin(&[("a", 1, "x")]),
            pin(&[("a", 1, "x"), ("b", 2, "z")]),
            pin(&[("a", 1, "x"), ("b", 3, "y")]),
            pin(&[("a", 1, "x"), ("c", 2, "y")]),
            pin(&[("a", 1, "x"), ("b", 2, "y"), ("b", 2, "y")]),
            pin(&[("a", 1, "y"), ("b", 2, "x")]),
            pin(&[]),
        ] {
            assert_ne!(one, other);
        }
    }
}
