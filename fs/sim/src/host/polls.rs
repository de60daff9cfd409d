//! The lease service: who is alive, what is asked for, what is given back. The twin of `server`'s `metadata/leases.rs`.

use forebay_types::SessionId;
use forebay_wire::lease::{Known, LeaseReply, LeaseRequest, Standing};

use super::Host;
use super::lead::{CONFIRM_WAIT_NS, Permit};
use crate::event::{Step, Timer};
use crate::net::{Body, Node};

/// A poll that waits for something to tell.
pub(super) struct Poll {
    from: Node,
    id: u64,
    session: SessionId,
    shards: Vec<(Known, bool)>,
    arrived_ns: u64,
    until_ns: u64,
    /// Waits for confirmations only: permits with what is to be said, and until when.
    ending: Option<(Vec<Option<Permit>>, u64, u64)>,
}

impl Host {
    /// A call of the lease service.
    pub(super) fn lease(&mut self, from: Node, id: u64, request: LeaseRequest, timeout_ns: u64, step: &mut Step<'_>) {
        let now = self.now(step);
        match request {
            LeaseRequest::Poll { session, shards, wait_ms } => {
                let wait = (u64::from(wait_ms) * 1_000_000).min(timeout_ns);
                let renew = |known: Known| {
                    let replica = self.replicas.get_mut(&known.shard);
                    let good = replica.is_some_and(|r| r.desk.table.renew(session, known.number, known.seen, now));
                    (known, good)
                };
                let shards = shards.into_iter().map(renew).collect();
                self.polls.push(Poll {
                    from,
                    id,
                    session,
                    shards,
                    arrived_ns: now,
                    until_ns: now + wait,
                    ending: None,
                });
                self.after(step, wait, Timer::Look);
            }
            LeaseRequest::Give { session, shard, number, leases } => {
                if let Some(replica) = self.replicas.get_mut(&shard)
                    && replica.desk.table.knows(session, number)
                {
                    for lease in leases {
                        replica.desk.table.give(session, (lease.fs, lease.ino), lease.keep, lease.number);
                    }
                }
                step.send(self.node(), from, Body::LeaseAnswer { id, reply: LeaseReply::Done });
            }
        }
    }

    /// Answers the polls that have something to tell, or whose time is over.
    pub(super) fn poll_polls(&mut self, step: &mut Step<'_>) {
        let now = self.now(step);
        for mut poll in std::mem::take(&mut self.polls) {
            if poll.ending.is_none() && (now >= poll.until_ns || !self.is_quiet(&poll)) {
                let permit = |(known, good): &(Known, bool)| {
                    let replica = self.replicas.get(&known.shard).filter(|_| *good)?;
                    replica.lead.begin(poll.arrived_ns).ok()
                };
                poll.ending = Some((poll.shards.iter().map(permit).collect(), now, now + CONFIRM_WAIT_NS));
                self.after(step, CONFIRM_WAIT_NS, Timer::Look);
            }
            match self.standings(&poll, now) {
                Some(standings) => {
                    let reply = LeaseReply::Standings(standings);
                    step.send(self.node(), poll.from, Body::LeaseAnswer { id: poll.id, reply });
                }
                None => self.polls.push(poll),
            }
        }
    }

    fn is_quiet(&self, poll: &Poll) -> bool {
        poll.shards.iter().all(|(known, good)| {
            let replica = self.replicas.get(&known.shard).filter(|_| *good);
            replica.is_some_and(|replica| {
                let told = replica.desk.table.revokes(poll.session, known.number);
                told.is_some_and(|(told, _)| told <= known.seen) && replica.lead.ready.is_some()
            })
        })
    }

    /// How the session stands, where this host has led the shard beyond doubt when the session was heard of; not yet
    /// known where that is to be confirmed.
    fn standings(&self, poll: &Poll, now: u64) -> Option<Vec<Standing>> {
        let (permits, asked, until) = poll.ending.as_ref()?;
        let mut standings = Vec::with_capacity(permits.len());
        for ((known, _), permit) in poll.shards.iter().zip(permits) {
            let (Some(permit), Some(replica)) = (permit, self.replicas.get(&known.shard)) else {
                standings.push(Standing::Unknown);
                continue;
            };
            let standing = replica.desk.table.revokes(poll.session, known.number);
            let allowed = replica.lead.allows(*permit, *asked);
            match standing {
                Some((told, revokes)) if allowed => standings.push(Standing::Good { told, revokes }),
                Some(_) if replica.lead.is_of(*permit) && now < *until => return None,
                _ => standings.push(Standing::Unknown),
            }
        }
        Some(standings)
    }
}
