//! The task that owns the swarm: commands in, events out, and a look around twice a second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::Multiaddr;
use libp2p::swarm::Swarm;
use libp2p::swarm::dial_opts::DialOpts;
use protocol::id::PeerId;
use tokio::sync::mpsc;

use crate::net::behaviour::Behaviour;
use crate::net::bulk::client::{Ask, Client};
use crate::net::bulk::server::{Report, Server};
use crate::net::command::NetCommand;
use crate::net::counters::Counters;
use crate::net::discovery::dialler::Dialler;
use crate::net::event::{DownReason, FailReason, NetEvent};
use crate::net::gossip::{Traffic, Unpublished};
use crate::net::limits::{BOOK_ADDRESSES_MAX, HANGUP_PAUSE, OUTBOX_MAX, PARKED_MAX, PARKED_WITHIN, TICK};
use crate::net::links::Links;
use crate::net::places::Places;
use crate::net::translate::{split_peer, to_libp2p};

/// Longest wait for connections to close at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The network task and all it holds.
pub(super) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) me: PeerId,
    pub(super) kad_protocol: libp2p::StreamProtocol,
    /// Where we can be reached.
    pub(super) listening: BTreeSet<Multiaddr>,
    /// Whether this node serves those behind routers.
    pub(super) relays: bool,
    /// Places at relays, if this node is behind a router itself.
    pub(super) places: Option<Places>,
    pub(super) links: Links,
    pub(super) links_max: usize,
    pub(super) dialler: Dialler,
    pub(super) traffic: Traffic,
    pub(super) client: Client,
    pub(super) server: Server,
    /// Questions that wait for a link.
    pub(super) parked: BTreeMap<PeerId, Vec<(Ask, Instant)>>,
    pub(super) commands: mpsc::UnboundedReceiver<NetCommand>,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) events: mpsc::Sender<NetEvent>,
    /// Events that wait for room in the channel.
    pub(super) outbox: VecDeque<NetEvent>,
    pub(super) counters: Arc<Counters>,
}

impl Task {
    /// Runs until told to stop, or until nobody listens or speaks any more.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let events = self.events.clone();
        loop {
            tokio::select! {
                room = events.reserve(), if !self.outbox.is_empty() => match room {
                    Ok(room) => if let Some(event) = self.outbox.pop_front() { room.send(event) },
                    Err(_) => break,
                },
                command = self.commands.recv() => match command {
                    None | Some(NetCommand::Shutdown) => break,
                    Some(command) => self.command(command),
                },
                Some(report) = self.reports.recv() => self.report(report),
                // A driver that does not keep up slows the network down rather than filling memory.
                event = self.swarm.select_next_some(), if self.outbox.len() < OUTBOX_MAX => self.happened(event),
                _ = tick.tick() => self.tick(),
            }
        }
        self.close().await;
    }

    pub(super) fn tell(&mut self, event: NetEvent) {
        self.outbox.push_back(event);
    }

    fn command(&mut self, command: NetCommand) {
        let now = Instant::now();
        match command {
            NetCommand::Publish { bytes } => {
                self.counters.gossip_sent.add(bytes.len() as u64);
                let result = self.traffic.publish(&mut self.swarm.behaviour_mut().gossip, bytes, now);
                self.unpublished(result.err());
            }
            NetCommand::Judge { tag, verdict } => {
                self.traffic.judge(&mut self.swarm.behaviour_mut().gossip, tag, verdict);
            }
            NetCommand::Ask { ask, peer, request, parts, first_byte_timeout } => {
                self.ask(Ask { id: ask, peer, request, parts, first_byte_timeout }, now);
            }
            NetCommand::Cancel { ask } => {
                self.client.cancel(ask);
                self.parked.values_mut().for_each(|asks| asks.retain(|(parked, _)| parked.id != ask));
            }
            NetCommand::Answer { inbound, answer } => self.server.answer(inbound, answer),
            NetCommand::Dial { peer, addresses } => self.dial(peer, addresses, now),
            NetCommand::Hangup { peer } => {
                self.dialler.lost(&peer, Some(HANGUP_PAUSE), now);
                self.hang_up(&peer, DownReason::Hangup);
            }
            NetCommand::Ban { peer } => self.ban(&peer),
            NetCommand::Unban { peer } => self.unban(&peer),
            NetCommand::Links { reply } => {
                // The asker may have gone.
                let _ = reply.send(self.links.list(now));
            }
            NetCommand::Shutdown => {}
        }
    }

    pub(super) fn unpublished(&mut self, failed: impl IntoIterator<Item = Unpublished>) {
        for (bytes, reason) in failed {
            self.tell(NetEvent::PublishFailed { bytes, reason });
        }
    }

    /// Asks a linked peer; dials one that is not, and asks then.
    fn ask(&mut self, ask: Ask, now: Instant) {
        if !ask.is_askable() {
            return self.fail(&ask, FailReason::TooLarge);
        }
        let peer = ask.peer;
        if self.links.is_link(&peer) {
            return self.client.ask(ask);
        }
        let is_room = self.parked.values().map(Vec::len).sum::<usize>() < PARKED_MAX;
        let is_coming = self.links.is_connected(&peer) || self.dialler.dial(&mut self.swarm, peer, now);
        if is_room && is_coming {
            self.parked.entry(peer).or_default().push((ask, now + PARKED_WITHIN));
        } else {
            self.fail(&ask, FailReason::Unreachable);
        }
    }

    pub(super) fn fail(&mut self, ask: &Ask, reason: FailReason) {
        self.counters.asks_failed.add(1);
        self.tell(NetEvent::Failed { ask: ask.id, reason, received: 0 });
    }

    /// Fails what waits for a link to this peer.
    pub(super) fn unpark(&mut self, peer: &PeerId) {
        for (ask, _) in self.parked.remove(peer).unwrap_or_default() {
            self.fail(&ask, FailReason::Unreachable);
        }
    }

    fn dial(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>, now: Instant) {
        let addresses = addresses.into_iter().take(2 * BOOK_ADDRESSES_MAX);
        if let Some(peer) = peer {
            self.dialler.book.learn(peer, addresses.map(|address| split_peer(address).1), now);
            if peer != self.me && !self.links.is_connected(&peer) {
                self.dialler.dial(&mut self.swarm, peer, now);
            }
            return;
        }
        for address in addresses {
            if let Err(error) = self.swarm.dial(DialOpts::unknown_peer_id().address(address.clone()).build())
            {
                tracing::debug!(%address, %error, "not dialled");
            }
        }
    }

    pub(super) fn hang_up(&mut self, peer: &PeerId, reason: DownReason) {
        self.links.leave(peer, reason);
        if let Ok(name) = to_libp2p(peer) {
            // No connection is no error.
            let _ = self.swarm.disconnect_peer_id(name);
        }
    }

    fn ban(&mut self, peer: &PeerId) {
        let Ok(name) = to_libp2p(peer) else { return };
        self.links.leave(peer, DownReason::Banned);
        self.dialler.book.forget(peer);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.kad.remove_peer(&name);
        behaviour.gossip.blacklist_peer(&name);
        behaviour.banned.block_peer(name);
        self.unpark(peer);
    }

    fn unban(&mut self, peer: &PeerId) {
        let Ok(name) = to_libp2p(peer) else { return };
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.remove_blacklisted_peer(&name);
        behaviour.banned.unblock_peer(name);
    }

    fn report(&mut self, report: Report) {
        self.counters.offences.add(1);
        self.tell(NetEvent::Offended { peer: report.peer, kind: report.kind });
        if report.is_cut {
            self.dialler.lost(&report.peer, Some(HANGUP_PAUSE), Instant::now());
            self.hang_up(&report.peer, DownReason::Hangup);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for peer in self.links.silent_strangers(now) {
            tracing::debug!(peer = %peer.short(), "did not say in time what it speaks");
            self.hang_up(&peer, DownReason::Hangup);
        }
        for peer in self.links.surplus(self.links_max, now) {
            tracing::debug!(peer = %peer.short(), "one link too many");
            self.dialler.lost(&peer, Some(HANGUP_PAUSE), now);
            self.hang_up(&peer, DownReason::Hangup);
        }
        for connection in self.links.doubles(self.me, now) {
            self.swarm.close_connection(connection);
        }
        if let Some(places) = &mut self.places {
            places.tick(&mut self.swarm, now);
        }
        self.dialler.tick(&mut self.swarm, &self.links, now);
        let unpublished = self.traffic.retry(&mut self.swarm.behaviour_mut().gossip, now);
        self.unpublished(unpublished);
        let mut late = Vec::new();
        for asks in self.parked.values_mut() {
            late.extend(asks.extract_if(.., |(_, until)| *until <= now));
        }
        self.parked.retain(|_, asks| !asks.is_empty());
        for (ask, _) in late {
            self.fail(&ask, FailReason::Unreachable);
        }
        for ask in self.client.reap() {
            tracing::error!(%ask, "the task of a question broke down; this is a mistake in the program");
            self.tell(NetEvent::Failed { ask, reason: FailReason::Disconnected, received: 0 });
        }
        self.server.forget_idle();
        self.counters.links.set(self.links.count() as u64);
        self.counters.connections.set(self.links.connections() as u64);
    }

    /// Closes all connections, politely if that is quick.
    async fn close(mut self) {
        for peer in self.links.all() {
            self.hang_up(&peer, DownReason::Hangup);
        }
        let until = tokio::time::Instant::now() + FAREWELL;
        while self.swarm.network_info().num_peers() > 0 {
            if tokio::time::timeout_at(until, self.swarm.select_next_some()).await.is_err() {
                break;
            }
        }
    }
}
