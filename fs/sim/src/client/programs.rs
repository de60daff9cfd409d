//! Programs of a client: each asks for one thing after the other, and calls are tried again until they are answered or
//! the deadline passes. The twin of `Shards::call_in` in `client`'s `shard.rs`.

use std::collections::VecDeque;

use forebay_types::{Cred, Epoch, NewMode, OpId, ShardId, Timestamp};
use forebay_wire::meta::{
    MetaAnswer, MetaCall, MetaError, MetaReply, MetaRequest, MutateOp, Mutation, NewNode, ReadOp, SetAttr, SetTime,
};

use super::answers::{self, Changing};
use super::{Client, For, OutCall, RETRY_FIRST_NS, RETRY_LONGEST_NS, SHARD_TIMEOUT_NS, TIMEOUT_NS};
use crate::event::{Step, Timer};
use crate::faults::Sabotage;
use crate::history::{Found, Op};
use crate::host::FS;
use crate::net::{Body, Node};

/// Runs one operation after the other.
#[derive(Default)]
pub(super) struct Program {
    doing: Option<Doing>,
    /// What it does before anything else.
    next: VecDeque<Op>,
    number: u64,
}

/// An operation under way.
pub(super) struct Doing {
    pub record: usize,
    pub op: Op,
    pub changing: Changing,
    /// How often the session had introduced itself to the shard's leaders when it began.
    pub introductions: u64,
    shard: ShardId,
    call: MetaCall,
    sequence: Option<u64>,
    until: u64,
    pause: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Called,
    /// Until the session is known to the shard's leader; then perhaps a pause.
    Introducing {
        pause: bool,
    },
    Pausing,
}

impl Program {
    pub fn is_idle(&self) -> bool {
        self.doing.is_none() && self.next.is_empty()
    }

    /// What it waits for.
    pub fn waits_for(&self) -> Option<String> {
        let doing = self.doing.as_ref()?;
        Some(format!("{:?} at {}, {:?}", doing.op, doing.shard, doing.state))
    }

    /// Whether it opens or closes an inode: nobody else does then.
    fn handles(&self, op: &Op) -> bool {
        let of = |op: &Op| match op {
            Op::Open { ino, .. } | Op::Close { ino } | Op::Reopen { ino } | Op::Forget { ino } => Some(*ino),
            _ => None,
        };
        let ino = of(op);
        let doing = self.doing.as_ref().map(|doing| &doing.op);
        ino.is_some() && doing.into_iter().chain(&self.next).any(|other| of(other) == ino)
    }
}

impl Client {
    /// A program does nothing for a while.
    pub(super) fn rest(&mut self, n: usize, step: &mut Step<'_>) {
        let number = self.number();
        self.programs[n].number = number;
        let think = if self.programs[n].next.is_empty() { step.dice.below(step.faults.think_ns) } else { 0 };
        self.after(step, think, Timer::Program(n, number));
    }

    /// Has the first program do these, one after the other.
    pub fn ask(&mut self, ops: impl IntoIterator<Item = Op>, step: &mut Step<'_>) {
        self.programs[0].next.extend(ops);
        if self.programs[0].doing.is_none() {
            self.rest(0, step);
        }
    }

    /// A program does this next.
    pub(super) fn then(&mut self, n: usize, op: Op) {
        self.programs[n].next.push_back(op);
    }

    pub(super) fn program_wakes(&mut self, n: usize, number: u64, step: &mut Step<'_>) {
        if self.programs[n].number != number {
            return;
        }
        if let Some(doing) = &self.programs[n].doing {
            if doing.state == State::Pausing {
                self.send(n, step);
            }
            return;
        }
        let op = match self.programs[n].next.pop_front() {
            Some(op) => Some(op),
            None if self.quiet => return,
            None => {
                let open: Vec<_> = self.opens.keys().copied().collect();
                let op = self.workload.choose(step.dice, &open);
                Some(op).filter(|op| !self.programs.iter().any(|program| program.handles(op)))
            }
        };
        match op {
            Some(op) => self.begin(n, op, step),
            None => self.rest(n, step),
        }
    }

    fn begin(&mut self, n: usize, op: Op, step: &mut Step<'_>) {
        let record = step.history.begin(self.id, op.clone(), step.now);
        if let Some(found) = self.answer_here(&op, step) {
            step.history.records[record].believed = true;
            // Who was shut out and does not know it yet may be wrong.
            if !step.ended.contains(&self.session) {
                step.history.end(record, step.now, found);
            }
            return self.rest(n, step);
        }
        if let Op::Close { ino } = &op
            && !self.close(*ino)
        {
            // Others have it open still.
            step.history.end(record, step.now, Found::Done);
            return self.rest(n, step);
        }
        let changing = self.begin_changes(&op, step);
        let (shard, what) = request(&op);
        let mut sequence = None;
        let call = match what {
            Request::Read(read) => {
                self.note_opening(&op);
                MetaCall::Read { fs: FS, session: self.session, cred: Cred::ROOT, op: read }
            }
            Request::Mutate(mutate) => {
                self.last_sequence += 1;
                self.unanswered.insert(self.last_sequence);
                sequence = Some(self.last_sequence);
                let id = OpId { session: self.session, sequence: self.last_sequence };
                step.history.name(record, id);
                let acknowledged_below = self.unanswered.first().copied().unwrap_or(self.last_sequence + 1);
                MetaCall::Mutate(Box::new(Mutation { fs: FS, id, acknowledged_below, cred: Cred::ROOT, op: mutate }))
            }
        };
        let introductions = self.introduced.get(&shard).copied().unwrap_or(0);
        let until = self.now(step) + TIMEOUT_NS;
        let (pause, state) = (RETRY_FIRST_NS, State::Called);
        let doing = Doing { record, op, changing, introductions, shard, call, sequence, until, pause, state };
        self.programs[n].doing = Some(doing);
        self.send(n, step);
    }

    /// Calls the shard's leader.
    fn send(&mut self, n: usize, step: &mut Step<'_>) {
        let now = self.now(step);
        let Some(shard) = self.programs[n].doing.as_ref().map(|doing| doing.shard) else { return };
        let number = self.cache.number(shard);
        if number == 0 {
            self.set(n, State::Introducing { pause: false });
            return self.introduce(shard, 0, step);
        }
        let (host, id) = (self.leader(shard), self.number());
        let ticket = Some(self.cache.begin(shard));
        if step.sabotage == Some(Sabotage::FreshNumbers) {
            self.renumber(n, step);
        }
        let Some(doing) = &self.programs[n].doing else { return };
        let timeout_ns = doing.until.saturating_sub(now).min(SHARD_TIMEOUT_NS);
        let request = MetaRequest { shard, epoch: Epoch(0), number, call: doing.call.clone() };
        self.calls.insert(id, OutCall { purpose: For::Program(n), host, shard, ticket, number });
        self.set(n, State::Called);
        step.send(self.node(), Node::Host(host), Body::Call { id, request, timeout_ns });
        self.after(step, timeout_ns, Timer::Call(id));
    }

    /// Sends what was sent before as something new.
    fn renumber(&mut self, n: usize, step: &mut Step<'_>) {
        self.last_sequence += 1;
        let id = OpId { session: self.session, sequence: self.last_sequence };
        let Some(doing) = &mut self.programs[n].doing else { return };
        if let MetaCall::Mutate(mutation) = &mut doing.call {
            mutation.id = id;
            step.history.name(doing.record, id);
        }
    }

    fn set(&mut self, n: usize, state: State) {
        if let Some(doing) = &mut self.programs[n].doing {
            doing.state = state;
        }
    }

    fn end_ticket(&mut self, call: &OutCall) {
        if let Some(ticket) = call.ticket {
            self.cache.end(ticket);
        }
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, n: usize, call: OutCall, answer: MetaAnswer, step: &mut Step<'_>) {
        let error = match &answer.reply {
            MetaReply::Error(MetaError::Posix(_)) => None,
            MetaReply::Error(error) => Some(error.clone()),
            _ => None,
        };
        let Some(error) = error else {
            self.learn(&call, &answer);
            self.end_ticket(&call);
            return self.finish(n, Some(answer), step);
        };
        self.end_ticket(&call);
        match error {
            MetaError::SessionEnded(_) => self.start(step),
            MetaError::NotIntroduced { .. } => {
                self.set(n, State::Introducing { pause: true });
                self.introduce(call.shard, call.number, step);
                if !self.introductions.contains_key(&call.shard) {
                    self.pause(n, step);
                }
            }
            MetaError::NotServed { leader, .. } => {
                self.not_leader(call.shard, call.host, leader);
                self.pause(n, step);
            }
            _ => self.pause(n, step),
        }
    }

    fn learn(&mut self, call: &OutCall, answer: &MetaAnswer) {
        let Some(ticket) = call.ticket else { return };
        for grant in &answer.grants {
            self.cache.learn(ticket, call.number, &grant.attr, grant.mode);
        }
        for ino in &answer.stale {
            self.cache.give_up(*ino, None);
        }
    }

    pub(super) fn not_answered(&mut self, n: usize, call: OutCall, step: &mut Step<'_>) {
        self.end_ticket(&call);
        self.not_leader(call.shard, call.host, None);
        self.pause(n, step);
    }

    /// Waits before the next attempt, or gives up.
    fn pause(&mut self, n: usize, step: &mut Step<'_>) {
        let (now, number) = (self.now(step), self.number());
        let Some(doing) = &mut self.programs[n].doing else { return };
        let pause = doing.pause;
        if now + pause >= doing.until {
            return self.finish(n, None, step);
        }
        doing.pause = (pause * 2).min(RETRY_LONGEST_NS);
        doing.state = State::Pausing;
        self.programs[n].number = number;
        self.after(step, pause, Timer::Program(n, number));
    }

    /// An introduction to a shard's leader has ended in some way: whoever waited for it goes on.
    pub(super) fn introduction_over(&mut self, shard: ShardId, step: &mut Step<'_>) {
        let now = self.now(step);
        for n in 0..self.programs.len() {
            let Some(doing) = self.programs[n].doing.as_ref().filter(|doing| doing.shard == shard) else { continue };
            let late = now >= doing.until;
            match doing.state {
                State::Introducing { .. } if late => self.finish(n, None, step),
                State::Introducing { pause: true } => self.pause(n, step),
                State::Introducing { pause: false } => self.send(n, step),
                State::Called | State::Pausing => {}
            }
        }
    }

    /// An operation is over; without an answer nobody knows how.
    fn finish(&mut self, n: usize, answer: Option<MetaAnswer>, step: &mut Step<'_>) {
        let Some(doing) = self.programs[n].doing.take() else { return };
        if let Some(sequence) = doing.sequence {
            self.unanswered.remove(&sequence);
        }
        let found = answer.as_ref().map(|answer| answers::found(&answer.reply));
        if let Some(found) = &found {
            step.history.end(doing.record, step.now, found.clone());
            self.workload.learn(&doing.op, found, step.dice);
        }
        self.conclude(n, &doing, answer.as_ref(), found.as_ref(), step);
        self.rest(n, step);
    }
}

enum Request {
    Read(ReadOp),
    Mutate(MutateOp),
}

/// What is asked of which shard.
fn request(op: &Op) -> (ShardId, Request) {
    let mode = NewMode::from(0o755);
    match op.clone() {
        Op::Create { at: (parent, name), exclusive, open } => {
            let node = NewNode::File;
            let create = MutateOp::Create { parent, name, node, mode, exclusive, open, content: None };
            (parent.shard(), Request::Mutate(create))
        }
        Op::Mkdir { at: (parent, name) } => (parent.shard(), Request::Mutate(MutateOp::Mkdir { parent, name, mode })),
        Op::Unlink { at: (parent, name) } => (parent.shard(), Request::Mutate(MutateOp::Unlink { parent, name })),
        Op::Rmdir { at: (parent, name) } => (parent.shard(), Request::Mutate(MutateOp::Rmdir { parent, name })),
        Op::Rename { from: (parent, name), to: (new_parent, new_name), how } => {
            (parent.shard(), Request::Mutate(MutateOp::Rename { parent, name, new_parent, new_name, how }))
        }
        Op::Link { ino, at: (parent, name) } => (parent.shard(), Request::Mutate(MutateOp::Link { ino, parent, name })),
        Op::SetAttr { ino, mark } => {
            let mtime = Some(SetTime::At(Timestamp { secs: mark, nanos: 0 }));
            (ino.shard(), Request::Mutate(MutateOp::SetAttr { ino, set: SetAttr { mtime, ..SetAttr::default() } }))
        }
        Op::Lookup { at: (parent, name) } => (parent.shard(), Request::Read(ReadOp::Lookup { parent, name })),
        Op::GetAttr { ino } => (ino.shard(), Request::Read(ReadOp::GetAttr { ino })),
        Op::ReadDir { dir } => {
            let read = ReadOp::ReadDir { dir, after: 2, limit: 1_000, with_attrs: true };
            (dir.shard(), Request::Read(read))
        }
        Op::Open { ino, write } => (ino.shard(), Request::Read(ReadOp::Open { ino, read: true, write })),
        Op::Reopen { ino } => (ino.shard(), Request::Read(ReadOp::Open { ino, read: false, write: false })),
        Op::Close { ino } | Op::Forget { ino } => (ino.shard(), Request::Read(ReadOp::Close { ino })),
    }
}

/// Whether an answer says that something is not there.
pub(super) fn is_missing(found: Option<&Found>) -> bool {
    matches!(found, Some(Found::Refused(forebay_types::Errno::NoEntry)))
}
