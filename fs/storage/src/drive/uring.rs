//! io_uring on the engine's own thread.
//!
//! Invariant: a buffer handed to the kernel is owned by `flying` from before its submission until after its completion, and is
//! leaked rather than freed where the kernel never gives it back.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};

use super::device::{Completion, Device, IN_FLIGHT_MAX, Io, Waker};

/// User data of the poll on the wake-up socket; operations count up from 0 and never get here.
const WAKE: u64 = u64::MAX;
/// How long closing waits for operations under way.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

struct Flying {
    io: Io,
    /// Bytes already moved.
    done: usize,
}

pub(super) struct Uring {
    ring: IoUring,
    file: Arc<File>,
    flying: HashMap<u64, Flying>,
    /// Not submitted: the ring is full.
    backlog: VecDeque<(u64, Flying)>,
    woken: UnixStream,
    wake: Arc<UnixStream>,
    wake_is_armed: bool,
}

impl Uring {
    pub(super) fn start(file: Arc<File>) -> io::Result<Self> {
        // One entry more than operations: the poll on the wake-up socket.
        let ring = IoUring::new(2 * IN_FLIGHT_MAX as u32)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel's io_uring cannot wait with a deadline",
            ));
        }
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (flying, backlog) = (HashMap::new(), VecDeque::new());
        Ok(Self { ring, file, flying, backlog, woken, wake: Arc::new(wake), wake_is_armed: false })
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the entry's buffer, where it has one, lies on the heap and is owned by `self.flying` until the
            // kernel reports the operation's end; the file and the socket live as long as `self`.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }

    fn submit(&mut self, id: u64, mut flying: Flying) -> io::Result<()> {
        let fd = types::Fd(self.file.as_raw_fd());
        let done = flying.done;
        let entry = match &mut flying.io {
            Io::Write { at, buffer } => {
                let rest = &buffer.as_ref()[done..];
                opcode::Write::new(fd, rest.as_ptr(), rest.len() as u32).offset(*at + done as u64).build()
            }
            Io::Read { at, buffer } => {
                let rest = &mut buffer.as_mut()[done..];
                opcode::Read::new(fd, rest.as_mut_ptr(), rest.len() as u32).offset(*at + done as u64).build()
            }
            Io::Flush => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
        };
        self.flying.insert(id, flying);
        self.push(&entry.user_data(id))
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        if !self.wake_is_armed {
            let entry = opcode::PollAdd::new(types::Fd(self.woken.as_raw_fd()), libc::POLLIN as u32).build();
            self.push(&entry.user_data(WAKE))?;
            self.wake_is_armed = true;
        }
        Ok(())
    }

    fn submit_backlog(&mut self) -> io::Result<()> {
        while self.flying.len() < IN_FLIGHT_MAX
            && let Some((id, flying)) = self.backlog.pop_front()
        {
            self.submit(id, flying)?;
        }
        Ok(())
    }

    fn reap(&mut self, ended: &mut Vec<Completion>) -> io::Result<()> {
        let reaped: Vec<(u64, i32)> = self.ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (id, result) in reaped {
            if id == WAKE {
                self.wake_is_armed = false;
                let mut byte = [0; 64];
                while self.woken.read(&mut byte).is_ok_and(|n| n == byte.len()) {}
                continue;
            }
            let Some(mut flying) = self.flying.remove(&id) else {
                continue;
            };
            let wanted = match &flying.io {
                Io::Write { buffer, .. } | Io::Read { buffer, .. } => buffer.as_ref().len(),
                Io::Flush => 0,
            };
            let again = result == -libc::EAGAIN || result == -libc::EINTR;
            if result < 0 && !again {
                ended.push(Completion { id, result: Err(io::Error::from_raw_os_error(-result)) });
                continue;
            }
            flying.done += result.max(0) as usize;
            if flying.done < wanted && result == 0 {
                ended.push(Completion { id, result: Err(io::ErrorKind::UnexpectedEof.into()) });
            } else if flying.done < wanted || again {
                self.submit(id, flying)?;
            } else {
                let buffer = match flying.io {
                    Io::Read { buffer, .. } => Some(buffer),
                    Io::Write { .. } | Io::Flush => None,
                };
                ended.push(Completion { id, result: Ok(buffer) });
            }
        }
        Ok(())
    }
}

impl Device for Uring {
    fn begin(&mut self, id: u64, io: Io) {
        self.backlog.push_back((id, Flying { io, done: 0 }));
    }

    fn wait(&mut self, most: Duration, ended: &mut Vec<Completion>) -> io::Result<()> {
        self.submit_backlog()?;
        self.arm_wake()?;
        let most = types::Timespec::from(most);
        let args = types::SubmitArgs::new().timespec(&most);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => {}
            // Time is over, a signal, or completions to reap first.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
        self.reap(ended)
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        // Where the socket is full the wake-up is already on its way.
        Arc::new(move || drop((&*wake).write(&[1])))
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.backlog.clear();
        let deadline = Instant::now() + CLOSE_DEADLINE;
        let mut ended = Vec::new();
        while !self.flying.is_empty() && Instant::now() < deadline {
            if self.wait(Duration::from_secs(1), &mut ended).is_err() {
                break;
            }
        }
        // The kernel may still write to these buffers: they must never be used for anything else.
        std::mem::forget(std::mem::take(&mut self.flying));
    }
}
