//! What the network counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows, except where its name says otherwise.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds. Relaxed: each count stands for itself.
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The live counters, shared by the tasks of the room.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Count),* }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(super) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.now()),* }
            }
        }
    };
}

counters! {
    /// Bytes written to sockets: all of TCP with its encryption; of QUIC what its streams carry.
    wire_sent,
    /// Bytes read from sockets, counted alike.
    wire_received,
    /// Payload bytes of own gossip messages.
    gossip_sent,
    /// Payload bytes of gossip messages heard, duplicates not counted.
    gossip_received,
    /// Messages heard and dropped because the driver was behind.
    gossip_dropped,
    /// Payload bytes of parts sent.
    bulk_sent,
    /// Payload bytes of parts received, good or bad.
    bulk_received,
    /// Questions asked.
    asks,
    /// Questions that failed.
    asks_failed,
    /// Requests received.
    requests,
    /// Requests answered with "busy" by this room.
    requests_busy,
    /// Links that are up now.
    links,
    /// Connections that are up now, links and strangers.
    connections,
    /// Dials that failed.
    dials_failed,
    /// Incoming connections that failed before they were links.
    inbound_failed,
    /// Offences seen on the wire.
    offences,
}
