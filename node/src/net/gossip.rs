//! Small messages to everybody: what waits for listeners, and what waits for a verdict.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use libp2p::gossipsub::{IdentTopic, MessageAcceptance, MessageId, PublishError};
use protocol::limits::GOSSIP_BYTES_MAX;

use crate::net::behaviour::Gossip;
use crate::net::command::{GossipTag, Verdict};
use crate::net::event::PublishFailure;
use crate::net::limits::{PUBLISH_PATIENCE, PUBLISH_WAITING_MAX, VERDICTS_WAITING_MAX};

/// Messages on their way in and out.
pub(super) struct Traffic {
    topic: IdentTopic,
    /// Own messages that nobody listens to yet, oldest first.
    unsent: VecDeque<(Arc<[u8]>, Instant)>,
    /// Heard messages without a verdict, and who passed them on.
    unjudged: BTreeMap<GossipTag, (MessageId, PeerId)>,
    tags: u64,
}

/// A message that was not published, and why.
pub(super) type Unpublished = (Arc<[u8]>, PublishFailure);

impl Traffic {
    pub(super) fn new(topic: IdentTopic) -> Self {
        Self { topic, unsent: VecDeque::new(), unjudged: BTreeMap::new(), tags: 0 }
    }

    /// Publishes now, or when somebody listens.
    pub(super) fn publish(
        &mut self,
        gossip: &mut Gossip,
        bytes: Arc<[u8]>,
        now: Instant,
    ) -> Result<(), Unpublished> {
        if bytes.len() > GOSSIP_BYTES_MAX {
            return Err((bytes, PublishFailure::TooLarge));
        }
        match self.try_publish(gossip, &bytes) {
            Ok(true) => Ok(()),
            Ok(false) if self.unsent.len() < PUBLISH_WAITING_MAX => {
                self.unsent.push_back((bytes, now + PUBLISH_PATIENCE));
                Ok(())
            }
            Ok(false) => Err((bytes, PublishFailure::QueueFull)),
            Err(failure) => Err((bytes, failure)),
        }
    }

    /// Whether the message is out; false when it must wait.
    fn try_publish(&self, gossip: &mut Gossip, bytes: &Arc<[u8]>) -> Result<bool, PublishFailure> {
        match gossip.publish(self.topic.clone(), bytes.to_vec()) {
            // A duplicate is out already.
            Ok(_) | Err(PublishError::Duplicate) => Ok(true),
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => Ok(false),
            Err(PublishError::MessageTooLarge) => Err(PublishFailure::TooLarge),
            Err(PublishError::SigningError(_) | PublishError::TransformFailed(_)) => {
                Err(PublishFailure::Unsigned)
            }
        }
    }

    /// Tries what waits; answers what waited too long. Called often, so it stops at the first that must go on waiting.
    pub(super) fn retry(&mut self, gossip: &mut Gossip, now: Instant) -> Vec<Unpublished> {
        let mut given_up = Vec::new();
        while let Some((bytes, until)) = self.unsent.pop_front() {
            match self.try_publish(gossip, &bytes) {
                Ok(true) => {}
                Ok(false) if now < until => {
                    self.unsent.push_front((bytes, until));
                    break;
                }
                Ok(false) => given_up.push((bytes, PublishFailure::NobodyListens)),
                Err(failure) => given_up.push((bytes, failure)),
            }
        }
        given_up
    }

    /// Whether something waits to be published.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Notes a heard message; answers its tag, and the one that is given up for it when too many wait.
    pub(super) fn heard(&mut self, id: MessageId, from: PeerId) -> (GossipTag, Option<(MessageId, PeerId)>) {
        self.tags += 1;
        let tag = GossipTag(self.tags);
        self.unjudged.insert(tag, (id, from));
        let is_full = self.unjudged.len() > VERDICTS_WAITING_MAX;
        let given_up = if is_full { self.unjudged.pop_first().map(|(_, message)| message) } else { None };
        (tag, given_up)
    }

    /// Carries a verdict out; a tag that is unknown or too old does nothing.
    pub(super) fn judge(&mut self, gossip: &mut Gossip, tag: GossipTag, verdict: Verdict) {
        let Some((id, from)) = self.unjudged.remove(&tag) else { return };
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        if !gossip.report_message_validation_result(&id, &from, acceptance) {
            tracing::debug!(?tag, "a verdict came too late");
        }
    }
}
