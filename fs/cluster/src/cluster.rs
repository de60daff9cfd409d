//! The cluster group's state machine.

use std::collections::BTreeMap;

use forebay_env::{Batch, Kv, KvError};
use forebay_types::{FsId, HostId, TierId};
use forebay_wire::chunk::DriveStats;
use forebay_wire::cluster::{
    AdminRequest, AttachTier, ClusterError, ClusterReply, ClusterRequest, ClusterStatus, Heartbeat, ReplicaStatus,
};
use forebay_wire::map::{ClusterMap, DriveState, FsEntry, HostState, TierEntry};

use crate::answers::{self, Answers};
use crate::form::check_name;
use crate::hosts::Ids;
use crate::placement;
use crate::sessions::{self, SESSION_TIMEOUT_MS, Sessions};
use crate::slow::Detector;

/// A host not heard of for this long is down, in milliseconds. Hosts send a heartbeat at a sixth of it.
pub const HOST_TIMEOUT_MS: u64 = 3_000;

const MAP_KEY: &[u8] = b"c/map";
const NEXT_TIER_KEY: &[u8] = b"c/next-tier";
const CREDENTIALS_PREFIX: &str = "c/credentials/";

/// What a step came to: store the batch (flushed) before the reply leaves.
#[derive(Debug)]
pub struct Outcome {
    /// The answer.
    pub reply: ClusterReply,
    /// What must be durable first; may be empty.
    pub stores: Batch,
}

/// The state of the cluster group.
pub struct Cluster {
    pub(crate) map: ClusterMap,
    pub(crate) sessions: Sessions,
    pub(crate) heard_ms: BTreeMap<HostId, u64>,
    pub(crate) drives: BTreeMap<HostId, Vec<DriveStats>>,
    pub(crate) replicas: BTreeMap<HostId, Vec<ReplicaStatus>>,
    pub(crate) ids: Ids,
    pub(crate) slow: Detector,
    answers: Answers,
    credentials: BTreeMap<TierId, Vec<u8>>,
    next_tier: u32,
}

impl Cluster {
    /// Writes of a freshly formed cluster, to be stored before anything else.
    #[must_use]
    pub fn first_batch(map: &ClusterMap) -> Batch {
        let mut batch = Batch::default();
        batch.put(MAP_KEY, forebay_wire::encode(map));
        batch
    }

    /// The stored map; `None` where the store belongs to no cluster yet.
    pub fn load_map(kv: &dyn Kv) -> Result<Option<ClusterMap>, KvError> {
        let decode = |bytes: Vec<u8>| forebay_wire::decode(&bytes).map_err(|e| KvError { reason: e.to_string() });
        kv.get(MAP_KEY)?.map(decode).transpose()
    }

    /// The state as stored, every host and session heard of just now.
    pub fn load(now_ms: u64, kv: &dyn Kv) -> Result<Option<Self>, KvError> {
        let Some(map) = Self::load_map(kv)? else { return Ok(None) };
        let end = |prefix: &[u8]| [prefix, &[0xff]].concat();
        let rows = kv.scan(sessions::PREFIX, &end(sessions::PREFIX), usize::MAX)?;
        let sessions = Sessions::load(now_ms, kv.get(sessions::NEXT_KEY)?, rows);
        let prefix = CREDENTIALS_PREFIX.as_bytes();
        let credentials = kv
            .scan(prefix, &end(prefix), usize::MAX)?
            .into_iter()
            .filter_map(|(key, value)| {
                let id = std::str::from_utf8(&key[prefix.len()..]).ok()?.parse().ok()?;
                Some((TierId(id), value))
            })
            .collect::<BTreeMap<_, _>>();
        let rows = kv.scan(answers::PREFIX, &end(answers::PREFIX), usize::MAX)?;
        let heard_ms = map.hosts.iter().map(|host| (host.id, now_ms)).collect();
        let next_tier = kv.get(NEXT_TIER_KEY)?.and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_be_bytes);
        Ok(Some(Self {
            ids: Ids::load(kv, &map)?,
            slow: Detector::new(&map),
            answers: Answers::load(rows),
            map,
            sessions,
            heard_ms,
            drives: BTreeMap::new(),
            replicas: BTreeMap::new(),
            credentials,
            next_tier,
        }))
    }

    /// The current map.
    #[must_use]
    pub fn map(&self) -> &ClusterMap {
        &self.map
    }

    /// When [`Self::tick`] has something to do at the earliest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let up = self.map.hosts.iter().filter(|host| host.state == HostState::Up);
        let silent = up.filter_map(|host| self.heard_ms.get(&host.id).map(|at| at + HOST_TIMEOUT_MS + 1)).min();
        silent.into_iter().chain(self.sessions.next_deadline()).min()
    }

    /// Marks hosts not heard of as down and ends silent sessions; moves leads away from slow hosts, and replicas to where
    /// they should be, one after the other.
    pub fn tick(&mut self, now_ms: u64) -> Batch {
        let mut stores = Batch::default();
        self.sessions.expire(now_ms, &mut stores);
        let heard = &self.heard_ms;
        let silent = |id| now_ms.saturating_sub(heard.get(&id).copied().unwrap_or(0)) > HOST_TIMEOUT_MS;
        let mut changed = false;
        for host in self.map.hosts.iter_mut().filter(|host| host.state == HostState::Up) {
            if silent(host.id) {
                host.state = HostState::Down;
                changed = true;
            }
        }
        if changed {
            placement::regroup(&mut self.map);
        }
        changed |= self.slow.judge(now_ms, &mut self.map);
        changed |= self.move_replicas();
        if changed {
            self.store_map(&mut stores);
        }
        stores
    }

    /// Answers a request. `is_host`: the caller has authenticated as a storage host.
    pub fn handle(&mut self, now_ms: u64, request: ClusterRequest, is_host: bool) -> Outcome {
        let mut stores = Batch::default();
        let reply = self.answer(now_ms, request, is_host, &mut stores).unwrap_or_else(ClusterReply::Error);
        Outcome { reply, stores }
    }

    fn answer(
        &mut self,
        now_ms: u64,
        request: ClusterRequest,
        is_host: bool,
        stores: &mut Batch,
    ) -> Result<ClusterReply, ClusterError> {
        match request {
            ClusterRequest::GetMap { newer_than } => {
                Ok(ClusterReply::Map((self.map.epoch > newer_than).then(|| Box::new(self.map.clone()))))
            }
            ClusterRequest::CurrentMap => Ok(ClusterReply::Map(Some(Box::new(self.map.clone())))),
            ClusterRequest::Heartbeat(_) | ClusterRequest::TierCredentials { .. } if !is_host => {
                Err(ClusterError::HostsOnly)
            }
            ClusterRequest::Heartbeat(beat) => self.heartbeat(now_ms, beat, stores),
            ClusterRequest::TierCredentials { tier } => self.tier_credentials(tier),
            ClusterRequest::OpenSession { client, fs } => {
                self.filesystem(&fs)?;
                let session = self.sessions.open(now_ms, client, fs, stores);
                Ok(ClusterReply::Session { session, timeout_ms: SESSION_TIMEOUT_MS })
            }
            ClusterRequest::RenewSession { session } => match self.sessions.renew(now_ms, session) {
                true => Ok(ClusterReply::Session { session, timeout_ms: SESSION_TIMEOUT_MS }),
                false => Err(ClusterError::SessionEnded { session }),
            },
            ClusterRequest::CloseSession { session } => {
                self.sessions.close(session, stores);
                Ok(ClusterReply::Done { epoch: self.map.epoch })
            }
            ClusterRequest::Admin { id, request } => {
                if let Some(reply) = self.answers.get(id) {
                    return Ok(reply.clone());
                }
                let reply = self.administer(request, stores)?;
                self.answers.keep(id, &reply, stores);
                Ok(reply)
            }
            ClusterRequest::Status => Ok(ClusterReply::Status(Box::new(ClusterStatus {
                map: self.map.clone(),
                drives: self.drives.values().flatten().cloned().collect(),
                sessions: self.sessions.list(now_ms),
                replicas: self.replicas.iter().map(|(host, all)| (*host, all.clone())).collect(),
            }))),
            ClusterRequest::Identify | ClusterRequest::Form { .. } | ClusterRequest::Join { .. } => {
                Err(ClusterError::Invalid { reason: "a host answers this itself".into() })
            }
        }
    }

    /// A refusal has changed nothing, so it is not kept: asked again, the request is looked at anew.
    fn administer(&mut self, request: AdminRequest, stores: &mut Batch) -> Result<ClusterReply, ClusterError> {
        match request {
            AdminRequest::CreateFs { name } => self.create_fs(name, stores),
            AdminRequest::AttachTier(tier) => self.attach_tier(tier, stores),
            AdminRequest::DetachTier { fs, name } => self.detach_tier(&fs, &name, stores),
            AdminRequest::AddHost(host) => self.add_host(host, stores),
            AdminRequest::DrainHost { name, drain } => self.drain_host(&name, drain, stores),
            AdminRequest::RemoveHost { name, force } => self.remove_host(&name, force, stores),
        }
    }

    pub(crate) fn store_map(&mut self, stores: &mut Batch) {
        self.map.epoch = self.map.epoch.next();
        stores.put(MAP_KEY, forebay_wire::encode(&self.map));
    }

    fn heartbeat(&mut self, now_ms: u64, beat: Heartbeat, stores: &mut Batch) -> Result<ClusterReply, ClusterError> {
        let host = self.map.hosts.iter_mut().find(|host| host.id == beat.host);
        let host = host.ok_or(ClusterError::Removed { host: beat.host })?;
        self.heard_ms.insert(beat.host, now_ms);
        let mut changed = host.state == HostState::Down;
        host.state = HostState::Up;
        for drive in self.map.drives.iter_mut().filter(|drive| drive.host == beat.host) {
            let works = beat.drives.iter().any(|stats| stats.drive == drive.id && stats.failure.is_empty());
            let state = if works { DriveState::Active } else { DriveState::Failed };
            changed |= drive.state != state;
            drive.state = state;
        }
        if changed {
            placement::regroup(&mut self.map);
            self.store_map(stores);
        }
        self.slow.note(beat.host, beat.flush_us, beat.answers_us);
        self.drives.insert(beat.host, beat.drives);
        let unwanted = self.unwanted(beat.host, &beat.replicas);
        self.replicas.insert(beat.host, beat.replicas);
        let ended = beat.sessions.into_iter().filter(|id| !self.sessions.is_live(*id)).collect();
        Ok(ClusterReply::Heartbeat { epoch: self.map.epoch, ended, unwanted })
    }

    fn filesystem(&self, name: &str) -> Result<FsId, ClusterError> {
        self.map.filesystem(name).map(|fs| fs.id).ok_or_else(|| ClusterError::NoFilesystem {
            name: name.into(),
            have: match self.map.filesystems.as_slice() {
                [] => "none, make one with 'forebay fs create'".into(),
                all => all.iter().map(|fs| fs.name.as_str()).collect::<Vec<_>>().join(", "),
            },
        })
    }

    fn create_fs(&mut self, name: String, stores: &mut Batch) -> Result<ClusterReply, ClusterError> {
        check_name("filesystem", &name)?;
        if self.map.filesystem(&name).is_some() {
            return Err(ClusterError::Exists { what: "filesystem".into(), name });
        }
        let fs = FsId(self.map.filesystems.iter().map(|fs| fs.id.0).max().unwrap_or(0) + 1);
        self.map.filesystems.push(FsEntry { id: fs, name });
        self.store_map(stores);
        Ok(ClusterReply::Filesystem { fs, epoch: self.map.epoch })
    }

    fn attach_tier(&mut self, tier: AttachTier, stores: &mut Batch) -> Result<ClusterReply, ClusterError> {
        check_name("tier", &tier.name)?;
        let fs = self.filesystem(&tier.fs)?;
        let url = tier.url.trim_end_matches('/').to_string();
        let absolute = url.strip_prefix("file://").is_some_and(|path| path.starts_with('/'));
        let bucket = url.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if !absolute && !bucket {
            return Err(ClusterError::Invalid {
                reason: format!("'{}' is no tier: give file:///absolute/directory or s3://bucket/prefix", tier.url),
            });
        }
        if self.map.tiers.iter().any(|other| other.fs == fs && other.name == tier.name) {
            return Err(ClusterError::Exists { what: format!("in filesystem '{}', tier", tier.fs), name: tier.name });
        }
        let id = TierId(self.next_tier);
        self.next_tier += 1;
        stores.put(NEXT_TIER_KEY, self.next_tier.to_be_bytes());
        let credentials = forebay_wire::encode(&tier.credentials);
        stores.put(format!("{CREDENTIALS_PREFIX}{}", id.0), credentials.clone());
        self.credentials.insert(id, credentials);
        let AttachTier { name, endpoint, region, .. } = tier;
        self.map.tiers.push(TierEntry { id, fs, name, url, endpoint, region });
        self.store_map(stores);
        Ok(ClusterReply::Tier { tier: id, epoch: self.map.epoch })
    }

    fn detach_tier(&mut self, fs: &str, name: &str, stores: &mut Batch) -> Result<ClusterReply, ClusterError> {
        let fs = self.filesystem(fs)?;
        let found = self.map.tiers.iter().position(|tier| tier.fs == fs && tier.name == name);
        let Some(at) = found else {
            return Err(ClusterError::NotFound { what: "tier".into(), name: name.into() });
        };
        let tier = self.map.tiers.remove(at);
        self.credentials.remove(&tier.id);
        stores.delete(format!("{CREDENTIALS_PREFIX}{}", tier.id.0));
        self.store_map(stores);
        Ok(ClusterReply::Done { epoch: self.map.epoch })
    }

    fn tier_credentials(&self, tier: TierId) -> Result<ClusterReply, ClusterError> {
        let missing = || ClusterError::NotFound { what: "tier".into(), name: tier.to_string() };
        let stored = self.credentials.get(&tier).ok_or_else(missing)?;
        forebay_wire::decode(stored)
            .map(ClusterReply::Credentials)
            .map_err(|e| ClusterError::Storage { reason: e.to_string() })
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
