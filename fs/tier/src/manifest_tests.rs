use super::*;

fn file(path: &str, size: u64) -> FileEntry {
    FileEntry {
        path: path.into(),
        size,
        etag: "\"e\"".into(),
        blake3: "00ff".into(),
        mode: 0o640,
        mtime: Timestamp { secs: 1_700_000_000, nanos: 5 },
    }
}

#[test]
fn golden_manifest_and_marker() {
    let mut manifest = Manifest::new("job 7 attempt 0");
    manifest.files = vec![file("b", 2), file("a/c", 3)];
    manifest.directories = vec![DirectoryEntry { path: "empty".into(), mode: 0o750 }];
    manifest.symlinks = vec![SymlinkEntry { path: "link".into(), target: "a/c".into() }];
    let text = r#"{
  "version": 1,
  "label": "job 7 attempt 0",
  "files": [
    {
      "path": "a/c",
      "size": 3,
      "etag": "\"e\"",
      "blake3": "00ff",
      "mode": "0640",
      "mtime": {
        "secs": 1700000000,
        "nanos": 5
      }
    },
    {
      "path": "b",
      "size": 2,
      "etag": "\"e\"",
      "blake3": "00ff",
      "mode": "0640",
      "mtime": {
        "secs": 1700000000,
        "nanos": 5
      }
    }
  ],
  "directories": [
    {
      "path": "empty",
      "mode": "0750"
    }
  ],
  "symlinks": [
    {
      "path": "link",
      "target": "a/c"
    }
  ]
}
"#;
    assert_eq!(String::from_utf8(manifest.encode()).unwrap(), text);
    assert_eq!(Manifest::decode(text.as_bytes()), Some(manifest.clone()));
    let marker = String::from_utf8(manifest.marker().encode()).unwrap();
    assert_eq!(marker, "{\n  \"version\": 1,\n  \"label\": \"job 7 attempt 0\",\n  \"files\": 2,\n  \"bytes\": 5\n}\n");
}

#[test]
fn what_is_no_manifest_of_this_version_is_none() {
    assert_eq!(Manifest::decode(b"not json"), None);
    assert_eq!(Manifest::decode(br#"{"version":2,"label":"","files":[],"directories":[],"symlinks":[]}"#), None);
}

#[test]
fn the_order_things_were_found_in_does_not_show() {
    let (mut one, mut other) = (Manifest::new("x"), Manifest::new("x"));
    one.files = vec![file("a", 1), file("b", 2), file("a/b", 3)];
    other.files = one.files.iter().rev().cloned().collect();
    assert_eq!(one.encode(), other.encode());
}
