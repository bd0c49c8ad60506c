//! Steering and watching a running node from another part of the same program.

use protocol::peer::event::Event;
use protocol::peer::input::Command;
use tokio::sync::mpsc;

use crate::control::order::Order;

/// Commands that wait for the driver: people and programs send few.
const COMMANDS_MAX: usize = 16;

/// Something a watcher sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The node listens at this address.
    Listening(String),
    /// Something happened in the protocol.
    Happened(Event),
}

/// The driver's end.
#[derive(Debug)]
pub struct Control {
    pub(super) starts_paused: bool,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) seen: Option<mpsc::UnboundedSender<Seen>>,
}

/// The other end.
#[derive(Debug)]
pub struct Steering {
    /// Commands to the node; when this is dropped the node goes on without.
    pub commands: mpsc::Sender<Command>,
    /// What the node sees. Unbounded because the driver never waits; a watcher reads as it comes.
    pub seen: mpsc::UnboundedReceiver<Seen>,
}

impl Control {
    /// Nobody steers and nobody watches.
    pub fn none() -> Self {
        let (_, commands) = mpsc::channel(1);
        let (_, orders) = mpsc::channel(1);
        Self { starts_paused: false, commands, orders, seen: None }
    }

    /// Operators give orders.
    pub fn with_orders(orders: mpsc::Receiver<Order>) -> Self {
        Self { orders, ..Self::none() }
    }

    /// Both ends; a node that starts paused waits for [`Command::Resume`] before its first outer step.
    pub fn with_steering(starts_paused: bool) -> (Self, Steering) {
        let (send, commands) = mpsc::channel(COMMANDS_MAX);
        let (see, seen) = mpsc::unbounded_channel();
        let (_, orders) = mpsc::channel(1);
        (Self { starts_paused, commands, orders, seen: Some(see) }, Steering { commands: send, seen })
    }

    /// Tells the watcher, if there is one.
    pub(super) fn tell(&self, seen: impl FnOnce() -> Seen) {
        if let Some(watcher) = &self.seen {
            // A watcher that went away needs nothing more.
            let _ = watcher.send(seen());
        }
    }
}
