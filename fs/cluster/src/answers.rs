//! Answers to administrators' requests, by the request's name.
//!
//! An answer that was lost, because the leader died after it had kept what it decided, is given again when the request
//! comes again. The newest [`KEPT`] are there, far more than are asked while one request is tried.

use std::collections::{BTreeMap, VecDeque};

use forebay_env::{Batch, Pair};
use forebay_types::Uuid;
use forebay_wire::cluster::ClusterReply;

/// Answers that are kept.
const KEPT: usize = 256;
/// Prefix of the keys of answers; a number follows.
pub(crate) const PREFIX: &[u8] = b"c/answer/";

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    replies: BTreeMap<[u8; 16], ClusterReply>,
    order: VecDeque<(u64, [u8; 16])>,
}

fn key(number: u64) -> Vec<u8> {
    [PREFIX, &number.to_be_bytes()].concat()
}

impl Answers {
    /// The table as stored.
    pub fn load(rows: Vec<Pair>) -> Self {
        let mut answers = Self::default();
        for (key, value) in rows {
            let number = key.strip_prefix(PREFIX).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
            let (Some(number), Ok((id, reply))) = (number, forebay_wire::decode::<(Uuid, ClusterReply)>(&value)) else {
                continue;
            };
            answers.replies.insert(id.0, reply);
            answers.order.push_back((number, id.0));
        }
        answers
    }

    /// The answer to a request that was answered before.
    pub fn get(&self, id: Uuid) -> Option<&ClusterReply> {
        self.replies.get(&id.0)
    }

    /// Keeps an answer, in the batch that also keeps what was done.
    pub fn keep(&mut self, id: Uuid, reply: &ClusterReply, stores: &mut Batch) {
        let number = self.order.back().map_or(1, |(last, _)| last + 1);
        stores.put(key(number), forebay_wire::encode(&(id, reply)));
        self.replies.insert(id.0, reply.clone());
        self.order.push_back((number, id.0));
        while self.order.len() > KEPT {
            let Some((oldest, id)) = self.order.pop_front() else { return };
            self.replies.remove(&id);
            stores.delete(key(oldest));
        }
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
