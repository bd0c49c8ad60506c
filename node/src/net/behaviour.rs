//! The parts of libp2p a node is made of, each with its settings and why.

use std::collections::HashSet;

use libp2p::allow_block_list::{Behaviour as BlockList, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, MaxCountSubscriptionFilter, MessageAuthenticity, ValidationMode,
    WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::MemoryStore, store::MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, identify, mdns, ping, relay};
use protocol::id::RunId;

use crate::net::config::NetConfig;
use crate::net::error::NetError;
use crate::net::limits::{
    CONNECTIONS_PER_PEER_MAX, GOSSIP_QUEUE_MAX, GOSSIP_TRANSMIT_BYTES_MAX, LINKS_SPARE, PENDING_MAX,
    PING_EVERY, PING_WITHIN, WALK_EVERY,
};
use crate::net::nat::Traversal;

/// Gossip that takes part in one topic and hears of no other.
pub(super) type Gossip = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>,
>;

/// Everything a swarm does. Limits and bans stand first: what they refuse never reaches the others.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) banned: BlockList<BlockedPeers>,
    pub(super) gossip: Gossip,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) stream: libp2p_stream::Behaviour,
    pub(super) traversal: Traversal,
}

/// The name of the table of peers of a run; only peers of one run speak it with one another.
pub(super) fn kad_protocol(run: &RunId) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/starling/{run}/kad/1")).expect("the name begins with a slash")
}

/// The topic of a run.
pub(super) fn topic(run: &RunId) -> IdentTopic {
    IdentTopic::new(format!("/starling/{run}/gossip/1"))
}

impl Behaviour {
    pub(super) fn new(
        config: &NetConfig,
        key: &Keypair,
        places: relay::client::Behaviour,
    ) -> Result<Self, NetError> {
        let peer = key.public().to_peer_id();
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits(config.links_max)),
            banned: BlockList::default(),
            gossip: gossip(key, &config.run)?,
            kad: kad(peer, &config.run),
            identify: identify::Behaviour::new(
                identify::Config::new("/starling/1".to_owned(), key.public())
                    .with_agent_version(format!("starling/{}", env!("CARGO_PKG_VERSION")))
                    .with_push_listen_addr_updates(true)
                    // The address book knows addresses, and screens them; this cache would not.
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_WITHIN),
            ),
            mdns: mdns(config.mdns, peer)?.into(),
            stream: libp2p_stream::Behaviour::new(),
            traversal: Traversal::new(peer, config.is_behind_router, config.relays, places),
        })
    }
}

fn limits(links_max: u32) -> ConnectionLimits {
    // Crossing dials double a connection for a moment, hence the half more.
    let established = links_max.saturating_add(links_max / 2).saturating_add(LINKS_SPARE);
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established(Some(established))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
}

fn gossip(key: &Keypair, run: &RunId) -> Result<Gossip, NetError> {
    let wrong = |e: String| NetError::Setup(format!("gossipsub: {e}"));
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        // Nothing is passed on before the driver has judged it.
        .validate_messages()
        .max_transmit_size(GOSSIP_TRANSMIT_BYTES_MAX)
        // A second copy of this node speaks with the same key, and must be heard to be noticed. Own words that come back
        // are known by their name.
        .allow_self_origin(true)
        // One message has one name, whoever wraps it: repeats of one another's words stop here.
        .message_id_fn(|message| gossipsub::MessageId::from(blake3::hash(&message.data).as_bytes().to_vec()))
        // A message may wait so many heartbeats (seconds) for its verdict.
        .history_length(12)
        .history_gossip(3)
        // Five of six peers known: in a swarm of up to seven nodes everybody is in the mesh of everybody.
        .mesh_n_low(4)
        .mesh_n(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        // To the mesh is enough: flooding costs every neighbour a signature check for each message.
        .flood_publish(false)
        .heartbeat_initial_delay(std::time::Duration::from_millis(500))
        .heartbeat_interval(std::time::Duration::from_secs(1))
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .build()
        .map_err(|e| wrong(e.to_string()))?;
    let topic = topic(run);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(HashSet::from([topic.hash()])),
        max_subscribed_topics: 2,
        max_subscriptions_per_request: 8,
    };
    let mut gossip = gossipsub::Behaviour::new_with_subscription_filter(
        MessageAuthenticity::Signed(key.clone()),
        config,
        filter,
    )
    .map_err(|e| wrong(e.to_owned()))?;
    gossip.subscribe(&topic).map_err(|e| wrong(e.to_string()))?;
    Ok(gossip)
}

fn kad(peer: PeerId, run: &RunId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(kad_protocol(run));
    config
        // The table finds peers; it stores nothing for anybody. Filtered records are told of and then dropped.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(Some(WALK_EVERY))
        .set_query_timeout(std::time::Duration::from_secs(20))
        .set_substreams_timeout(std::time::Duration::from_secs(10));
    let store = MemoryStore::with_config(
        peer,
        MemoryStoreConfig {
            max_records: 16,
            max_value_bytes: 1_024,
            max_providers_per_key: 4,
            max_provided_keys: 16,
        },
    );
    let mut kad = kad::Behaviour::with_config(peer, store, config);
    // All peers are equal: everyone answers questions about the table.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn mdns(is_on: bool, peer: PeerId) -> Result<Option<mdns::tokio::Behaviour>, NetError> {
    if !is_on {
        return Ok(None);
    }
    let behaviour = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
    behaviour.map(Some).map_err(|source| NetError::Mdns { source })
}
