//! Looking at a source before anything is imported.
//!
//! A source is listed whole, since its version is told by all of it, and a bucket of millions of objects takes minutes.
//! So whoever asks gets an answer within seconds that says how far the listing is, and asks again: asking joins the
//! listing under way. One that nobody asks for any more ends by itself.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay_object::Tier;
use forebay_tier::name;
use forebay_tier::pin::Pin;
use forebay_types::TierId;
use forebay_wire::tier::{Progress, TaskState, TierError, TierReply, TierUser};
use futures::stream::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::import::single;
use super::lock;
use super::stores::Stores;

/// Longest an answer takes: callers wait 5 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Longest a listing goes on, or its end is remembered, after somebody has asked for it.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// Most listings at a time.
const LISTINGS_MAX: usize = 64;
/// Objects between two looks at whether anybody still asks.
const LOOK_EVERY: u64 = 1_000;

/// What is looked at, and for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub tier: TierId,
    pub prefix: String,
    pub user: Option<TierUser>,
    /// Whether it is to be written to rather than read.
    pub write: bool,
}

/// What is known of a source so far.
#[derive(Clone)]
enum Seen {
    /// Objects and bytes found by now.
    Listing(u64, u64),
    /// The answer.
    Ended(Result<TierReply, TierError>),
}

/// A listing under way, or at its end.
struct Look {
    source: Source,
    seen: watch::Sender<Seen>,
    asked: Mutex<Instant>,
}

impl Look {
    fn is_asked_for(&self) -> bool {
        lock(&self.asked).elapsed() < ASKED_WITHIN
    }
}

/// The listings of a host.
#[derive(Default)]
pub(super) struct Probes {
    looks: Mutex<Vec<Arc<Look>>>,
    running: Mutex<JoinSet<()>>,
}

impl Probes {
    /// Files and bytes of a source and its version, or why it may not be used; how far that is where it takes long.
    pub async fn probe(&self, stores: &Arc<Stores>, source: Source) -> Result<TierReply, TierError> {
        self.probe_within(ANSWER_WITHIN, stores, source).await
    }

    async fn probe_within(
        &self,
        limit: Duration,
        stores: &Arc<Stores>,
        source: Source,
    ) -> Result<TierReply, TierError> {
        let look = self.join(stores, source)?;
        let mut seen = look.seen.subscribe();
        let ended = seen.wait_for(|seen| matches!(seen, Seen::Ended(_)));
        // That there is no end in time is an answer too.
        let _ = tokio::time::timeout(limit, ended).await;
        let now = look.seen.borrow().clone();
        match now {
            Seen::Listing(files, bytes) => {
                let state = TaskState::Running;
                let progress =
                    Progress { version: files, state, files, done_files: 0, bytes, done_bytes: 0, moved_bytes: 0 };
                Ok(TierReply::Progress(progress))
            }
            Seen::Ended(answer) => {
                // Whoever asks from now on gets the source as it is then.
                lock(&self.looks).retain(|other| !Arc::ptr_eq(other, &look));
                answer
            }
        }
    }

    /// The listing of a source, begun where there is none.
    fn join(&self, stores: &Arc<Stores>, source: Source) -> Result<Arc<Look>, TierError> {
        let mut looks = lock(&self.looks);
        looks.retain(|look| look.is_asked_for());
        if let Some(look) = looks.iter().find(|look| look.source == source) {
            *lock(&look.asked) = Instant::now();
            return Ok(look.clone());
        }
        if looks.len() >= LISTINGS_MAX {
            return Err(TierError::TooManyTasks { limit: LISTINGS_MAX as u32 });
        }
        let seen = watch::Sender::new(Seen::Listing(0, 0));
        let look = Arc::new(Look { source, seen, asked: Mutex::new(Instant::now()) });
        looks.push(look.clone());
        let mut running = lock(&self.running);
        while running.try_join_next().is_some() {}
        let (stores, begun) = (stores.clone(), look.clone());
        running.spawn(async move {
            let answer = see(&stores, &begun).await;
            begun.seen.send_replace(Seen::Ended(answer));
        });
        Ok(look)
    }

    /// Breaks off every listing.
    pub async fn shutdown(&self) {
        let mut running = std::mem::take(&mut *lock(&self.running));
        running.shutdown().await;
    }
}

/// Looks at the source.
async fn see(stores: &Stores, look: &Look) -> Result<TierReply, TierError> {
    let Source { tier, prefix, user, write } = &look.source;
    let tier = stores.tier(*tier).await?;
    if let Some(user) = user {
        tier.check_access(user, name::trim(prefix), *write).await?;
    }
    let mut pin = Pin::default();
    if *write {
        return Ok(TierReply::Probed { files: 0, bytes: 0, file: None, pin: pin.digest() });
    }
    if let Some(object) = single(&tier, prefix).await? {
        let file = name::split(&object.key).1.to_owned();
        pin.add(&file, object.size_bytes, &object.etag);
        return Ok(TierReply::Probed { files: 1, bytes: object.size_bytes, file: Some(file), pin: pin.digest() });
    }
    let url = tier.url(name::trim(prefix));
    let (files, bytes) = list(&tier, &url, look, &mut pin).await?;
    if files == 0 && url.starts_with("s3:") {
        return Err(TierError::Missing { url });
    }
    Ok(TierReply::Probed { files, bytes, file: None, pin: pin.digest() })
}

async fn list(tier: &Tier, url: &str, look: &Look, pin: &mut Pin) -> Result<(u64, u64), TierError> {
    let Source { prefix, user, .. } = &look.source;
    let (mut files, mut bytes) = (0, 0);
    let mut found = tier.list(name::trim(prefix), user.as_ref());
    while let Some(object) = found.next().await {
        let object = object?;
        if let Some(key) = name::below(prefix, &object.key) {
            pin.add(key, object.size_bytes, &object.etag);
            files += 1;
            bytes += object.size_bytes;
            if files % LOOK_EVERY == 0 {
                look.seen.send_replace(Seen::Listing(files, bytes));
                if !look.is_asked_for() {
                    let reason = "nobody asked any more how its listing goes".to_owned();
                    return Err(TierError::Unavailable { url: url.to_owned(), reason });
                }
            }
        }
    }
    Ok((files, bytes))
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
