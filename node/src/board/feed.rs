//! The joint between a node and whoever watches it: the driver tells, servers read.
//!
//! Telling never waits for a reader: a story is copied when somebody still reads the old one, lines for followers are
//! dropped when a follower is too slow, and the follower learns how many.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast;

use crate::board::line::{LedgerLine, MetricLine, TopologyLine};
use crate::board::now::Now;
use crate::board::story::{Person, Story};

/// Lines a slow follower may be behind before it loses some.
const LINES_BEHIND_MAX: usize = 256;

/// One node's story as it happens; clones share it.
#[derive(Clone, Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    teller: String,
    story: Mutex<Arc<Story>>,
    now: Mutex<Option<Arc<Now>>>,
    lines: broadcast::Sender<Arc<str>>,
}

impl Feed {
    /// A feed of the node with this key (hexadecimal), which goes on from what the records said so far.
    pub fn new(teller: String, story: Story) -> Self {
        let (lines, _) = broadcast::channel(LINES_BEHIND_MAX);
        let (story, now) = (Mutex::new(Arc::new(story)), Mutex::new(None));
        Self { shared: Arc::new(Shared { teller, story, now, lines }) }
    }

    /// Key of the node that tells.
    pub fn teller(&self) -> &str {
        &self.shared.teller
    }

    /// Takes an event as it stands in `events.jsonl`, and passes it to followers.
    pub fn event(&self, line: &Value) {
        if let Ok(event) = serde_json::from_value(line.clone()) {
            self.change(|story| story.event(&self.shared.teller, &event));
        }
        // Nobody may be following.
        let _ = self.shared.lines.send(line.to_string().into());
    }

    /// Takes a measured value.
    pub fn metric(&self, line: &MetricLine) {
        self.change(|story| story.metric(&self.shared.teller, line));
    }

    /// Takes the distances between models.
    pub fn topology(&self, line: &TopologyLine) {
        self.change(|story| story.topology(line));
    }

    /// Takes a record of the ledger.
    pub fn ledger(&self, line: LedgerLine) {
        self.change(|story| story.ledger(line));
    }

    /// Takes the present state.
    pub fn now(&self, now: Now) {
        self.change(|story| {
            if now.takes_part() {
                story.introduce(&now.status.peer_id, Person::from(&now.status));
            }
            for peer in &now.peers {
                story.introduce(&peer.peer_id, Person::from(peer));
            }
        });
        *self.shared.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(now));
    }

    /// The story so far.
    pub fn story(&self) -> Arc<Story> {
        Arc::clone(&self.shared.story.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present state; `None` before the node told it.
    pub fn present(&self) -> Option<Arc<Now>> {
        self.shared.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events from now on, each as one line of JSON.
    pub fn follow(&self) -> broadcast::Receiver<Arc<str>> {
        self.shared.lines.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Story)) {
        let mut story = self.shared.story.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut story));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_its_story_while_the_node_goes_on_telling() {
        let feed = Feed::new("aa".into(), Story::default());
        let mut lines = feed.follow();
        let before = feed.story();
        feed.event(&serde_json::json!({ "event": "alone", "step": 3 }));
        assert_eq!((before.sums().alone, feed.story().sums().alone), (0, 1));
        assert!(lines.try_recv().unwrap().contains("\"alone\""));
    }

    #[test]
    fn a_follower_that_sleeps_costs_a_bounded_memory_and_learns_what_it_missed() {
        let feed = Feed::new("aa".into(), Story::default());
        let mut lines = feed.follow();
        for step in 0..10 * LINES_BEHIND_MAX {
            feed.event(&serde_json::json!({ "event": "alone", "step": step }));
        }
        let missed = lines.try_recv().unwrap_err();
        assert_eq!(missed, broadcast::error::TryRecvError::Lagged((9 * LINES_BEHIND_MAX) as u64));
    }
}
