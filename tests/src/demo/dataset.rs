//! Datasets made from a seed, laid into the cold tier, with a list of their checksums kept elsewhere.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use crate::error::{Context, LabError};

/// Files a folder of a dataset holds.
const FOLDER_FILES: u32 = 100;

/// What a dataset is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Decides every byte.
    pub seed: u64,
    /// Number of small files, of 1 B to 16 KiB each.
    pub small_files: u32,
    /// Size of the one large file, in MiB.
    pub large_mib: u64,
}

/// What was laid down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Recipe {
    /// Lays the dataset below `dir`, and its checksums, as `sha256sum` writes and reads them, into the file `sums`.
    pub fn lay(&self, dir: &Path, sums: &Path) -> Result<Made, LabError> {
        let write = || -> std::io::Result<Made> {
            let mut numbers = Numbers(self.seed);
            let mut made = Made { files: 0, bytes: 0 };
            for number in 0..self.small_files {
                let folder = dir.join(format!("part-{:02}", number / FOLDER_FILES));
                fs::create_dir_all(&folder)?;
                let size = 1 + numbers.draw() % (16 << 10);
                numbers.fill(&folder.join(format!("sample-{number:05}.bin")), size)?;
                made = Made { files: made.files + 1, bytes: made.bytes + size };
            }
            let size = self.large_mib << 20;
            numbers.fill(&dir.join("large.bin"), size)?;
            Ok(Made { files: made.files + 1, bytes: made.bytes + size })
        };
        let made = write().context(|| format!("make a dataset in {}", dir.display()))?;
        list_checksums(dir, sums)?;
        Ok(made)
    }
}

/// Writes the checksums of all files below `dir`, by path, into `sums`.
pub fn list_checksums(dir: &Path, sums: &Path) -> Result<(), LabError> {
    let script = "find . -type f -printf '%P\\n' | sort | xargs -d '\\n' -r sha256sum";
    let output = Command::new("/bin/bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir)
        .output()
        .context(|| format!("checksum the files of {}", dir.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(LabError::Lab(format!("could not checksum the files of {}: {said}", dir.display())));
    }
    fs::write(sums, output.stdout).context(|| format!("write {}", sums.display()))
}

/// A stream of numbers that a seed decides.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Writes a new file of `size` such bytes.
    pub fn fill(&mut self, path: &Path, size: u64) -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        let mut left = size;
        while left > 0 {
            let bytes = self.draw().to_le_bytes();
            let take = left.min(8) as usize;
            out.write_all(&bytes[..take])?;
            left -= take as u64;
        }
        out.flush()
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
