//! Why the network did not start. Nothing was changed and no port is held when one of these is returned.

use libp2p::Multiaddr;
use thiserror::Error;

/// Why the network did not start.
#[derive(Debug, Error)]
pub enum NetError {
    /// Somebody else listens there.
    #[error("{address} is in use: stop the program that listens there, or choose another port with --listen")]
    InUse {
        /// The address.
        address: Multiaddr,
    },
    /// The port needs rights that the node does not have.
    #[error("{address} needs rights this node does not have: choose a port of 1024 or above")]
    NotAllowed {
        /// The address.
        address: Multiaddr,
    },
    /// The machine has no such address.
    #[error(
        "{address} is not an address of this machine: listen on /ip4/0.0.0.0/tcp/PORT to take all of them"
    )]
    NotHere {
        /// The address.
        address: Multiaddr,
    },
    /// The address is neither TCP nor QUIC.
    #[error("cannot listen on {address}: expected /ip4/IP/tcp/PORT or /ip4/IP/udp/PORT/quic-v1")]
    Unsupported {
        /// The address.
        address: Multiaddr,
    },
    /// The system refused for another reason.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Local discovery could not be set up.
    #[error(
        "cannot look for peers on the local network ({source}): set mdns to false and name a bootstrap peer"
    )]
    Mdns {
        /// What the system said.
        source: std::io::Error,
    },
    /// The network needs a tokio runtime around it.
    #[error("the network was started outside a tokio runtime; this is a mistake in the program")]
    NoRuntime,
    /// A part of libp2p refused its settings.
    #[error("the network could not be set up: {0}")]
    Setup(String),
}

impl NetError {
    /// The error that a refused bind of `address` means.
    pub(super) fn from_bind(address: Multiaddr, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::AddrInUse => Self::InUse { address },
            std::io::ErrorKind::PermissionDenied => Self::NotAllowed { address },
            std::io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Listen { address, source },
        }
    }
}
