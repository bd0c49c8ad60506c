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
    /// Parts that came, by position.
    pub parts: BTreeMap<u32, Arc<[u8]>>,
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
        let news: News = decode_control(self.parts.get(&0)?).ok()?;
        Some(news.messages)
    }

    /// Indices and bytes of the shards that came.
    pub fn shards(self) -> Vec<(u32, Hash, Arc<[u8]>)> {
        let Question::Shards { shards, .. } = self.question else { return Vec::new() };
        let mut parts = self.parts;
        let with_bytes = shards.into_iter().enumerate();
        with_bytes
            .filter_map(|(i, (index, hash, _))| Some((index, hash, parts.remove(&(i as u32))?)))
            .collect()
    }
}
