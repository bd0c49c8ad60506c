//! What the server serves: one node's feed, and the way to it for orders.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::board::feed::Feed;
use crate::control::order::Orders;
use crate::http::count::Requests;
use crate::http::limits::Limits;
use crate::http::token::Token;

/// Everything an answer needs; clones share it.
#[derive(Clone, Debug)]
pub struct Site {
    pub(super) feed: Feed,
    pub(super) orders: Option<Orders>,
    pub(super) token: Token,
    pub(super) hosts: Arc<[String]>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) limits: Limits,
    pub(super) requests: Arc<Requests>,
}

impl Site {
    /// A site. `orders` is `None` for a node that takes none; `hosts` are names under which it may be asked, beside
    /// IP addresses and `localhost`.
    pub fn new(feed: Feed, orders: Option<Orders>, token: Token, hosts: Vec<String>) -> Self {
        let limits = Limits::default();
        let streams = Arc::new(Semaphore::new(limits.streams_max));
        Self { feed, orders, token, hosts: hosts.into(), streams, limits, requests: Arc::default() }
    }

    /// The same site with other caps.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.streams = Arc::new(Semaphore::new(limits.streams_max));
        self.limits = limits;
        self
    }
}
