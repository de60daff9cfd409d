//! Frames in and out of a byte stream.
//!
//! Out: frames that wait together leave in one vectored write, their bodies and payloads uncopied. In: headers and
//! small parts come through one buffer, the rest of a large part is read straight to where it stays. Nothing is
//! filled with zeroes first, and a part of a block or more begins on a block boundary, as direct I/O asks.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use forebay_types::limits;
use forebay_wire::frame::{FrameError, HEADER_BYTES, Header, Kind, Service};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Most frames in one write.
pub(crate) const FRAMES_PER_WRITE: usize = 16;
/// A peer that takes no byte for this long, or stops in the middle of a frame for this long, is given up.
const STALL: Duration = Duration::from_secs(30);
/// Bytes of the read buffer: small, as what is read ahead of a large part is copied.
const BUFFER_BYTES: usize = 16 * 1024;

/// A frame on its way out.
pub(crate) struct Frame {
    header: [u8; HEADER_BYTES],
    body: Bytes,
    payload: Bytes,
}

impl Frame {
    /// Puts a frame together, or says which part is over its limit.
    pub(crate) fn new(
        service: Service,
        kind: Kind,
        request_id: u64,
        deadline: Duration,
        body: Vec<u8>,
        payload: Bytes,
    ) -> Result<Self, FrameError> {
        check(&body, &payload)?;
        let header = Header {
            service,
            kind,
            request_id,
            body_bytes: body.len() as u32,
            payload_bytes: payload.len() as u32,
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
        };
        Ok(Self { header: header.encode(&body), body: body.into(), payload })
    }
}

/// Whether a message's parts are within their limits.
pub(crate) fn check(body: &[u8], payload: &[u8]) -> Result<(), FrameError> {
    let over = |field, len: usize| Err(FrameError::Field { field, value: len as u64 });
    if body.len() > limits::BODY_MAX_BYTES {
        return over("body bytes", body.len());
    }
    if payload.len() > limits::PAYLOAD_MAX_BYTES {
        return over("payload bytes", payload.len());
    }
    Ok(())
}

/// Writes frames, at most [`FRAMES_PER_WRITE`], with as few system calls as the socket allows.
pub(crate) async fn write_frames<'a, W: AsyncWrite + Unpin>(
    io: &mut W,
    frames: impl Iterator<Item = &'a Frame>,
) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); 3 * FRAMES_PER_WRITE];
    let mut used = 0;
    for frame in frames {
        for part in [&frame.header[..], &frame.body, &frame.payload] {
            if !part.is_empty() {
                slices[used] = IoSlice::new(part);
                used += 1;
            }
        }
    }
    let mut left = &mut slices[..used];
    while !left.is_empty() {
        let stalled = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer takes no more bytes");
        match timeout(STALL, io.write_vectored(left)).await.map_err(stalled)?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => IoSlice::advance_slices(&mut left, n),
        }
    }
    Ok(())
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The stream failed or ended in the middle of a frame.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What was read is not a frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// A header that has been read, and whose parts have not.
pub(crate) struct Pending {
    /// The header.
    pub(crate) header: Header,
    raw: [u8; HEADER_BYTES],
}

/// Reads frames from a stream.
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::with_capacity(BUFFER_BYTES) }
    }

    /// The stream, without what was read ahead.
    pub(crate) fn into_inner(self) -> R {
        self.io
    }

    /// Waits for the next header, however long; none where the peer has closed between frames.
    pub(crate) async fn header(&mut self) -> Result<Option<Pending>, ReadError> {
        while self.buffer.len() < HEADER_BYTES {
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut_short().into()) };
            }
        }
        let mut raw = [0; HEADER_BYTES];
        self.buffer.copy_to_slice(&mut raw);
        Ok(Some(Pending { header: Header::decode(&raw)?, raw }))
    }

    /// Reads the body and the payload that belong to a header.
    pub(crate) async fn parts(&mut self, pending: &Pending) -> Result<(Bytes, Bytes), ReadError> {
        let stalled = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer stopped in the middle of a message");
        timeout(STALL, async {
            let body = self.take(pending.header.body_bytes as usize).await?;
            // Before the payload: its length is only to be believed once the checksum agrees.
            Header::verify(&pending.raw, &body)?;
            let payload = self.take(pending.header.payload_bytes as usize).await?;
            Ok((body, payload))
        })
        .await
        .map_err(stalled)?
    }

    async fn take(&mut self, len: usize) -> io::Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let mut part = if len < limits::BLOCK_BYTES { BytesMut::with_capacity(len) } else { on_block_boundary(len) };
        loop {
            let have = self.buffer.len().min(len - part.len());
            part.extend_from_slice(&self.buffer[..have]);
            self.buffer.advance(have);
            let left = len - part.len();
            if left == 0 {
                return Ok(part.freeze());
            }
            let got = if left > BUFFER_BYTES {
                self.io.read_buf(&mut (&mut part).limit(left)).await?
            } else {
                self.fill().await?
            };
            if got == 0 {
                return Err(cut_short());
            }
        }
    }

    /// Reads what there is into the buffer.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.capacity() - self.buffer.len() < HEADER_BYTES || self.buffer.is_empty() {
            self.buffer.reserve(BUFFER_BYTES - self.buffer.len().min(BUFFER_BYTES));
        }
        self.io.read_buf(&mut self.buffer).await
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed in the middle of a message")
}

/// An empty buffer that has room for `len` bytes and begins on a block boundary.
fn on_block_boundary(len: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(len + limits::BLOCK_BYTES);
    let skip = buffer.as_ptr().align_offset(limits::BLOCK_BYTES);
    buffer.resize(skip, 0);
    buffer.advance(skip);
    buffer
}

#[cfg(test)]
#[path = "frame_io_tests.rs"]
mod tests;
