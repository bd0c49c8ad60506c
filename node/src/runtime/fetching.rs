//! Questions under way: what each expects, what came so far, and how it becomes an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::codec::{CONTROL_BYTES_MAX, decode_control};
use protocol::id::{AskId, Hash, PeerId, RunId};
use protocol::peer::output::Question;
use protocol::wire::request::{News, Request, Want};

use crate::net::command::PartSpec;

/// A question under way.
#[derive(Debug)]
pub struct Fetch {
    /// Whom it went to.
    pub peer: PeerId,
    /// What it was.
    pub question: Question,
    /// The first part, unless it is a shard: those are kept apart.
    pub first: Option<Arc<[u8]>>,
    /// Indices of the shards that came.
    pub shards: Vec<u32>,
}

/// Questions under way, by name.
pub type Fetches = BTreeMap<AskId, Fetch>;

/// The request bytes and what may come back.
pub fn request(run: RunId, question: &Question) -> (Vec<u8>, Vec<PartSpec>) {
    let (want, parts) = match question {
        Question::News => (Want::News, vec![PartSpec::at_most(CONTROL_BYTES_MAX as u32)]),
        Question::Manifest { expected, bytes } => {
            (Want::Manifest(expected.hash), vec![PartSpec::exactly(*bytes, expected.hash)])
        }
        Question::Shards { manifest, shards } => {
            let indices = shards.iter().map(|(index, _, _)| *index).collect();
            let parts = shards.iter().map(|(_, hash, bytes)| PartSpec::exactly(*bytes, *hash)).collect();
            (Want::Shards { manifest: *manifest, indices }, parts)
        }
    };
    (Request::new(run, want).to_bytes(), parts)
}

impl Fetch {
    /// The messages in an answer to [`Question::News`]; none when it does not decode.
    pub fn news(&self) -> Option<Vec<Vec<u8>>> {
        let news: News = decode_control(self.first.as_ref()?).ok()?;
        Some(news.messages)
    }

    /// Index and hash of the shard that is the part at a position; none when shards were not asked for.
    pub fn shard_at(&self, position: u32) -> Option<(u32, Hash)> {
        let Question::Shards { shards, .. } = &self.question else { return None };
        shards.get(position as usize).map(|(index, hash, _)| (*index, *hash))
    }
}
