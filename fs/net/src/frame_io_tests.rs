use super::*;

fn frame(id: u64, body: usize, payload: usize) -> Frame {
    let payload: Vec<u8> = (0..payload).map(|i| (i as u64 * 7 + id) as u8).collect();
    Frame::new(Service::Chunk, Kind::Request, id, Duration::ZERO, vec![id as u8; body], payload.into()).unwrap()
}

#[tokio::test]
async fn frames_of_every_size_come_out_as_they_went_in() {
    let (mut near, far) = tokio::io::duplex(5000);
    let sizes = [(0, 0), (1, 0), (0, 1), (4095, 4096), (16_384, 16_385), (100, 1 << 20), (1 << 20, 40_000), (31, 33)];
    let frames: Vec<Frame> =
        sizes.iter().enumerate().map(|(i, (body, payload))| frame(i as u64, *body, *payload)).collect();
    let write = async {
        write_frames(&mut near, frames.iter()).await.unwrap();
        drop(near);
    };
    let read = async {
        let mut from = FrameReader::new(far);
        for frame in &frames {
            let pending = from.header().await.unwrap().unwrap();
            let (body, payload) = from.parts(&pending).await.unwrap();
            assert_eq!((&body, &payload), (&frame.body, &frame.payload));
            assert!(payload.len() < limits::BLOCK_BYTES || payload.as_ptr().align_offset(limits::BLOCK_BYTES) == 0);
        }
        assert!(from.header().await.unwrap().is_none());
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn damage_and_early_ends_are_errors() {
    let mut raw = Vec::new();
    write_frames(&mut raw, [frame(1, 100, 5000)].iter()).await.unwrap();
    for cut in [1, HEADER_BYTES, HEADER_BYTES + 99, HEADER_BYTES + 100, raw.len() - 1] {
        let mut from = FrameReader::new(&raw[..cut]);
        let end = async {
            let pending = from.header().await?.unwrap();
            from.parts(&pending).await
        };
        assert!(matches!(end.await, Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof), "{cut}");
    }
    raw[HEADER_BYTES + 50] ^= 1;
    let mut from = FrameReader::new(&raw[..]);
    let pending = from.header().await.unwrap().unwrap();
    assert!(matches!(from.parts(&pending).await, Err(ReadError::Frame(FrameError::Checksum))));
}

#[test]
fn parts_over_the_limit_are_refused() {
    let make = |body, payload| {
        Frame::new(Service::Meta, Kind::Request, 1, Duration::ZERO, vec![0; body], vec![0; payload].into()).map(|_| ())
    };
    assert_eq!(make(limits::BODY_MAX_BYTES, limits::PAYLOAD_MAX_BYTES), Ok(()));
    assert!(matches!(make(limits::BODY_MAX_BYTES + 1, 0), Err(FrameError::Field { field: "body bytes", .. })));
    assert!(matches!(make(0, limits::PAYLOAD_MAX_BYTES + 1), Err(FrameError::Field { field: "payload bytes", .. })));
}
