//! The thread that owns a drive: requests in, effects out, completions back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_drive::{
    BLOCK, ChunkInfo, ChunkKey, ChunkPut, DriveCore, Effect, Input, Need, OpNumber, Purpose, ReadNumber, ReadOutcome,
    Record, RecordKind, Recovered, RecoveryReport, Refusal, Scan, Superblock,
};
use forebay_erasure::crc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::buffer::AlignedBuffer;
use super::device::{Completion, Device, Io};
use super::error::DriveError;
use super::{ChunkRead, DriveFigures, IO_DEADLINE};

/// Where the answer to a request goes, with the request's turn: a caller that has given up waiting still holds its turn
/// until the drive is done with the request.
pub(super) struct Reply<T> {
    to: oneshot::Sender<T>,
    _turn: OwnedSemaphorePermit,
}

impl<T> Reply<T> {
    pub(super) fn new(to: oneshot::Sender<T>, turn: OwnedSemaphorePermit) -> Self {
        Self { to, _turn: turn }
    }

    /// Answers; nobody may be listening any more.
    fn send(self, answer: T) {
        drop(self.to.send(answer));
    }
}

/// What callers ask.
pub(super) enum Request {
    Put(ChunkPut, Reply<Result<(), DriveError>>),
    Get(ChunkKey, Range<u32>, Reply<Result<ChunkRead, DriveError>>),
    Delete(Vec<ChunkKey>, Reply<Result<(), DriveError>>),
    List(Option<ChunkKey>, usize, Reply<(Vec<ChunkKey>, bool)>),
    Info(ChunkKey, Reply<Option<ChunkInfo>>),
    Stats(Reply<DriveFigures>),
    Shutdown(Reply<()>),
}

/// A request the core has not answered yet.
enum Waiting {
    Change(ChunkKey, Reply<Result<(), DriveError>>),
    Get(ChunkKey, Range<u32>, Reply<Result<ChunkRead, DriveError>>),
    /// The mark that closes the drive.
    Close,
}

/// A read under way.
struct Reading {
    purpose: Purpose,
    key: ChunkKey,
    sequence: u64,
    info: ChunkInfo,
    blocks: Range<u32>,
    /// The header block, alone or with the blocks after it; and the blocks, where they are not with it.
    parts: [Option<AlignedBuffer>; 2],
    missing: usize,
    error: Option<io::Error>,
}

/// What an operation at the device is for.
enum Errand {
    Write(u64),
    Flush,
    Read(ReadNumber, usize),
}

/// Whether the drive takes requests.
enum State {
    Open,
    /// What is under way is finished first.
    Draining,
    /// The closing mark is on its way.
    Closing,
    Closed,
}

pub(super) struct Engine {
    path: PathBuf,
    core: DriveCore,
    device: Box<dyn Device>,
    inbox: Receiver<Request>,
    waiting: BTreeMap<OpNumber, Waiting>,
    readings: HashMap<ReadNumber, Reading>,
    /// Operations at the device, oldest first, and when they began.
    errands: BTreeMap<u64, (Instant, Errand)>,
    last_op: OpNumber,
    last_errand: u64,
    state: State,
    closers: Vec<Reply<()>>,
    failure: String,
}

/// Reads what recovery needs. Blocks that cannot be read are damage like any other.
pub(super) fn scan(file: &File, superblock: &Superblock) -> Recovered {
    let mut scan = Scan::new(superblock.layout, superblock.drive);
    while let Need::Read { segment, offset, bytes } = scan.need() {
        let mut buffer = AlignedBuffer::zeroed(bytes as usize);
        let at = superblock.layout.segment_offset(segment) + u64::from(offset);
        let read = file.read_exact_at(buffer.as_mut(), at);
        scan.feed(read.is_ok().then(|| buffer.as_ref()));
    }
    scan.finish()
}

impl Engine {
    pub(super) fn new(
        path: PathBuf,
        device: Box<dyn Device>,
        inbox: Receiver<Request>,
        recovered: Recovered,
        starts: u32,
    ) -> (Self, RecoveryReport) {
        let mut effects = Vec::new();
        let (core, report) = recovered.start(starts, &mut effects);
        let mut engine = Self {
            path,
            core,
            device,
            inbox,
            waiting: BTreeMap::new(),
            readings: HashMap::new(),
            errands: BTreeMap::new(),
            last_op: 0,
            last_errand: 0,
            state: State::Open,
            closers: Vec::new(),
            failure: String::new(),
        };
        engine.perform(effects);
        (engine, report)
    }

    /// Until the drive is closed and nothing is under way.
    pub(super) fn run(&mut self) {
        let mut ended = Vec::new();
        loop {
            self.take_requests();
            self.go_on_closing();
            if matches!(self.state, State::Closed) {
                return;
            }
            if let Err(error) = self.device.wait(Duration::from_secs(1), &mut ended) {
                self.give_up(&format!("waiting for the device: {error}"));
                return;
            }
            for completion in ended.drain(..) {
                self.complete(completion);
            }
            let late = |(since, _): &(Instant, Errand)| since.elapsed() > IO_DEADLINE;
            if self.errands.first_key_value().is_some_and(|(_, errand)| late(errand)) {
                self.give_up(&format!("the device did not answer within {} seconds", IO_DEADLINE.as_secs()));
                return;
            }
        }
    }

    fn take_requests(&mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok(request) => self.take(request),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    if matches!(self.state, State::Open) {
                        self.state = State::Draining;
                    }
                    return;
                }
            }
        }
    }

    fn take(&mut self, request: Request) {
        let is_open = matches!(self.state, State::Open);
        self.last_op += 1;
        let op = self.last_op;
        match request {
            Request::List(after, limit, reply) => reply.send(self.core.list(after, limit)),
            Request::Info(key, reply) => reply.send(self.core.info(key)),
            Request::Stats(reply) => {
                let figures = DriveFigures { core: self.core.stats(), failure: self.failure.clone() };
                reply.send(figures);
            }
            Request::Shutdown(reply) => {
                self.closers.push(reply);
                if is_open {
                    self.state = State::Draining;
                }
            }
            // The reply is dropped, which the caller reads as closed.
            Request::Put(..) | Request::Get(..) | Request::Delete(..) if !is_open => {}
            Request::Put(chunk, reply) => {
                self.waiting.insert(op, Waiting::Change(chunk.key, reply));
                self.step(Input::Put(op, chunk));
            }
            Request::Get(key, blocks, reply) => {
                self.waiting.insert(op, Waiting::Get(key, blocks, reply));
                self.step(Input::Get(op, key));
            }
            Request::Delete(keys, reply) => {
                let Some(&first) = keys.first() else {
                    return reply.send(Ok(()));
                };
                self.waiting.insert(op, Waiting::Change(first, reply));
                self.step(Input::Delete(op, keys));
            }
        }
    }

    fn go_on_closing(&mut self) {
        let idle = self.waiting.is_empty() && self.errands.is_empty();
        match self.state {
            State::Draining if idle => {
                self.state = State::Closing;
                self.last_op += 1;
                self.waiting.insert(self.last_op, Waiting::Close);
                self.step(Input::Shutdown(self.last_op));
            }
            State::Closing if idle => {
                self.state = State::Closed;
                for closer in self.closers.drain(..) {
                    closer.send(());
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.step(input, &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        // What a refused read gives back to the core may lead to more.
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Write { number, segment, offset, head, payload } => {
                    let at = self.core.layout().segment_offset(segment) + u64::from(offset);
                    let buffer = AlignedBuffer::of(&[&head, &payload]);
                    self.begin(Errand::Write(number), Io::Write { at, buffer });
                }
                Effect::Flush => self.begin(Errand::Flush, Io::Flush),
                Effect::Read { read, purpose, key, sequence, segment, offset, info } => {
                    let at = self.core.layout().segment_offset(segment) + u64::from(offset);
                    if let Some(blocks) = self.wanted(purpose, info) {
                        self.begin_read(read, Reading::new(purpose, key, sequence, info, blocks), at);
                    } else {
                        let mut more = Vec::new();
                        self.core.step(Input::ReadDone { read, outcome: ReadOutcome::GivenUp }, &mut more);
                        todo.extend(more);
                    }
                }
                Effect::Done(op, result) => self.answer(op, result.map(|_| ())),
            }
        }
    }

    fn begin(&mut self, errand: Errand, io: Io) {
        self.last_errand += 1;
        self.errands.insert(self.last_errand, (Instant::now(), errand));
        self.device.begin(self.last_errand, io);
    }

    /// The blocks to read; `None` where the caller asked for blocks the chunk does not have, and has been told.
    fn wanted(&mut self, purpose: Purpose, info: ChunkInfo) -> Option<Range<u32>> {
        let all = 0..info.chunk_bytes / BLOCK as u32;
        let Purpose::Get(op) = purpose else {
            return Some(all);
        };
        match self.waiting.get(&op) {
            Some(Waiting::Get(_, blocks, _)) if !blocks.is_empty() && blocks.end <= all.end => Some(blocks.clone()),
            _ => {
                if let Some(Waiting::Get(_, _, reply)) = self.waiting.remove(&op) {
                    let reason = "blocks were asked for that the chunk does not have";
                    reply.send(Err(DriveError::Invalid { reason }));
                }
                None
            }
        }
    }

    fn begin_read(&mut self, read: ReadNumber, mut reading: Reading, at: u64) {
        let wanted = reading.blocks.len() * BLOCK;
        if reading.blocks.start == 0 {
            reading.missing = 1;
            self.begin(Errand::Read(read, 0), Io::Read { at, buffer: AlignedBuffer::zeroed(BLOCK + wanted) });
        } else {
            reading.missing = 2;
            self.begin(Errand::Read(read, 0), Io::Read { at, buffer: AlignedBuffer::zeroed(BLOCK) });
            let at = at + BLOCK as u64 * (1 + u64::from(reading.blocks.start));
            self.begin(Errand::Read(read, 1), Io::Read { at, buffer: AlignedBuffer::zeroed(wanted) });
        }
        self.readings.insert(read, reading);
    }

    fn complete(&mut self, Completion { id, result }: Completion) {
        match self.errands.remove(&id).map(|(_, errand)| errand) {
            None => {}
            Some(Errand::Write(number)) => {
                let ok = self.note("write", result.map(drop));
                self.step(Input::WriteDone { number, ok });
            }
            Some(Errand::Flush) => {
                let ok = self.note("flush", result.map(drop));
                self.step(Input::FlushDone { ok });
            }
            Some(Errand::Read(read, part)) => {
                let Some(reading) = self.readings.get_mut(&read) else {
                    return;
                };
                match result {
                    Ok(buffer) => reading.parts[part] = buffer,
                    Err(error) => reading.error = Some(error),
                }
                reading.missing -= 1;
                if reading.missing == 0
                    && let Some(reading) = self.readings.remove(&read)
                {
                    self.finish_read(read, reading);
                }
            }
        }
    }

    /// Keeps why the device failed, for whoever asks.
    fn note(&mut self, action: &str, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                if self.failure.is_empty() {
                    self.failure = format!("cannot {action}: {error}");
                    tracing::error!(drive = %self.path.display(), failure = %self.failure, "the drive takes no more writes");
                }
                false
            }
        }
    }

    fn finish_read(&mut self, read: ReadNumber, mut reading: Reading) {
        let (key, purpose, info) = (reading.key, reading.purpose, reading.info);
        let failed = reading
            .error
            .take()
            .map(|error| DriveError::Failed { path: self.path.clone(), reason: format!("cannot read: {error}") });
        let result = match failed {
            Some(failed) => Err(failed),
            None => reading.check().map_err(|block| DriveError::Corrupt { stripe: key.0, index: key.1, block }),
        };
        let outcome = match &result {
            Ok((payload, crcs)) => {
                ReadOutcome::Good((purpose == Purpose::Move).then(|| (payload.clone(), crcs.clone())))
            }
            Err(error) => {
                tracing::warn!(drive = %self.path.display(), %error, "a chunk is damaged");
                ReadOutcome::Corrupt
            }
        };
        self.step(Input::ReadDone { read, outcome });
        if let Purpose::Get(op) = purpose
            && let Some(Waiting::Get(_, _, reply)) = self.waiting.remove(&op)
        {
            reply.send(result.map(|(payload, crcs)| ChunkRead { payload, crcs, info }));
        }
    }

    fn answer(&mut self, op: OpNumber, result: Result<(), Refusal>) {
        match self.waiting.remove(&op) {
            Some(Waiting::Change(key, reply)) => reply.send(result.map_err(|refusal| self.error(key, refusal))),
            Some(Waiting::Get(key, _, reply)) => {
                if let Err(refusal) = result {
                    reply.send(Err(self.error(key, refusal)));
                }
            }
            Some(Waiting::Close) | None => {}
        }
    }

    fn error(&self, (stripe, index): ChunkKey, refusal: Refusal) -> DriveError {
        match refusal {
            Refusal::NotFound => DriveError::NotFound { stripe, index },
            Refusal::NoSpace => DriveError::NoSpace { path: self.path.clone() },
            Refusal::StaleEpoch { held } => DriveError::StaleEpoch { stripe, index, held },
            Refusal::Invalid => DriveError::Invalid { reason: "the chunk breaks a limit" },
            Refusal::Failed => DriveError::Failed { path: self.path.clone(), reason: self.failure.clone() },
        }
    }

    /// The device answers no more: everyone is told, nothing is waited for.
    fn give_up(&mut self, why: &str) {
        tracing::error!(drive = %self.path.display(), failure = why, "the drive is given up");
        let failed = || DriveError::Failed { path: self.path.clone(), reason: why.to_owned() };
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            match waiting {
                Waiting::Change(_, reply) => reply.send(Err(failed())),
                Waiting::Get(_, _, reply) => reply.send(Err(failed())),
                Waiting::Close => {}
            }
        }
        self.closers.clear();
    }
}

impl Reading {
    fn new(purpose: Purpose, key: ChunkKey, sequence: u64, info: ChunkInfo, blocks: Range<u32>) -> Self {
        Self { purpose, key, sequence, info, blocks, parts: [None, None], missing: 0, error: None }
    }

    /// The bytes and their CRCs, or the first bad block. A bad header makes every block bad, so the first one wanted.
    fn check(&mut self) -> Result<(Bytes, Vec<u32>), u32> {
        let first = self.blocks.start;
        let head = Bytes::from_owner(self.parts[0].take().ok_or(first)?);
        let record = Record::decode(&head[..BLOCK]).map_err(|_| first)?;
        let RecordKind::Chunk(chunk) = record.kind else {
            return Err(first);
        };
        let crcs = chunk.crcs.get(self.blocks.start as usize..self.blocks.end as usize);
        let crcs = crcs.filter(|_| chunk.key == self.key && record.sequence == self.sequence).ok_or(first)?.to_vec();
        let payload = self.parts[1].take().map_or_else(|| head.slice(BLOCK..), Bytes::from_owner);
        crc::verify(&payload, &crcs).map_err(|bad| first + bad.block)?;
        Ok((payload, crcs))
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
