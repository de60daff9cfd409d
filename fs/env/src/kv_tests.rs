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

#[test]
fn a_crash_keeps_a_prefix_that_includes_every_flushed_batch() {
    for keep in 0..=2 {
        let kv = MemoryKv::new();
        kv.write(batch(&[("a", Some("1"))]), Durability::Buffered).unwrap();
        kv.write(batch(&[("b", Some("2"))]), Durability::Flushed).unwrap();
        kv.write(batch(&[("a", None)]), Durability::Buffered).unwrap();
        kv.write(batch(&[("c", Some("3"))]), Durability::Buffered).unwrap();
        assert_eq!(kv.unflushed(), 2);
        kv.crash(keep);
        assert_eq!(kv.get(b"b").unwrap(), Some(b"2".to_vec()));
        assert_eq!(kv.get(b"a").unwrap().is_some(), keep == 0);
        assert_eq!(kv.get(b"c").unwrap().is_some(), keep == 2);
    }
}

#[test]
fn scan_and_last_see_the_range_only() {
    let kv = MemoryKv::new();
    kv.write(batch(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3")), ("d", Some("4"))]), Durability::Flushed)
        .unwrap();
    let keys: Vec<_> = kv.scan(b"b", b"d", 9).unwrap().into_iter().map(|(k, _)| k).collect();
    assert_eq!(keys, [b"b".to_vec(), b"c".to_vec()]);
    assert_eq!(kv.scan(b"b", b"d", 1).unwrap().len(), 1);
    assert_eq!(kv.last(b"a", b"d").unwrap(), Some((b"c".to_vec(), b"3".to_vec())));
    assert_eq!(kv.last(b"d", b"d").unwrap(), None);
}
