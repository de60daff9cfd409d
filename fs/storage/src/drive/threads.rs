//! Blocking calls on a few threads, for kernels that refuse io_uring.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::device::{Completion, Device, IN_FLIGHT_MAX, Io, Waker};

/// Enough that reads go on while writes and a flush are under way.
const THREADS: usize = 6;

pub(super) struct Threads {
    /// `None` once the threads are told to end.
    work: Option<SyncSender<(u64, Io)>>,
    /// What could not be handed over yet; drained before every wait.
    backlog: VecDeque<(u64, Io)>,
    /// `None` is a wake-up.
    ended: Receiver<Option<Completion>>,
    wake: SyncSender<Option<Completion>>,
    threads: Vec<JoinHandle<()>>,
    under_way: usize,
}

impl Threads {
    pub(super) fn start(file: Arc<File>) -> io::Result<Self> {
        let (work, todo) = sync_channel::<(u64, Io)>(IN_FLIGHT_MAX);
        // Room for the end of everything handed over, so that no thread waits for the engine.
        let (wake, ended) = sync_channel(4 * IN_FLIGHT_MAX);
        let todo = Arc::new(Mutex::new(todo));
        let mut threads = Vec::new();
        for n in 0..THREADS {
            let (file, todo, done) = (Arc::clone(&file), Arc::clone(&todo), wake.clone());
            let run = move || work_through(&file, &todo, &done);
            threads.push(thread::Builder::new().name(format!("drive-io-{n}")).spawn(run)?);
        }
        Ok(Self { work: Some(work), backlog: VecDeque::new(), ended, wake, threads, under_way: 0 })
    }

    fn hand_over(&mut self) {
        while let (Some(work), Some(next)) = (&self.work, self.backlog.pop_front()) {
            if let Err(TrySendError::Full(next)) = work.try_send(next) {
                self.backlog.push_front(next);
                return;
            }
        }
    }
}

fn work_through(file: &File, todo: &Mutex<Receiver<(u64, Io)>>, done: &SyncSender<Option<Completion>>) {
    loop {
        // The lock is held while waiting: the others wait for it instead of for the channel, with the same effect.
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, io)) = next else {
            return;
        };
        let result = match io {
            Io::Write { at, buffer } => file.write_all_at(buffer.as_ref(), at).map(|()| None),
            Io::Read { at, mut buffer } => file.read_exact_at(buffer.as_mut(), at).map(|()| Some(buffer)),
            Io::Flush => file.sync_data().map(|()| None),
        };
        if done.send(Some(Completion { id, result })).is_err() {
            return;
        }
    }
}

impl Device for Threads {
    fn begin(&mut self, id: u64, io: Io) {
        self.under_way += 1;
        self.backlog.push_back((id, io));
        self.hand_over();
    }

    fn wait(&mut self, most: Duration, ended: &mut Vec<Completion>) -> io::Result<()> {
        self.hand_over();
        let before = ended.len();
        match self.ended.recv_timeout(most) {
            Ok(first) => ended.extend(first),
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("every I/O thread has ended")),
        }
        while let Ok(next) = self.ended.try_recv() {
            ended.extend(next);
        }
        self.under_way -= ended.len() - before;
        self.hand_over();
        Ok(())
    }

    fn waker(&self) -> Waker {
        let wake = self.wake.clone();
        // Where the channel is full the engine is awake anyway.
        Arc::new(move || drop(wake.try_send(None)))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.work = None;
        // A thread stuck in the kernel must not hold up whoever closes the drive: it is left to itself.
        for thread in self.threads.drain(..) {
            if self.under_way == 0 && thread.join().is_err() {
                tracing::error!("an I/O thread of a drive panicked");
            }
        }
    }
}
