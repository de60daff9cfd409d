use forebay_env::MemoryKv;

use super::*;

fn batch(pairs: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

/// What the door promises, on any store behind it.
fn keeps_the_contract(kv: &dyn Kv) {
    kv.write(batch(&[("a", Some("1")), ("b", Some("2")), ("b", Some("3"))]), Durability::Buffered).unwrap();
    kv.write(batch(&[("c", Some("4")), ("a", None), ("d", Some(""))]), Durability::Flushed).unwrap();
    assert_eq!(kv.get(b"a").unwrap(), None);
    assert_eq!(kv.get(b"b").unwrap(), Some(b"3".to_vec()));
    assert_eq!(kv.get(b"d").unwrap(), Some(Vec::new()));
    let keys = |start: &[u8], end: &[u8], limit| -> Vec<u8> {
        kv.scan(start, end, limit).unwrap().into_iter().map(|(key, _)| key[0]).collect()
    };
    assert_eq!(keys(b"a", b"z", 9), b"bcd");
    assert_eq!(keys(b"b", b"d", 9), b"bc");
    assert_eq!(keys(b"b", b"z", 2), b"bc");
    assert_eq!(keys(b"z", b"a", 2), b"");
    assert_eq!(kv.last(b"a", b"d").unwrap(), Some((b"c".to_vec(), b"4".to_vec())));
    assert_eq!(kv.last(b"e", b"z").unwrap(), None);
}

#[test]
fn memory_keeps_the_contract() {
    keeps_the_contract(&MemoryKv::new());
}

#[test]
fn rocks_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    keeps_the_contract(&RocksKv::open(dir.path()).unwrap());
}

#[test]
fn rocks_remembers() {
    let dir = tempfile::tempdir().unwrap();
    RocksKv::open(dir.path()).unwrap().write(batch(&[("k", Some("v"))]), Durability::Flushed).unwrap();
    assert_eq!(RocksKv::open(dir.path()).unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn a_directory_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let _first = RocksKv::open(dir.path()).unwrap();
    let Err(error) = RocksKv::open(dir.path()) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
}
