use super::*;

fn bytes(payload: PutPayload) -> Vec<u8> {
    Bytes::from(payload).to_vec()
}

#[test]
fn gathered_bytes_come_out_in_order_in_pieces_of_any_size() {
    let mut gathered = Gathered::default();
    for chunk in ["abc", "", "defgh", "i"] {
        gathered.push(Bytes::from_static(chunk.as_bytes()));
    }
    assert_eq!(bytes(gathered.take(4)), b"abcd");
    assert_eq!(bytes(gathered.take(4)), b"efgh");
    gathered.push(Bytes::from_static(b"jk"));
    assert_eq!((bytes(gathered.take(100)), gathered.len), (b"ijk".to_vec(), 0));
    assert_eq!(bytes(gathered.take(1)), b"");
}

#[test]
fn parts_are_large_enough_for_the_object() {
    assert_eq!(part_bytes(None), 16 * MIB);
    assert_eq!(part_bytes(Some(9 * MIB)), 8 * MIB);
    assert_eq!(part_bytes(Some(5 << 40)) % MIB, 0);
    assert!((5u64 << 40).div_ceil(part_bytes(Some(5 << 40))) <= 10_000);
}
