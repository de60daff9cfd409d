use std::time::Instant;

use super::*;

fn engines() -> Vec<(IoEngine, Box<dyn Device>, tempfile::NamedTempFile)> {
    let mut engines = Vec::new();
    for engine in [IoEngine::Threads, IoEngine::Uring] {
        let file = tempfile::NamedTempFile::new().unwrap();
        match start(Arc::new(file.reopen().unwrap()), engine) {
            Ok(device) => engines.push((engine, device, file)),
            Err(error) => eprintln!("skipped: {engine:?} is not to be had here: {error}"),
        }
    }
    engines
}

fn finish(device: &mut dyn Device, wanted: usize) -> Vec<Completion> {
    let mut ended = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while ended.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} operations have ended after a minute", ended.len());
        device.wait(Duration::from_secs(1), &mut ended).unwrap();
    }
    ended
}

#[test]
fn what_is_written_is_read() {
    for (engine, mut device, _file) in engines() {
        for n in 0..300u64 {
            let buffer = AlignedBuffer::of(&[&[n as u8; 8192]]);
            device.begin(n, Io::Write { at: n * 8192, buffer });
        }
        let failure = finish(&mut *device, 300).into_iter().find_map(|completion| completion.result.err());
        assert!(failure.is_none(), "{engine:?}: {failure:?}");
        device.begin(1000, Io::Flush);
        finish(&mut *device, 1);
        for n in 0..300u64 {
            device.begin(n, Io::Read { at: n * 8192 + 4096, buffer: AlignedBuffer::zeroed(4096) });
        }
        for completion in finish(&mut *device, 300) {
            let buffer = completion.result.unwrap().unwrap();
            assert_eq!(buffer.as_ref(), [completion.id as u8; 4096], "{engine:?}");
        }
    }
}

#[test]
fn reading_past_the_end_is_an_error_and_not_zeros() {
    for (engine, mut device, file) in engines() {
        file.as_file().set_len(4096).unwrap();
        device.begin(1, Io::Read { at: 0, buffer: AlignedBuffer::zeroed(8192) });
        let ended = finish(&mut *device, 1).remove(0);
        assert_eq!(ended.result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{engine:?}");
    }
}

/// A flush that never comes to the kernel would change nothing that a test sees with the power on: what the kernel cannot
/// flush has to say so.
#[test]
fn a_flush_is_the_kernels() {
    for engine in [IoEngine::Threads, IoEngine::Uring] {
        let file = File::options().read(true).write(true).open("/dev/null").unwrap();
        let mut device = match start(Arc::new(file), engine) {
            Ok(device) => device,
            Err(error) => {
                eprintln!("skipped: {engine:?} is not to be had here: {error}");
                continue;
            }
        };
        device.begin(1, Io::Flush);
        let refused = finish(&mut *device, 1).remove(0).result.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL), "{engine:?}");
    }
}

#[test]
fn the_waker_ends_a_wait() {
    for (engine, mut device, _file) in engines() {
        let wake = device.waker();
        wake();
        wake();
        let mut ended = Vec::new();
        // Without the wake-up this would wait for an hour.
        device.wait(Duration::from_secs(3600), &mut ended).unwrap();
        assert!(ended.is_empty(), "{engine:?}");
        let waiting = std::thread::spawn(move || wake());
        device.wait(Duration::from_secs(3600), &mut ended).unwrap();
        waiting.join().unwrap();
    }
}

#[test]
fn buffers_are_aligned() {
    for len in [0, 1, 4096, 266_240] {
        let buffer = AlignedBuffer::zeroed(len);
        assert_eq!((buffer.as_ref().as_ptr() as usize % 4096, buffer.as_ref().len()), (0, len));
    }
}
