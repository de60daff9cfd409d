//! The thread that drives all replicas of a host: takes in what has arrived, stores what all of them must keep with one
//! flush, applies what is committed, answers. While it flushes the next batch gathers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_consensus::{Outcome, next_change};
use forebay_env::{Batch, Durability, Kv};
use forebay_meta::{Effect, Input, ReceiptKey, ShardConfig, Staging};
use forebay_types::{HostId, ShardId};
use forebay_wire::cluster::UnwantedReplica;
use forebay_wire::map::HostState;
use forebay_wire::meta::{MetaError, MetaReply};
use forebay_wire::raft::{MembersChange, RaftBody, RaftMessage};
use tokio::sync::mpsc;

use super::outbox::Outbox;
use super::pulse::Pulse;
use super::replica::{Replica, Todo, Waiter, answer};
use super::transport::Transport;
use super::{TICK_LEAST, Table, TookOver, read_lock, transfer};
use crate::clock::Clock;
use crate::peers::SharedMap;
use crate::placement::MapPlacement;

/// Most works of one turn.
const BATCH: usize = 512;
/// Ticks between confirmations that this host leads.
pub(super) const CONFIRM_TICKS: u32 = 2;
/// Ticks between looks at who should be a member and who should lead.
const BALANCE_TICKS: u32 = 20;
/// Ticks a replica leads before it hands over to the host that should.
const LEAD_TICKS: u32 = 100;

/// What the driver is given to do.
pub(crate) enum Work {
    /// An input for a shard, and who waits for the answer.
    Input { shard: ShardId, input: Input, waiter: Waiter },
    /// Messages of other replicas.
    Messages(Vec<RaftMessage>),
    /// Time passes.
    Tick,
    /// Messages to a host were lost.
    Unreachable { host: HostId, shards: BTreeSet<ShardId> },
    /// A state was fetched, or not.
    Fetched { shard: ShardId, from: HostId, staging: Result<Staging, String> },
    /// A replica fetches the state of a shard from here.
    FetchGoesOn { shard: ShardId, by: HostId },
    /// A replica here is no member of its group any more.
    Unwanted(UnwantedReplica),
    /// Nothing is left of a replica that was erased.
    Erased { shard: ShardId },
    /// The host stops.
    Stop,
}

/// See the module.
pub(super) struct Driver {
    pub me: HostId,
    pub table: Table,
    pub replicas: BTreeMap<ShardId, Replica>,
    pub kv: Arc<dyn Kv>,
    pub clock: Arc<Clock>,
    pub map: SharedMap,
    pub receipt_key: ReceiptKey,
    pub placement: MapPlacement,
    pub client: forebay_client::Cluster,
    pub outbox: Outbox,
    pub transport: Transport,
    pub pulse: Arc<Pulse>,
    /// Shards whose rows are being erased: nothing is taken in for them meanwhile.
    pub erasing: BTreeSet<ShardId>,
    pub took_over: TookOver,
    pub runtime: tokio::runtime::Handle,
    pub queue: mpsc::WeakSender<Work>,
    pub ticks: u32,
    pub last_tick_ns: u64,
    pub dice: u64,
}

impl Driver {
    /// Drives until it is told to stop, or the store has failed: then nothing more can be promised.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Work>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut next = Some(first);
            for _ in 0..BATCH {
                let Some(work) = next.take() else { break };
                if matches!(work, Work::Stop) {
                    return;
                }
                self.take(work);
                next = inbox.try_recv().ok();
            }
            // The last one received may have found no room in this turn.
            if let Some(work) = next {
                if matches!(work, Work::Stop) {
                    return;
                }
                self.take(work);
            }
            if let Err(reason) = self.turn() {
                tracing::error!(
                    reason,
                    "the metadata store failed: this host serves no metadata until it is restarted"
                );
                self.table.clear();
                return;
            }
        }
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Input { shard, input, waiter } => self.input(shard, input, waiter),
            Work::Messages(messages) => messages.into_iter().for_each(|message| self.message(message)),
            Work::Tick => self.tick(),
            Work::Unreachable { host, shards } => {
                for shard in shards {
                    self.with(shard, |replica| replica.group.unreachable(host));
                }
            }
            Work::Fetched { shard, from, staging } => self.fetched(shard, from, staging),
            Work::FetchGoesOn { shard, by } => self.with(shard, |replica| replica.group.fetch_goes_on(by)),
            Work::Unwanted(replica) => self.unwanted(replica),
            Work::Erased { shard } => drop(self.erasing.remove(&shard)),
            Work::Stop => {}
        }
    }

    fn with(&mut self, shard: ShardId, act: impl FnOnce(&mut Replica)) {
        if let Some(replica) = self.replicas.get_mut(&shard) {
            act(replica);
        }
    }

    fn input(&mut self, shard: ShardId, input: Input, waiter: Waiter) {
        let epoch = self.map.epoch();
        match self.replicas.get_mut(&shard) {
            Some(replica) if replica.leads() => replica.propose(&self.clock, &self.placement, input, waiter),
            Some(replica) => answer(waiter, replica.not_served(epoch)),
            None => answer(waiter, MetaReply::Error(MetaError::NotServed { shard, epoch, leader: None })),
        }
    }

    fn message(&mut self, message: RaftMessage) {
        let (shard, from, to) = (message.shard, message.from, message.to);
        if to != self.me || !self.open(shard) {
            return;
        }
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        if replica.group.step(message) && !replica.fetching {
            replica.fetching = true;
            self.fetch(shard, from);
        }
    }

    /// Makes sure that there is a replica, if there is such a shard.
    fn open(&mut self, shard: ShardId) -> bool {
        if self.replicas.contains_key(&shard) {
            return true;
        }
        let map = self.map.get();
        if usize::from(shard.0) >= map.shards.len() || self.erasing.contains(&shard) {
            return false;
        }
        let config = ShardConfig { shard, shard_count: map.shards.len() as u16, receipt_key: self.receipt_key.clone() };
        match Replica::open(self.kv.clone(), config, self.me, false) {
            Ok(replica) => {
                tracing::info!(%shard, "new replica");
                self.table.add(replica.served.clone());
                self.replicas.insert(shard, replica);
                true
            }
            Err(error) => {
                tracing::error!(%shard, %error, "replica cannot be opened");
                false
            }
        }
    }

    fn fetch(&self, shard: ShardId, from: HostId) {
        let address = self.map.get().host(from).map(|host| host.address.clone());
        let (client, kv, queue) = (self.client.clone(), self.kv.clone(), self.queue.clone());
        self.runtime.spawn(async move {
            let staging = match address {
                Some(address) => transfer::fetch(&client, &address, shard, kv).await,
                None => Err(format!("{from} is not in the map")),
            };
            if let Some(queue) = queue.upgrade() {
                // The driver ends with the host.
                let _ = queue.send(Work::Fetched { shard, from, staging }).await;
            }
        });
    }

    fn fetched(&mut self, shard: ShardId, from: HostId, staging: Result<Staging, String>) {
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        replica.fetching = false;
        let term = replica.group.standing().term;
        let taken = staging.and_then(|staging| replica.fetched(from, staging).map_err(|error| error.to_string()));
        if let Err(reason) = taken {
            tracing::warn!(%shard, %from, reason, "the shard's state cannot be fetched, the leader will ask again");
            self.transport.send(RaftMessage { shard, from: self.me, to: from, term, body: RaftBody::StateFailed });
        }
    }

    /// Erases a replica that should not be here any more.
    fn unwanted(&mut self, unwanted: UnwantedReplica) {
        let UnwantedReplica { shard, term, applied } = unwanted;
        let wanted = self.map.get().shards.get(usize::from(shard.0)).is_none_or(|s| s.replicas.contains(&self.me));
        let Some(replica) = self.replicas.get(&shard) else { return };
        if wanted || replica.fetching {
            return;
        }
        let mut batch = Batch::default();
        forebay_meta::forget(shard, &mut batch);
        match replica.group.forget(&mut batch, term, applied) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!(%shard, %error, "an unwanted replica cannot be erased"),
        }
        if let Err(error) = self.kv.write(batch, Durability::Flushed) {
            // It is still whole, or it is gone: nothing in between.
            return tracing::error!(%shard, %error, "an unwanted replica cannot be erased");
        }
        tracing::info!(%shard, "the replica has moved to another host and is erased");
        self.table.remove(shard);
        self.replicas.remove(&shard);
        self.erasing.insert(shard);
        let (kv, outbox) = (self.kv.clone(), self.queue.clone());
        self.runtime.spawn_blocking(move || {
            if let Err(error) = forebay_meta::erase(&*kv, shard) {
                tracing::error!(%shard, %error, "rows of an erased replica are left until the next start");
            }
            if let Some(queue) = outbox.upgrade() {
                // The driver ends with the host; then the next start goes on.
                let _ = queue.blocking_send(Work::Erased { shard });
            }
        });
    }

    fn tick(&mut self) {
        let now = self.clock.nanos();
        // Ticks that come late are not made up for: time that seems to pass too fast would break promises.
        if now.saturating_sub(self.last_tick_ns) < TICK_LEAST.as_nanos() as u64 {
            return;
        }
        self.last_tick_ns = now;
        self.ticks = self.ticks.wrapping_add(1);
        let mut seed = self.dice;
        let mut dice = |sides: u32| {
            // xorshift64 (Marsaglia, 2003)
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (((seed >> 32) * u64::from(sides)) >> 32) as u32
        };
        for replica in self.replicas.values_mut() {
            replica.group.tick(&mut dice);
            if self.ticks.is_multiple_of(CONFIRM_TICKS) {
                replica.group.confirm(now);
            }
        }
        self.dice = seed;
        if self.ticks.is_multiple_of(BALANCE_TICKS) {
            self.balance();
        }
    }

    /// Brings members and leaders nearer to what the map says.
    fn balance(&mut self) {
        let map = self.map.get();
        let mine: Vec<ShardId> =
            map.shards.iter().filter(|shard| shard.replicas.contains(&self.me)).map(|shard| shard.id).collect();
        for shard in mine {
            self.open(shard);
        }
        let up = |host: HostId| map.host(host).is_some_and(|entry| entry.state == HostState::Up);
        let slow = |host: HostId| map.host(host).is_some_and(|entry| entry.slow);
        for (id, replica) in &mut self.replicas {
            let Some(wanted) = map.shards.get(usize::from(id.0)).map(|shard| &shard.replicas) else { continue };
            if !replica.leads() {
                continue;
            }
            replica.led_ticks = replica.led_ticks.saturating_add(BALANCE_TICKS);
            let members = replica.group.standing().members;
            let able = |host: &&HostId| {
                **host != self.me && up(**host) && members.voters.contains(host) && replica.group.caught_up(**host)
            };
            let quick = |host: &&HostId| able(host) && !slow(**host);
            let settled = replica.led_ticks >= LEAD_TICKS;
            let better = if !wanted.contains(&self.me) {
                wanted.iter().find(quick).or_else(|| wanted.iter().find(able))
            } else if slow(self.me) {
                wanted.iter().find(quick)
            } else {
                wanted.first().filter(|_| settled).filter(quick)
            };
            if let Some(&host) = better {
                tracing::info!(shard = %id, to = %host, "handing over");
                replica.hand_over(host);
                continue;
            }
            match next_change(&members, wanted, self.me, &|host| replica.group.caught_up(host)) {
                // What it said before it was removed may still be on its way.
                Some(MembersChange::AddLearner(host)) if replica.removed_lately(host) => {}
                // Refused while the one before is under way.
                Some(change) => drop(replica.group.change_members(change)),
                None => {}
            }
        }
    }

    /// Stores, sends and applies until nothing is left to do.
    fn turn(&mut self) -> Result<(), String> {
        loop {
            let mut batch = Batch::default();
            let mut flush = false;
            let mut under_way = Vec::new();
            for (&id, replica) in &mut self.replicas {
                replica.truncate(&mut batch).map_err(|error| error.to_string())?;
                if !replica.group.has_ready() {
                    continue;
                }
                let mut out = Outcome::default();
                flush |= replica.collect(&mut batch, &mut out);
                send(&mut self.transport, replica, &mut out);
                under_way.push((id, out));
            }
            if under_way.is_empty() && batch.is_empty() {
                return Ok(());
            }
            if !batch.is_empty() {
                let durability = if flush { Durability::Flushed } else { Durability::Buffered };
                let since = std::time::Instant::now();
                self.kv.write(batch, durability).map_err(|error| error.to_string())?;
                if flush {
                    self.pulse.flushed(since.elapsed());
                }
            }
            for (id, mut out) in under_way {
                let Some(replica) = self.replicas.get_mut(&id) else { continue };
                let todo = replica.settle(&mut out, self.clock.nanos()).map_err(|error| error.to_string())?;
                send(&mut self.transport, replica, &mut out);
                self.see_to(id, todo)?;
            }
        }
    }

    fn see_to(&mut self, id: ShardId, todo: Todo) -> Result<(), String> {
        let Some(replica) = self.replicas.get(&id) else { return Ok(()) };
        if id == ShardId(0) && todo.cluster_changed {
            self.learn_map(id)?;
        }
        if !replica.leads() {
            return Ok(());
        }
        if todo.took_over {
            let steps = read_lock(&replica.served.shard).outbox(usize::MAX).map_err(|error| error.to_string())?;
            steps.into_iter().for_each(|(to, step)| self.outbox.send(id, to, step));
            (self.took_over)(id);
        }
        for effect in todo.effects {
            match effect {
                Effect::Send { to, step } => self.outbox.send(id, to, step),
                // Otherwise it goes when its last open ends.
                Effect::Orphaned { fs, ino } if !replica.served.opens().is_open(fs, ino) => {
                    self.outbox.submit(Work::Input { shard: id, input: Input::Reap { fs, ino }, waiter: None });
                }
                Effect::Orphaned { .. } | Effect::Reply { .. } | Effect::Opened { .. } => {}
                Effect::Wanted { fs, owner, wanted } => {
                    replica.served.wants.note(fs, owner, wanted, self.clock.nanos())
                }
                Effect::SessionEnded { session } => tracing::debug!(%session, shard = %id, "session ended"),
            }
        }
        Ok(())
    }

    /// The map that the cluster group has decided on is the map.
    fn learn_map(&self, id: ShardId) -> Result<(), String> {
        let Some(replica) = self.replicas.get(&id) else { return Ok(()) };
        let shard = read_lock(&replica.served.shard);
        let map = forebay_cluster::Cluster::load_map(&shard.cluster_state()).map_err(|error| error.to_string())?;
        drop(shard);
        if let Some(map) = map.filter(|map| map.epoch > self.map.epoch()) {
            // Kept for the next start; the group's own state is what counts.
            self.kv.write(crate::identity::map_batch(&map), Durability::Buffered).map_err(|error| error.to_string())?;
            crate::peers::log_changes(&self.map.get(), &map);
            self.map.learn(&map);
            self.client.learn(map);
        }
        Ok(())
    }
}

fn send(transport: &mut Transport, replica: &mut Replica, out: &mut Outcome) {
    for message in out.messages.drain(..) {
        let to = message.to;
        if !transport.send(message) {
            replica.group.unreachable(to);
        }
    }
}
