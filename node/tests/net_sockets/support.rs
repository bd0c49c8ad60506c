//! Nodes for tests: each collects its events, answers requests from a table, and is asked to wait for what it sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use protocol::crypto::hash::{blake3_of, content_hash};
use protocol::id::{AskId, Hash, PeerId, RunId};
use starling_node::net::command::{AnswerBody, NetCommand, PartSpec};
use starling_node::net::config::NetConfig;
use starling_node::net::event::{FailReason, NetEvent};
use starling_node::net::handle::NetHandle;
use starling_node::net::start::start;
use starling_node::net::translate::to_libp2p;
use tokio::sync::mpsc;

/// Longest wait for anything: a busy machine is slow, a broken node is forever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// What a node answers to each request; anything else is not found.
pub(crate) type Table = HashMap<Vec<u8>, AnswerBody>;

/// A node under test.
pub(crate) struct Node {
    pub(crate) net: NetHandle,
    pub(crate) address: Multiaddr,
    events: mpsc::UnboundedReceiver<NetEvent>,
    asks: u64,
}

pub(crate) fn run_id(name: &str) -> RunId {
    RunId(blake3_of("starling test run", &[name.as_bytes()]))
}

pub(crate) fn tcp() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().expect("valid")
}

pub(crate) fn quic() -> Multiaddr {
    "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("valid")
}

/// Configuration of a node of a run; `number` is its secret.
pub(crate) fn config(run: &str, number: u8) -> NetConfig {
    NetConfig { listen: vec![tcp()], ..NetConfig::new([number; 32], run_id(run)) }
}

impl Node {
    /// Starts a node that knows these addresses.
    pub(crate) async fn start(run: &str, number: u8, bootstrap: &[&Node]) -> Self {
        let bootstrap = bootstrap.iter().map(|node| node.address.clone()).collect();
        Self::with(NetConfig { bootstrap, ..config(run, number) }, Table::new()).await
    }

    /// Starts a node that answers from a table.
    pub(crate) async fn with(config: NetConfig, table: Table) -> Self {
        let (net, mut raw) = start(config).expect("a node starts on a free port");
        let (sender, events) = mpsc::unbounded_channel();
        let answering = net.clone();
        tokio::spawn(async move {
            while let Some(event) = raw.recv().await {
                if let NetEvent::Asked { inbound, request, .. } = &event {
                    let answer = table.get(request).cloned().unwrap_or(AnswerBody::NotFound);
                    answering.send(NetCommand::Answer { inbound: *inbound, answer });
                }
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let mut node = Self { net, address: Multiaddr::empty(), events, asks: 0 };
        let address = node
            .until(|event| match event {
                NetEvent::Listening { address } => Some(address.clone()),
                _ => None,
            })
            .await;
        let peer = to_libp2p(&node.peer()).expect("our own key is a peer");
        node.address = address.with(Protocol::P2p(peer));
        node
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.net.peer()
    }

    /// Reads events until one answers the question.
    pub(crate) async fn until<T>(&mut self, mut is_it: impl FnMut(&NetEvent) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.expect("the node runs");
                if let Some(found) = is_it(&event) {
                    return found;
                }
                seen.push(format!("{event:.120?}"));
            }
        });
        match found.await {
            Ok(found) => found,
            Err(elapsed) => {
                panic!("waited too long: {elapsed}; last seen: {:#?}", &seen[seen.len().saturating_sub(12)..])
            }
        }
    }

    /// Waits until the peer is linked.
    pub(crate) async fn linked(&mut self, peer: PeerId) {
        if self.net.links().await.iter().any(|link| link.peer == peer) {
            return;
        }
        self.until(|event| matches!(event, NetEvent::LinkUp { peer: p, .. } if *p == peer).then_some(()))
            .await;
    }

    /// Waits until all these peers are linked.
    pub(crate) async fn linked_with(&mut self, peers: &[PeerId]) {
        for peer in peers.iter().filter(|peer| **peer != self.peer()).copied().collect::<Vec<_>>() {
            self.linked(peer).await;
        }
    }

    /// Begins to pull; answers the name of the question.
    pub(crate) fn ask(&mut self, peer: PeerId, request: &[u8], parts: Vec<PartSpec>) -> AskId {
        self.asks += 1;
        let ask = AskId(self.asks);
        self.net.send(NetCommand::Ask {
            ask,
            peer,
            request: request.to_vec(),
            parts,
            first_byte_timeout: Duration::from_secs(20),
        });
        ask
    }

    /// Waits until a question is through: the parts that came, and how it ended.
    pub(crate) async fn answer(&mut self, ask: AskId) -> (Vec<Arc<[u8]>>, Result<u64, FailReason>) {
        let mut parts: Vec<Arc<[u8]>> = Vec::new();
        let result = self.until(|event| match event {
            NetEvent::Part { ask: a, index, bytes } if *a == ask => {
                assert_eq!(*index as usize, parts.len(), "parts come in order");
                parts.push(Arc::clone(bytes));
                None
            }
            NetEvent::Done { ask: a, bytes } if *a == ask => Some(Ok(*bytes)),
            NetEvent::Failed { ask: a, reason, .. } if *a == ask => Some(Err(*reason)),
            _ => None,
        });
        let result = result.await;
        (parts, result)
    }

    /// Pulls and waits.
    pub(crate) async fn pull(
        &mut self,
        peer: PeerId,
        request: &[u8],
        parts: Vec<PartSpec>,
    ) -> (Vec<Arc<[u8]>>, Result<u64, FailReason>) {
        let ask = self.ask(peer, request, parts);
        self.answer(ask).await
    }
}

/// Parts of bytes that do not compress and differ from each other.
pub(crate) fn parts(seed: u64, count: usize, bytes: usize) -> Vec<Arc<[u8]>> {
    let part = |index: usize| {
        let mut out = vec![0u8; bytes];
        let key = blake3_of("starling test part", &[&seed.to_le_bytes(), &index.to_le_bytes()]);
        blake3::Hasher::new_keyed(&key.0).finalize_xof().fill(&mut out);
        Arc::from(out)
    };
    (0..count).map(part).collect()
}

/// What an asker that knows these parts expects.
pub(crate) fn expected(parts: &[Arc<[u8]>]) -> Vec<PartSpec> {
    parts.iter().map(|part| PartSpec::exactly(part.len() as u32, content_hash(part))).collect()
}

/// A table with one entry.
pub(crate) fn table(request: &[u8], parts: &[Arc<[u8]>]) -> Table {
    HashMap::from([(request.to_vec(), AnswerBody::Parts(parts.to_vec()))])
}

/// A hash that no part has.
pub(crate) fn wrong_hash() -> Hash {
    Hash([9; 32])
}
