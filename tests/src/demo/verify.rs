//! Results in the cold tier, compared with what the job recorded and with the manifest that came with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::dataset::list_checksums;
use crate::error::{Context, LabError};

/// Name of the manifest.
const MANIFEST: &str = "_forebay_manifest.json";
/// Name of the marker, which is written last.
const MARKER: &str = "_FOREBAY_SUCCESS";

#[derive(Deserialize)]
struct Manifest {
    files: Vec<ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    path: String,
    size: u64,
    blake3: String,
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Objects of results, beside manifest and marker.
    pub objects: u64,
    /// Of those, objects that are what the job recorded and what the manifest says.
    pub verified: u64,
    /// Files that the job recorded and that have not arrived.
    pub missing: u64,
    /// Whether the marker is there.
    pub marked: bool,
}

/// Compares the objects below `dir` with the job's own list of checksums, a file that `sha256sum` wrote.
pub fn results(dir: &Path, recorded: &Path) -> Result<Verdict, LabError> {
    let text = fs::read_to_string(recorded).context(|| format!("read {}", recorded.display()))?;
    let recorded = by_path(&text);
    let manifest = dir.join(MANIFEST);
    let text = fs::read_to_string(&manifest).context(|| format!("read {}", manifest.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).context(|| format!("parse {}", manifest.display()))?;
    let listed: BTreeMap<&str, &ManifestFile> = manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let found = tempfile::NamedTempFile::new().context(|| "make a temporary file".to_owned())?;
    list_checksums(dir, found.path())?;
    let found = fs::read_to_string(found.path()).context(|| "read a temporary file".to_owned())?;
    let found: BTreeMap<String, String> = by_path(&found).into_iter().filter(|(path, _)| is_result(path)).collect();
    let mut verdict = Verdict { marked: dir.join(MARKER).exists(), ..Verdict::default() };
    verdict.missing = recorded.keys().filter(|path| !found.contains_key(*path)).count() as u64;
    for (path, sum) in &found {
        verdict.objects += 1;
        let as_listed = match listed.get(path.as_str()) {
            Some(file) => is_as_listed(&dir.join(path), file)?,
            None => false,
        };
        verdict.verified += u64::from(as_listed && recorded.get(path) == Some(sum));
    }
    Ok(verdict)
}

/// Not the export's own objects, and no file that an S3 server keeps for itself.
fn is_result(path: &str) -> bool {
    path != MANIFEST && path != MARKER && !path.split('/').any(|part| part.starts_with('.'))
}

fn is_as_listed(path: &Path, file: &ManifestFile) -> Result<bool, LabError> {
    let context = || format!("checksum {}", path.display());
    let open = fs::File::open(path).context(context)?;
    let size = open.metadata().context(context)?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open).context(context)?;
    Ok(size == file.size && hasher.finalize().to_hex().as_str() == file.blake3)
}

fn by_path(sums: &str) -> BTreeMap<String, String> {
    sums.lines().filter_map(|line| line.split_once("  ")).map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
