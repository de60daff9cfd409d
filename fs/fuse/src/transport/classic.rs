//! The classic way: a thread reads a descriptor of `/dev/fuse`, answers are written to the same.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use nix::libc::{ENODEV, ENOENT};

use super::buffer::{Buffer, Buffers};
use super::{Device, Lane, Port, Received, Ticket, Transport};
use crate::abi::{Encoded, Opcode};

/// Descriptors of one mount.
pub struct Classic {
    device: Arc<Device>,
}

impl Classic {
    /// Of a device that has been mounted with.
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self { device: Arc::new(device) }
    }
}

impl Transport for Classic {
    fn first(&mut self, buffer_bytes: usize) -> io::Result<Box<dyn Lane>> {
        Ok(Box::new(Descriptor::new(self.device.clone(), &Buffers::new(buffer_bytes))))
    }

    fn more(&mut self, lanes: usize, buffer_bytes: usize) -> io::Result<Vec<Box<dyn Lane>>> {
        let buffers = Buffers::new(buffer_bytes);
        let lane = |device| Box::new(Descriptor::new(Arc::new(device), &buffers)) as Box<dyn Lane>;
        (0..lanes).map(|_| self.device.another().map(lane)).collect()
    }

    fn notices(&self) -> Arc<dyn Port> {
        self.device.clone()
    }
}

/// One descriptor.
struct Descriptor {
    device: Arc<Device>,
    buffer: Buffer,
}

impl Descriptor {
    fn new(device: Arc<Device>, buffers: &Arc<Buffers>) -> Self {
        Self { device, buffer: buffers.take() }
    }
}

impl Lane for Descriptor {
    fn receive(&mut self) -> io::Result<Received> {
        loop {
            let error = match self.device.file().read(self.buffer.memory()) {
                Ok(len) => {
                    let bytes = self.buffer.fill(len);
                    let ticket = Ticket::new(self.device.clone(), 0, wants_answer(&bytes));
                    return Ok(Received::Request(bytes, ticket));
                }
                Err(error) => error,
            };
            match (error.raw_os_error(), error.kind()) {
                (Some(ENODEV), _) => return Ok(Received::End),
                // The request was taken back before it could be read.
                (Some(ENOENT), _) | (_, ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                _ => return Err(error),
            }
        }
    }
}

/// Number of the request, unless it is of a kind that must not be answered, or has none.
fn wants_answer(request: &[u8]) -> Option<u64> {
    let opcode = u32::from_ne_bytes(request.get(4..8)?.try_into().ok()?);
    let unique = u64::from_ne_bytes(request.get(8..16)?.try_into().ok()?);
    match Opcode::from_raw(opcode) {
        Opcode::Forget | Opcode::BatchForget | Opcode::Interrupt | Opcode::NotifyReply => None,
        _ => Some(unique),
    }
}

impl Port for Device {
    fn send(&self, _slot: u64, what: &Encoded) -> io::Result<()> {
        let parts = [IoSlice::new(&what.head), IoSlice::new(&what.data)];
        let used = if what.data.is_empty() { &parts[..1] } else { &parts[..] };
        // The kernel takes all or nothing.
        loop {
            match self.file().write_vectored(used) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
#[path = "classic_tests.rs"]
mod tests;
