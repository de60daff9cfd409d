//! What the cluster group knows of sessions: who is alive, and whose session has ended. A stand-in for `cluster`'s core,
//! which has simulations of its own: it is always right, and not always reached.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::SessionId;

use crate::net::Body;

/// A session that is silent for this long has ended.
const SILENCE_NS: u64 = 30_000_000_000;

/// See the module.
#[derive(Default)]
pub(crate) struct Registry {
    heard: BTreeMap<SessionId, u64>,
    /// Sessions that have ended.
    pub ended: BTreeSet<SessionId>,
}

impl Registry {
    /// Takes a message in; the answer.
    pub fn receive(&mut self, body: Body, now: u64) -> Option<Body> {
        let silent = |(_, heard): &(&SessionId, &u64)| **heard + SILENCE_NS <= now;
        let late: Vec<SessionId> = self.heard.iter().filter(silent).map(|(session, _)| *session).collect();
        self.ended.extend(late);
        match body {
            Body::Renew(session) => {
                self.heard.insert(session, now);
                None
            }
            Body::Heartbeat(sessions) => {
                let ended: Vec<SessionId> = sessions.into_iter().filter(|s| self.ended.contains(s)).collect();
                (!ended.is_empty()).then_some(Body::Ended(ended))
            }
            _ => None,
        }
    }
}
