//! A short visit to another node by somebody who is no member yet: to read its charter, to use an invitation, to fetch
//! the files the charter names.

use std::time::Duration;

use libp2p::Multiaddr;
use protocol::crypto::hash::content_hash;
use protocol::id::{AskId, Hash, PeerId, RunId};
use protocol::limits::FILE_PIECE_BYTES;
use protocol::wire::request::{Request, Want};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::net::command::{AnswerBody, NetCommand, PartSpec};
use crate::net::config::NetConfig;
use crate::net::error::NetError;
use crate::net::event::{FailReason, NetEvent};
use crate::net::handle::NetHandle;

/// Time for the host to be linked, and for the first byte of an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest file that is fetched, bytes: tokenizers take a few megabytes.
const FILE_BYTES_MAX: usize = 256 << 20;

/// A visit that did not succeed.
#[derive(Debug, Error)]
pub enum VisitError {
    /// The network cannot be opened.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Nobody is there, or somebody else.
    #[error("peer {} was not found at {addresses} within {} s", host.short(), PATIENCE.as_secs())]
    NotFound {
        /// Who should be there.
        host: PeerId,
        /// Where.
        addresses: String,
    },
    /// The host refuses.
    #[error("the host refuses {what}: {why}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Why, as far as it tells.
        why: &'static str,
    },
    /// The link was lost or the answer came too late.
    #[error("{what} did not come: {reason:?}")]
    Lost {
        /// What was asked for.
        what: &'static str,
        /// How it failed.
        reason: FailReason,
    },
    /// The file is not the one that the charter names.
    #[error("expected the file with hash {expected}, found one with hash {found}")]
    OtherFile {
        /// Its hash in the charter.
        expected: Hash,
        /// What came.
        found: Hash,
    },
}

/// A visit under way.
pub struct Visit {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    host: PeerId,
    run: RunId,
    asks: u64,
}

impl Visit {
    /// Links to the host at one of these addresses.
    pub async fn begin(
        secret: [u8; 32],
        run: RunId,
        host: PeerId,
        addresses: &[Multiaddr],
    ) -> Result<Self, VisitError> {
        let mut config = NetConfig::new(secret, run);
        // The visitor chose these addresses: they may be this machine's own.
        config.bootstrap = addresses.to_vec();
        let (net, mut events) = crate::net::start::start(config)?;
        net.send(NetCommand::Dial { peer: Some(host), addresses: addresses.to_vec() });
        let linked = async {
            while let Some(event) = events.recv().await {
                if matches!(event, NetEvent::LinkUp { peer, .. } if peer == host) {
                    return true;
                }
            }
            false
        };
        if tokio::time::timeout(PATIENCE, linked).await == Ok(true) {
            return Ok(Self { net, events, host, run, asks: 0 });
        }
        net.shutdown().await;
        let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(VisitError::NotFound { host, addresses })
    }

    /// The charter, as its bytes.
    pub async fn charter(&mut self) -> Result<Vec<u8>, VisitError> {
        self.ask("the charter", Want::Charter, protocol::codec::MANIFEST_BYTES_MAX).await
    }

    /// Uses an invitation; answers the host's sealed binding.
    pub async fn redeem(&mut self, want: Want) -> Result<Vec<u8>, VisitError> {
        self.ask("the invitation", want, protocol::codec::CONTROL_BYTES_MAX).await
    }

    /// A file that the charter names.
    pub async fn file(&mut self, hash: Hash) -> Result<Vec<u8>, VisitError> {
        let mut bytes = Vec::new();
        for piece in 0.. {
            let came = self.ask("a file", Want::File { hash, piece }, FILE_PIECE_BYTES).await?;
            bytes.extend_from_slice(&came);
            if came.len() < FILE_PIECE_BYTES || bytes.len() > FILE_BYTES_MAX {
                break;
            }
        }
        let found = content_hash(&bytes);
        if found == hash { Ok(bytes) } else { Err(VisitError::OtherFile { expected: hash, found }) }
    }

    /// Ends the visit.
    pub async fn end(self) {
        self.net.shutdown().await;
    }

    async fn ask(&mut self, what: &'static str, want: Want, bytes_max: usize) -> Result<Vec<u8>, VisitError> {
        self.asks += 1;
        let ask = AskId(self.asks);
        let request = Request::new(self.run, want).to_bytes();
        let parts = vec![PartSpec::at_most(bytes_max as u32)];
        self.net.send(NetCommand::Ask { ask, peer: self.host, request, parts, first_byte_timeout: PATIENCE });
        let mut came = Vec::new();
        while let Some(event) = self.events.recv().await {
            match event {
                NetEvent::Part { ask: of, bytes, .. } if of == ask => came = bytes.to_vec(),
                NetEvent::Done { ask: of, .. } if of == ask => return Ok(came),
                NetEvent::Failed { ask: of, reason, .. } if of == ask => {
                    return Err(match reason {
                        FailReason::NotFound => {
                            VisitError::Refused { what, why: "it was used by another key, or is not there" }
                        }
                        FailReason::Refused(_) => {
                            VisitError::Refused { what, why: "it does not hold here and today" }
                        }
                        FailReason::Busy { .. } => VisitError::Refused { what, why: "it is busy; try again" },
                        reason => VisitError::Lost { what, reason },
                    });
                }
                // A visitor has nothing to tell.
                NetEvent::Asked { inbound, .. } => {
                    self.net.send(NetCommand::Answer { inbound, answer: AnswerBody::NotFound });
                }
                _ => {}
            }
        }
        Err(VisitError::Lost { what, reason: FailReason::Disconnected })
    }
}
