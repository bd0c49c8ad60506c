//! Caps on what somebody who can reach the port may cost a node.

use std::time::Duration;

/// The caps; the defaults are what a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; a browser opens up to six, Prometheus one.
    pub connections_max: usize,
    /// Followers of `/v1/events` at a time; more are answered 503. Less than connections, so that health checks get in.
    pub streams_max: usize,
    /// Time for a request's head, counted from the moment the connection is idle.
    pub head_patience: Duration,
    /// Time for a request's body.
    pub body_patience: Duration,
    /// Life of a connection that follows nothing, so that slow readers cannot hold the door for ever.
    pub connection_life: Duration,
    /// Further life of a connection that follows events; browsers come back by themselves.
    pub stream_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            streams_max: 64,
            head_patience: Duration::from_secs(10),
            body_patience: Duration::from_secs(5),
            connection_life: Duration::from_secs(120),
            stream_life: Duration::from_secs(3_600),
        }
    }
}

/// Bytes of a request's head; hyper takes no less than 8 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of a request.
pub const HEADERS_MAX: usize = 64;

/// Bytes of a request's body; commands are a line.
pub const BODY_BYTES_MAX: usize = 4 * 1024;

/// Time between two signs of life to a follower.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A node that told nothing for this long is not ready.
pub const READY_WITHIN: Duration = Duration::from_secs(10);

/// A node that told nothing for this long is not healthy: it tells every second, whatever it does.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
