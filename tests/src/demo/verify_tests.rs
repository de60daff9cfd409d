use super::*;

/// A folder of results as an export leaves them, and the job's list.
fn exported() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir_all(out.join("sub")).unwrap();
    for (path, text) in [("a.txt", "alpha"), ("sub/b.txt", "beta")] {
        fs::write(out.join(path), text).unwrap();
    }
    let sums = dir.path().join("sums");
    list_checksums(&out, &sums).unwrap();
    let file = |path: &str, text: &str| {
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        serde_json::json!({ "path": path, "size": text.len(), "blake3": hash, "etag": "", "mode": "0644" })
    };
    let manifest = serde_json::json!({ "version": 1, "files": [file("a.txt", "alpha"), file("sub/b.txt", "beta")] });
    fs::write(out.join(MANIFEST), manifest.to_string()).unwrap();
    fs::write(out.join(MARKER), "{}").unwrap();
    fs::write(out.join(".a.txt.metadata.json"), "kept by a server for itself").unwrap();
    (dir, sums)
}

#[test]
fn results_as_recorded_are_verified() {
    let (dir, sums) = exported();
    let verdict = results(&dir.path().join("out"), &sums).unwrap();
    assert_eq!(verdict, Verdict { objects: 2, verified: 2, missing: 0, marked: true });
}

#[test]
fn changed_missing_unlisted_and_unmarked_results_are_seen() {
    let (dir, sums) = exported();
    let out = dir.path().join("out");
    fs::write(out.join("a.txt"), "alphA").unwrap();
    fs::remove_file(out.join("sub/b.txt")).unwrap();
    fs::write(out.join("extra"), "x").unwrap();
    fs::remove_file(out.join(MARKER)).unwrap();
    let verdict = results(&out, &sums).unwrap();
    assert_eq!(verdict, Verdict { objects: 2, verified: 0, missing: 1, marked: false });
}
