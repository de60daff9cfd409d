use proptest::prelude::*;

use super::*;

fn header(id: u64, body: &[u8], payload: u32) -> Header {
    Header {
        service: Service::Chunk,
        kind: Kind::Request,
        request_id: id,
        body_bytes: body.len() as u32,
        payload_bytes: payload,
        deadline_ms: 1000,
    }
}

proptest! {
    #[test]
    fn header_round_trips(id: u64, body in proptest::collection::vec(any::<u8>(), 0..64), payload in 0u32..1024 * 1024) {
        let raw = header(id, &body, payload).encode(&body);
        prop_assert_eq!(Header::decode(&raw).unwrap(), header(id, &body, payload));
        prop_assert_eq!(Header::verify(&raw, &body), Ok(()));
    }

    #[test]
    fn any_flipped_bit_is_noticed(bit in 0usize..(HEADER_BYTES + 9) * 8) {
        let mut body = *b"some body";
        let mut raw = header(7, &body, 0).encode(&body);
        let byte = bit / 8;
        if byte < HEADER_BYTES { raw[byte] ^= 1 << (bit % 8) } else { body[byte - HEADER_BYTES] ^= 1 << (bit % 8) }
        prop_assert!(Header::decode(&raw).is_err() || Header::verify(&raw, &body).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(raw: [u8; HEADER_BYTES]) {
        let _ = Header::decode(&raw);
    }
}

#[test]
fn golden_header() {
    let raw = header(0x0102_0304_0506_0708, b"body", 9).encode(b"body");
    assert_eq!(
        &raw[..28],
        b"fb\x05\x00\x02\x01\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\x04\x00\x00\x00\x09\x00\x00\x00\xe8\x03\x00\x00"
    );
}

#[test]
fn older_peer_is_named() {
    let mut raw = header(1, b"", 0).encode(b"");
    raw[2] = 0;
    let error = Header::decode(&raw).unwrap_err();
    assert_eq!(error, FrameError::Version { theirs: 0, ours: VERSION });
    assert!(error.to_string().contains("upgrade the older one"));
}
