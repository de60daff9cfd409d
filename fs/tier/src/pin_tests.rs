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
