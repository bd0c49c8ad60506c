//! Answers on their way back, and what the asker makes of them: the checks a node's driver does.

use std::sync::Arc;

use crate::codec::decode_control;
use crate::crypto::hash::content_hash;
use crate::exchange::serve::Reply;
use crate::id::AskId;
use crate::peer::input::{Answer, Failure, Input};
use crate::peer::output::Question;
use crate::sim::meter::Kind;
use crate::sim::network::Fate;
use crate::sim::queue::{Answered, Happening};
use crate::sim::world::World;
use crate::wire::manifest::Manifest;
use crate::wire::request::News;

impl World {
    /// A reply leaves.
    pub(super) fn serve(&mut self, i: u32, to: u32, ask: AskId, reply: Reply) {
        let answer = match reply {
            Reply::Bytes(bytes) => Answered::Parts(vec![bytes]),
            Reply::Blocks(hashes) => {
                let blocks = &self.nodes[i as usize].blocks;
                let parts: Option<Vec<Arc<[u8]>>> =
                    hashes.iter().map(|hash| blocks.get(hash).cloned()).collect();
                parts.map_or(Answered::Failed(Failure::NotFound), Answered::Parts)
            }
            Reply::Busy(wait) => Answered::Failed(Failure::Busy(wait)),
            Reply::NotFound => Answered::Failed(Failure::NotFound),
            Reply::Refused => Answered::Failed(Failure::Refused),
        };
        self.send_answer(i, to, ask, answer);
    }

    /// Sends what answers a question. Lost, late or over a dead link, the asker's driver gives up at its deadline.
    pub(super) fn send_answer(&mut self, i: u32, to: u32, ask: AskId, mut answer: Answered) {
        let Some(asking) = self.nodes[to as usize].asking.get(&ask).filter(|asking| asking.to == i) else {
            return;
        };
        let kind = match asking.question {
            Question::News => Kind::News,
            Question::Manifest { .. } => Kind::Manifest,
            Question::Shards { .. } => Kind::Shards,
        };
        let gives_up = asking.gives_up;
        let bytes = match &answer {
            Answered::Parts(parts) => parts.iter().map(|part| part.len() + 8).sum::<usize>() + 60,
            Answered::Failed(_) => 60,
        };
        self.meter.sent(kind, bytes);
        if let Answered::Parts(parts) = &mut answer
            && self.network.corrupts(self.now)
        {
            self.corrupt(parts);
        }
        let fate = if self.network.is_linked(i, to) {
            self.network.send(i, to, bytes, self.now)
        } else {
            Fate::Lost
        };
        match fate {
            Fate::Arrives(at) => {
                let answer = Box::new(answer);
                self.plan(to, at.since(self.now), Happening::Answer { ask, from: i, answer });
            }
            Fate::Lost => self.fail(to, i, ask, Failure::Timeout, gives_up.since(self.now)),
        }
    }

    /// Flips one bit of one part.
    fn corrupt(&mut self, parts: &mut [Arc<[u8]>]) {
        let part = self.network.choose(parts.len());
        let mut bytes = parts[part].to_vec();
        if !bytes.is_empty() {
            let at = self.network.choose(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            parts[part] = bytes.into();
        }
    }

    /// An answer arrives.
    pub(super) fn answered(&mut self, i: u32, from: u32, ask: AskId, answer: Answered) {
        let node = &mut self.nodes[i as usize];
        let Some(asking) = node.asking.remove(&ask) else { return };
        let parts = match answer {
            Answered::Parts(parts) => parts,
            Answered::Failed(failure) => return self.feed(i, Input::Failed { ask, failure }),
        };
        let input = match asking.question {
            Question::News => self.news(i, from, ask, &parts),
            Question::Manifest { expected, .. } => {
                let shards = self.cuts.len();
                match parts.first().map(|bytes| Manifest::open(bytes, &expected, |_| shards)) {
                    Some(Ok(manifest)) => {
                        Input::Answered { ask, answer: Answer::Manifest(Box::new(manifest)) }
                    }
                    Some(Err(offence)) => {
                        self.meter.refused(offence);
                        let peer = self.keys[from as usize].peer();
                        self.feed(i, Input::Offended { peer, offence });
                        Input::Failed { ask, failure: Failure::Wrong }
                    }
                    None => Input::Failed { ask, failure: Failure::Wrong },
                }
            }
            Question::Shards { shards, .. } => {
                let is_right = |((_, hash, bytes), part): (&(u32, _, u32), &Arc<[u8]>)| {
                    part.len() == *bytes as usize && content_hash(part) == *hash
                };
                if parts.len() == shards.len() && shards.iter().zip(&parts).all(is_right) {
                    let came = shards.iter().map(|(index, _, _)| *index).collect();
                    let received = &mut self.nodes[i as usize].received;
                    received.extend(shards.iter().zip(parts).map(|((_, hash, _), part)| (*hash, part)));
                    Input::Answered { ask, answer: Answer::Shards(came) }
                } else {
                    self.meter.refused(crate::wire::offence::Offence::WrongContent);
                    Input::Failed { ask, failure: Failure::Wrong }
                }
            }
        };
        self.feed(i, input);
    }

    fn news(&mut self, i: u32, from: u32, ask: AskId, parts: &[Arc<[u8]>]) -> Input {
        let Some(news) = parts.first().and_then(|bytes| decode_control::<News>(bytes).ok()) else {
            return Input::Failed { ask, failure: Failure::Wrong };
        };
        let node = &mut self.nodes[i as usize];
        let time = node.clock.shows(self.now);
        let link = self.keys[from as usize].peer();
        let opened =
            news.messages.iter().filter_map(|message| node.peer.open(message, link, time).ok()).collect();
        Input::Answered { ask, answer: Answer::News(opened) }
    }
}
