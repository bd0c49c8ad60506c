//! The driver's end of the network: commands go in, counters come out.

use std::sync::Arc;

use protocol::id::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::net::command::NetCommand;
use crate::net::counters::{Counters, Counts};
use crate::net::link::Link;

/// A handle on the network task; clones share it. The task ends when told to, or when the last handle is gone.
#[derive(Clone, Debug)]
pub struct NetHandle {
    pub(super) commands: mpsc::UnboundedSender<NetCommand>,
    pub(super) counters: Arc<Counters>,
    pub(super) peer: PeerId,
}

impl NetHandle {
    /// Hands a command over. Never waits; after the task ended it does nothing.
    ///
    /// The queue is unbounded because only this node fills it: answers are bounded by the upload slots, all else by
    /// what the peer machine asks for.
    pub fn send(&self, command: NetCommand) {
        // The closed event channel is how the driver learns of the end.
        let _ = self.commands.send(command);
    }

    /// The peer this node is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counts {
        self.counters.counts()
    }

    /// The links that are up; none after the task ended.
    pub async fn links(&self) -> Vec<Link> {
        let (reply, links) = oneshot::channel();
        self.send(NetCommand::Links { reply });
        links.await.unwrap_or_default()
    }

    /// Ends the task and waits until its links and ports are closed.
    pub async fn shutdown(&self) {
        self.send(NetCommand::Shutdown);
        self.commands.closed().await;
    }
}
