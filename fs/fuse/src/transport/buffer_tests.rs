use super::*;

#[test]
fn large_requests_are_not_copied_and_their_buffer_comes_back() {
    let buffers = Buffers::new(1000);
    let mut buffer = buffers.take();
    buffer.memory()[..3].copy_from_slice(b"abc");
    let at = buffer.memory().as_ptr();
    let large = buffer.fill(500);
    assert_eq!((large.as_ptr(), large.len(), &large[..3]), (at, 500, &b"abc"[..]));
    assert_ne!(buffer.memory().as_ptr(), at);
    let part = large.slice(1..2);
    drop(large);
    assert!(buffers.spare.lock().unwrap().is_empty());
    drop(part);
    assert_eq!(buffers.take().memory().as_ptr(), at);
}

#[test]
fn small_requests_are_copied() {
    let buffers = Buffers::new(1000);
    let mut buffer = buffers.take();
    buffer.memory()[..3].copy_from_slice(b"abc");
    let at = buffer.memory().as_ptr();
    assert_eq!(buffer.fill(3), &b"abc"[..]);
    assert_eq!(buffer.memory().as_ptr(), at);
}

#[test]
fn few_buffers_are_kept() {
    let buffers = Buffers::new(10);
    let many: Vec<Buffer> = (0..SPARE + 5).map(|_| buffers.take()).collect();
    drop(many);
    assert_eq!(buffers.spare.lock().unwrap().len(), SPARE);
}
