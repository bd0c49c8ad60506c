//! What an operator can say, and what the node answers.

use protocol::id::PeerId;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for the node: people and programs send few.
pub const ORDERS_MAX: usize = 16;
/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 256;

/// What the node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verb {
    /// Finish the outer step under way, then wait.
    Pause,
    /// Go on.
    Resume,
    /// Say farewell, save and end.
    Leave,
    /// Shut a key out.
    Ban {
        /// Whom.
        peer: PeerId,
        /// Why, for the records.
        reason: String,
    },
    /// Take a newer revocation list, and pass it on.
    Revoke {
        /// The list with its founders' signatures, hexadecimal.
        list: String,
    },
    /// Let a key back in.
    Unban {
        /// Whom.
        peer: PeerId,
        /// Why, for the records.
        reason: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the order was carried out.
    pub is_done: bool,
    /// What the node does now, as in its status.
    pub state: String,
    /// Why it was not carried out; empty otherwise.
    pub why: String,
}

/// An order on its way to the node.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// Where to say what came of it.
    pub answer: oneshot::Sender<Answer>,
}

/// Where orders are given.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Order>);

/// Both ends of a channel of orders.
pub fn channel() -> (Orders, mpsc::Receiver<Order>) {
    let (orders, obeyed) = mpsc::channel(ORDERS_MAX);
    (Orders(orders), obeyed)
}

impl Orders {
    /// Gives an order and waits until it is carried out; `None` when the node has ended.
    pub async fn give(&self, verb: Verb) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Order { verb, answer }).await.ok()?;
        answered.await.ok()
    }
}

impl Verb {
    /// Why the verb makes no sense, if it does not.
    pub fn fault(&self) -> Option<String> {
        let (Self::Ban { reason, .. } | Self::Unban { reason, .. }) = self else { return None };
        if reason.trim().is_empty() {
            return Some("expected a reason, found nothing".to_owned());
        }
        let bytes = reason.len();
        (bytes > REASON_BYTES_MAX)
            .then(|| format!("expected a reason of at most {REASON_BYTES_MAX} bytes, found {bytes}"))
    }
}
