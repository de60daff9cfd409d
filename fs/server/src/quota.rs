//! Sharing quotas out over the shards: done by the host that leads shard 0, which has their definitions.
//!
//! Every round it asks all shards what they have of each owner with a quota, and tells them what they may have from then
//! on ([`forebay_meta::decide`]). A decision names the one that it follows, so of two hosts that both believe to lead for
//! a moment one is refused. What a shard that does not answer has been given stays given.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use forebay_client::{ClientError, Filesystem};
use forebay_meta::{Decision, decide};
use forebay_types::{Errno, FsId, Owner, ShardId, Space, Timestamp, limits};
use forebay_wire::meta::{OwnerUsage, QuotaChange, QuotaState};

use crate::host::Member;

/// Time between rounds.
const INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait for a shard in a round: one whose leader has died is asked again in the next.
const TIMEOUT: Duration = Duration::from_secs(2);

type Usage = BTreeMap<ShardId, OwnerUsage>;

/// What is known of a filesystem's quotas.
struct Sharing {
    fs: Filesystem,
    /// What each shard said last.
    usage: BTreeMap<Owner, Usage>,
}

impl Drop for Sharing {
    fn drop(&mut self) {
        let fs = self.fs.clone();
        tokio::spawn(async move { fs.abandon().await });
    }
}

impl Member {
    /// Shares quotas out, for ever, while this host leads shard 0.
    pub(crate) async fn share_quotas(self: Arc<Self>) {
        let mut timer = tokio::time::interval(INTERVAL);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sharing: BTreeMap<FsId, Sharing> = BTreeMap::new();
        loop {
            timer.tick().await;
            let mut quotas: BTreeMap<FsId, Vec<QuotaState>> = BTreeMap::new();
            match self.metadata.read_led(ShardId(0), |shard| shard.quotas()).await {
                Some(Ok(all)) => all.into_iter().for_each(|(fs, state)| quotas.entry(fs).or_default().push(state)),
                Some(Err(error)) => tracing::error!(%error, "quotas cannot be read"),
                None => {}
            }
            sharing.retain(|fs, _| quotas.contains_key(fs));
            for (fs, states) in quotas {
                if let Err(error) = self.share_quotas_of(&mut sharing, fs, &states).await {
                    tracing::debug!(%fs, %error, "quotas are shared out in the next round");
                    // Its session may have ended.
                    sharing.remove(&fs);
                }
            }
        }
    }

    async fn share_quotas_of(
        &self,
        sharing: &mut BTreeMap<FsId, Sharing>,
        id: FsId,
        states: &[QuotaState],
    ) -> Result<(), ClientError> {
        let sharing = match sharing.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let map = self.client.map().await?;
                let Some(entry) = map.filesystems.iter().find(|fs| fs.id == id) else { return Ok(()) };
                let fs = Filesystem::mount(&self.client, &entry.name, "quotas").await?;
                new.insert(Sharing { fs, usage: BTreeMap::new() })
            }
        };
        let known = |owner: &Owner| states.iter().any(|state| state.owner == *owner);
        sharing.usage.retain(|owner, _| known(owner));
        for states in states.chunks(limits::OWNERS_PER_MESSAGE) {
            sharing.round(states, self.metadata.now()).await?;
        }
        Ok(())
    }
}

impl Sharing {
    async fn round(&mut self, states: &[QuotaState], now: Timestamp) -> Result<(), ClientError> {
        let owners: Vec<Owner> = states.iter().map(|state| state.owner).collect();
        let shards: Vec<ShardId> = self.fs.cluster().map().await?.shards.iter().map(|shard| shard.id).collect();
        let ask = |shard: ShardId| {
            let (fs, owners) = (&self.fs, &owners);
            async move { (shard, tokio::time::timeout(TIMEOUT, fs.owner_usage_in(shard, owners)).await) }
        };
        let answers = futures::future::join_all(shards.iter().map(|shard| ask(*shard))).await;
        let mut before: BTreeMap<Owner, BTreeMap<ShardId, Space>> = BTreeMap::new();
        for (owner, usage) in &self.usage {
            before.insert(*owner, usage.iter().map(|(shard, usage)| (*shard, usage.used)).collect());
        }
        let mut answered = Vec::new();
        for (shard, answer) in answers {
            let usage = match answer {
                Ok(Ok(usage)) => usage,
                Ok(Err(ClientError::SessionEnded)) => return Err(ClientError::SessionEnded),
                _ => continue,
            };
            answered.push(shard);
            for (owner, usage) in owners.iter().zip(usage) {
                self.usage.entry(*owner).or_default().insert(shard, usage);
            }
        }
        for state in states {
            let usage = self.usage.entry(state.owner).or_default();
            // Nothing is given out where it is not known what was.
            if usage.len() < shards.len() {
                continue;
            }
            let none = BTreeMap::new();
            let before = before.get(&state.owner).unwrap_or(&none);
            share_one(&self.fs, state, usage, before, (&answered, now)).await?;
        }
        Ok(())
    }
}

/// Tells the shards that answered what they may have of one quota from now on.
async fn share_one(
    fs: &Filesystem,
    state: &QuotaState,
    usage: &Usage,
    before: &BTreeMap<ShardId, Space>,
    (answered, now): (&[ShardId], Timestamp),
) -> Result<(), ClientError> {
    let owner = state.owner;
    let used = usage.values().fold(Space::default(), |sum, usage| sum.plus(usage.used));
    let over = state.quota.map(|quota| quota.over(used, &state.over, now)).unwrap_or_default();
    if state.quota.is_some() && over != state.over {
        tracing::info!(%owner, ?used, ?over, "soft limit");
        ignore_absent(fs.change_quota(QuotaChange::Over { owner, over }).await)?;
    }
    if state.quota.is_some() && state.is_whole && used.inodes == 0 && matches!(owner, Owner::Directory(_)) {
        // The directory itself would count.
        tracing::info!(%owner, "it was removed, and its quota goes too");
        return ignore_absent(fs.change_quota(QuotaChange::Unset { owner }).await);
    }
    let limits = state.quota.map(|quota| quota.in_force(&over, now));
    let decisions = decide(limits, usage, before);
    if decisions.is_empty() && limits.is_none() {
        return ignore_absent(fs.change_quota(QuotaChange::Forget { owner }).await);
    }
    let told = decisions.into_iter().filter(|decision| answered.contains(&decision.shard));
    let tell = |Decision { shard, after, budget }: Decision| async move {
        let told = fs.share_quota(shard, QuotaChange::Share { owner, after, budget });
        match tokio::time::timeout(TIMEOUT, told).await {
            // Somebody else has decided meanwhile, or it is told with the next round.
            Ok(Err(ClientError::Posix(Errno::Again))) | Err(_) => Ok(()),
            Ok(result) => result,
        }
    };
    futures::future::try_join_all(told.map(tell)).await.map(drop)
}

/// The quota was removed meanwhile.
fn ignore_absent(result: Result<(), ClientError>) -> Result<(), ClientError> {
    match result {
        Err(ClientError::Posix(Errno::NoEntry)) => Ok(()),
        result => result,
    }
}
