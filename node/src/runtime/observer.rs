//! A node that watches a run and trains nothing.
//!
//! It hears the gossip like everybody, and, where the charter lists its key, pulls the newest manifest of each peer for
//! its sketch: small, signed, and enough to tell how far the models are apart. It never pulls a shard, publishes no
//! update, and nobody waits for it, since it says of itself that it is through.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::crypto::keys::Keypair;
use protocol::exchange::serve::Reply;
use protocol::id::{AskId, GossipId, InboundId, OuterStep, PeerId};
use protocol::peer::config::PeerConfig;
use protocol::peer::input::{Answer, Failure, Input};
use protocol::peer::machine::Peer;
use protocol::peer::output::{Outbox, Output, Question, Verdict};
use protocol::peer::snapshot::Snapshot;
use protocol::rng::Seed;
use protocol::shard::cut::count;
use protocol::time::Span;
use protocol::wire::announce::Announce;
use protocol::wire::charter::SignedCharter;
use protocol::wire::credential::Credential;
use protocol::wire::manifest::{Expected, Manifest};
use protocol::wire::message::{Body, Message};
use protocol::wire::open::Verified;
use protocol::wire::request::Request;
use tokio::sync::{mpsc, watch};

use crate::board::feed::Feed;
use crate::net::command::{AnswerBody, GossipTag, InboundTag, NetCommand, Verdict as NetVerdict};
use crate::net::config::NetConfig;
use crate::net::event::NetEvent;
use crate::net::handle::NetHandle;
use crate::runtime::clock::{Clock, seconds_since_1970, today};
use crate::runtime::driver::DriverError;
use crate::runtime::fetching::{Fetch, Fetches, request};
use crate::runtime::notes::Notes;
use crate::runtime::setup::SetupError;
use crate::runtime::sketches::Sketches;
use crate::runtime::storage::Storage;
use crate::store::keys::Identity;
use crate::store::room::Space;
use crate::store::sequence::Sequence;
use crate::store::status::{self, NodeStatus, PEERS_FILE, PeerStatus, STATUS_FILE};

/// Time between two writes of the status files.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Names of own questions begin here, far from those of the peer machine, which count from 0.
const OWN_ASKS: u64 = 1 << 63;
/// Longest wait for a manifest.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an observer is put together from.
pub struct ObserverParts {
    /// Its directory; the caller holds its lock.
    pub dir: PathBuf,
    /// Its key.
    pub identity: Identity,
    /// Its name for people.
    pub name: String,
    /// The charter.
    pub charter: SignedCharter,
    /// Whether it is a member of the run, whose questions peers answer.
    pub is_member: bool,
    /// What makes it one, in invited runs.
    pub credential: Option<Credential>,
    /// Where to listen and whom to dial.
    pub net: NetConfig,
    /// Most bytes of each record file; `None` for no bound.
    pub records_max: Option<u64>,
    /// Most bytes of the directory; `None` for no bound.
    pub disk_max: Option<u64>,
    /// Who follows its story, and where they look at it.
    pub watched: Option<(Feed, String)>,
}

/// A running observer.
pub struct Observer {
    peer: Peer,
    clock: Clock,
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    notes: Notes,
    sketches: Sketches,
    fetches: Fetches,
    next_ask: u64,
    /// Newest announcement of each peer, and whether its manifest was asked for.
    announced: BTreeMap<PeerId, (Announce, bool)>,
    charter: SignedCharter,
    is_member: bool,
    listening: Vec<String>,
    storage: Storage,
    dir: PathBuf,
    name: String,
}

impl Observer {
    /// Puts an observer together and starts its network.
    pub fn start(parts: ObserverParts) -> Result<Self, SetupError> {
        let keys = Keypair::from_secret(*parts.identity.seed());
        let incarnation = Sequence::open(&parts.dir, None)?.take()? as u32;
        let (feed, dashboard) = parts.watched.unzip();
        let mut notes = Notes::open(&parts.dir, &parts.name, feed)
            .map_err(|source| SetupError::Notes { dir: parts.dir.clone(), source })?;
        notes.dashboard = dashboard;
        notes.keep_within(parts.records_max);
        let clock = Clock::start();
        let config = PeerConfig {
            charter: parts.charter.clone(),
            name: parts.name.clone(),
            credential: parts.credential,
            answers_queries: false,
            incarnation,
            reserved: 0,
            date: (clock.now(), today()),
            links_max: parts.net.links_max,
            start_links: 0,
            start_patience: Span(0),
        };
        let seed = Seed::from_bytes(*parts.identity.seed()).fork("observer");
        // A peer that is through takes part in gossip and is waited for by nobody: what an observer is.
        let through = Snapshot { is_finished: true, ..Snapshot::default() };
        let peer = Peer::new(config, keys, &seed, through);
        let (net, events) = crate::net::start::start(parts.net)?;
        Ok(Self {
            peer,
            clock,
            net,
            events,
            notes,
            sketches: Sketches::default(),
            fetches: Fetches::default(),
            next_ask: OWN_ASKS,
            announced: BTreeMap::new(),
            charter: parts.charter,
            is_member: parts.is_member,
            listening: Vec::new(),
            storage: Storage::new(parts.disk_max, 0),
            dir: parts.dir,
            name: parts.name,
        })
    }

    /// Whether the charter lists this observer, so that peers answer its questions.
    pub fn is_member(&self) -> bool {
        self.is_member
    }

    /// Watches until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), DriverError> {
        let mut status = tokio::time::interval(STATUS_EVERY);
        status.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.feed(Input::Wake);
        loop {
            let wake = self.peer.next_wake().map_or(Duration::from_secs(3_600), |t| self.clock.until(t));
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        self.write_status("stopped");
                        self.net.send(NetCommand::Shutdown);
                        return Ok(());
                    }
                }
                event = self.events.recv() => match event {
                    Some(event) => self.net_event(event),
                    None => return Err(DriverError::Disk("the network task ended; see the log".to_owned())),
                },
                _ = status.tick() => {
                    self.tend_disk();
                    self.write_status("observing");
                }
                () = tokio::time::sleep(wake) => self.feed(Input::Wake),
            }
        }
    }

    fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.peer.handle(self.clock.now(), input, &mut out);
        while let Some(output) = out.pop() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            // Only members are heard; a stranger's words would cost it its links.
            Output::Publish(bytes) if self.is_member => {
                self.net.send(NetCommand::Publish { bytes: bytes.into() });
            }
            Output::Ask { ask, peer, question, deadline } if self.is_member => {
                self.ask(ask, peer, question, Duration::from_micros(deadline.0));
            }
            Output::Ask { ask, .. } => self.feed(Input::Failed { ask, failure: Failure::Refused }),
            Output::Cancel(ask) => {
                self.fetches.remove(&ask);
                self.net.send(NetCommand::Cancel { ask });
            }
            Output::Judge { gossip, verdict } => {
                let verdict = match verdict {
                    Verdict::Accept => NetVerdict::Accept,
                    Verdict::Ignore => NetVerdict::Ignore,
                    Verdict::Reject => NetVerdict::Reject,
                };
                self.net.send(NetCommand::Judge { tag: GossipTag(gossip.0), verdict });
            }
            Output::Answer { inbound, reply } => {
                let answer = match reply {
                    Reply::Bytes(bytes) => AnswerBody::Parts(vec![bytes]),
                    Reply::Busy(_) | Reply::Blocks(_) | Reply::NotFound => AnswerBody::NotFound,
                    Reply::Refused => AnswerBody::Refused(1),
                };
                self.net.send(NetCommand::Answer { inbound: InboundTag(inbound.0), answer });
            }
            Output::Dial { peer, addresses } => {
                let addresses = addresses.iter().filter_map(|a| a.parse().ok()).collect();
                self.net.send(NetCommand::Dial { peer: Some(peer), addresses });
            }
            Output::Hangup(peer) => self.net.send(NetCommand::Hangup { peer }),
            Output::Ban(peer) => self.net.send(NetCommand::Ban { peer }),
            Output::Unban(peer) => self.net.send(NetCommand::Unban { peer }),
            Output::Emit(event) => self.notes.event(&event),
            // Nothing is trained, mixed or kept.
            _ => {}
        }
    }

    fn ask(&mut self, ask: AskId, peer: PeerId, question: Question, first_byte_timeout: Duration) {
        let (bytes, parts) = request(self.charter.run(), &question);
        self.fetches.insert(ask, Fetch { peer, question, first: None, shards: Vec::new() });
        self.net.send(NetCommand::Ask { ask, peer, request: bytes, parts, first_byte_timeout });
    }

    fn net_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { address } => {
                tracing::info!(%address, "listening");
                self.listening.push(address.to_string());
                self.feed(Input::Listening(self.listening.clone()));
            }
            NetEvent::Unreachable { address } => {
                tracing::info!(%address, "no longer listening");
                let gone = address.to_string();
                self.listening.retain(|known| *known != gone);
                self.feed(Input::Listening(self.listening.clone()));
            }
            NetEvent::LinkUp { peer, .. } => self.feed(Input::LinkUp(peer)),
            NetEvent::LinkDown { peer, .. } => {
                self.sketches.remove(&peer);
                self.feed(Input::LinkDown(peer));
                let lost: Vec<AskId> =
                    self.fetches.iter().filter(|(_, f)| f.peer == peer).map(|(a, _)| *a).collect();
                lost.into_iter().for_each(|ask| self.failed(ask));
            }
            NetEvent::Heard { tag, from, bytes } => match self.peer.open(&bytes, from, self.clock.now()) {
                Ok(message) => {
                    self.look_at(&message);
                    self.feed(Input::Heard { gossip: GossipId(tag.0), message });
                }
                Err(refusal) => {
                    // Whoever only watches judges nobody: the message is dropped and counted.
                    self.net.send(NetCommand::Judge { tag, verdict: NetVerdict::Ignore });
                    self.notes.refused(refusal.offence);
                }
            },
            NetEvent::Asked { inbound, from, request } => {
                match Request::open(&request, &self.charter.run()) {
                    Ok(request) => {
                        self.feed(Input::Asked { inbound: InboundId(inbound.0), from, request });
                    }
                    Err(_) => {
                        self.net.send(NetCommand::Answer { inbound, answer: AnswerBody::Refused(1) });
                    }
                }
            }
            NetEvent::Part { ask, bytes, .. } => {
                // What an observer asks for comes in one part.
                if let Some(fetch) = self.fetches.get_mut(&ask) {
                    fetch.first.get_or_insert(bytes);
                }
            }
            NetEvent::Done { ask, .. } => self.answered(ask),
            NetEvent::Failed { ask, .. } => self.failed(ask),
            NetEvent::Offended { .. } | NetEvent::PublishFailed { .. } => {}
        }
    }

    fn answered(&mut self, ask: AskId) {
        let Some(fetch) = self.fetches.remove(&ask) else { return };
        match &fetch.question {
            Question::News => {
                let now = self.clock.now();
                let messages = fetch.news().unwrap_or_default();
                let opened: Vec<Verified<Message>> =
                    messages.iter().filter_map(|bytes| self.peer.open(bytes, fetch.peer, now).ok()).collect();
                opened.iter().for_each(|message| self.look_at(message));
                self.feed(Input::Answered { ask, answer: Answer::News(opened) });
            }
            Question::Manifest { expected, .. } => {
                let bytes = fetch.first.clone().unwrap_or_else(|| Arc::from([]));
                self.manifest(&bytes, expected);
            }
            Question::Shards { .. } => {}
        }
    }

    fn failed(&mut self, ask: AskId) {
        let Some(fetch) = self.fetches.remove(&ask) else { return };
        match fetch.question {
            // The next announcement of the peer is another chance.
            Question::Manifest { .. } => {}
            _ => self.feed(Input::Failed { ask, failure: Failure::Disconnected }),
        }
    }

    /// Takes note of an announcement, and asks for its manifest.
    fn look_at(&mut self, message: &Verified<Message>) {
        let Body::Announce(announce) = message.value().body else { return };
        let peer = message.signer();
        let is_new = self.announced.get(&peer).is_none_or(|(known, _)| known.step < announce.step);
        if peer == self.net.peer() || !is_new {
            return;
        }
        self.notes.announced(peer, &announce);
        self.announced.insert(peer, (announce, false));
        self.pull(peer);
    }

    /// Asks a peer for its newest manifest, unless one of its manifests is under way.
    fn pull(&mut self, peer: PeerId) {
        let is_busy =
            self.fetches.values().any(|f| f.peer == peer && matches!(f.question, Question::Manifest { .. }));
        let Some((announce, was_asked)) = self.announced.get_mut(&peer) else { return };
        if is_busy || *was_asked || !self.is_member {
            return;
        }
        *was_asked = true;
        let (step, hash) = (announce.step, announce.manifest);
        let bytes = announce.manifest_bytes;
        let parameters = self.charter.charter().model.parameters;
        let expected = Expected { run: self.charter.run(), peer, step, hash, parameters };
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.ask(ask, peer, Question::Manifest { expected, bytes }, PATIENCE);
    }

    fn manifest(&mut self, bytes: &[u8], expected: &Expected) {
        let peer = expected.peer;
        // Boundaries come from the training codec alone, as everywhere.
        let shards = count(expected.parameters as usize, self.charter.charter().exchange.codec);
        match Manifest::open(bytes, expected, |_| shards) {
            Ok(manifest) => {
                self.sketches.insert(peer, manifest.manifest.sketch);
                self.measure(expected.step);
            }
            Err(offence) => self.feed(Input::Offended { peer, offence }),
        }
        // A newer one may have been announced meanwhile.
        self.pull(peer);
    }

    /// How far the models are apart now.
    fn measure(&mut self, step: OuterStep) {
        if let Some(relative) = self.sketches.consensus_relative() {
            self.notes.figures.consensus_relative = Some(relative);
            self.notes.metric(step.0, "consensus_distance_relative", relative, BTreeMap::new());
        }
        let linked = self.peer.peers(self.clock.now()).into_iter().filter(|p| p.is_linked);
        let linked = linked.map(|p| p.peer_id.to_string()).collect();
        if let Some(line) = self.sketches.topology(seconds_since_1970(), &self.name, step.0, linked) {
            self.notes.topology(&line);
        }
    }

    /// Looks at the disk now and then; records wait for room, everything else goes on.
    fn tend_disk(&mut self) {
        let now = Instant::now();
        if self.storage.is_due(now)
            && let Ok(space) = Space::look(&self.dir)
        {
            self.storage.looked(space, now);
            self.notes.hold(self.storage.trouble().is_some());
        }
    }

    fn write_status(&mut self, state: &str) {
        let s = self.peer.status();
        let counters = self.net.counters();
        let known = self.peer.peers(self.clock.now());
        let newest = known.iter().map(|p| p.outer_step.0).max().unwrap_or(0);
        let node = NodeStatus {
            peer_id: s.peer_id.to_string(),
            name: self.name.clone(),
            organization: s.organization,
            run: s.run.to_string(),
            stage: OBSERVE.to_owned(),
            outer_step: newest,
            outer_steps: s.outer_steps,
            peers: s.peers,
            bytes_sent: counters.wire_sent,
            bytes_received: counters.wire_received,
            consensus_distance_relative: self.notes.figures.consensus_relative,
            state: state.to_owned(),
            trouble: self.storage.trouble(),
            disk_used_bytes: self.storage.space().used,
            disk_max_bytes: self.storage.bytes_max(),
            listening: self.listening.clone(),
            rejected_shards: self.notes.figures.rejected_shards,
            process: std::process::id(),
            uptime_seconds: self.clock.now().0 as f64 / 1e6,
            dashboard: self.notes.dashboard.clone(),
            ..NodeStatus::default()
        };
        let peers: Vec<PeerStatus> = known
            .into_iter()
            .map(|p| PeerStatus {
                peer_id: p.peer_id.to_string(),
                name: p.name,
                organization: p.organization,
                is_linked: p.is_linked,
                is_banned: p.is_banned,
                address: p.addresses.first().cloned().unwrap_or_default(),
                outer_step: Some(p.outer_step.0),
                score: p.evaluation.map(f64::from),
                behaviour: f64::from(p.score),
                stage: p.stage.to_string(),
                ..PeerStatus::default()
            })
            .collect();
        for (file, result) in [
            (STATUS_FILE, status::write(&self.dir.join(STATUS_FILE), &node)),
            (PEERS_FILE, status::write(&self.dir.join(PEERS_FILE), &peers)),
        ] {
            if let Err(error) = result {
                tracing::warn!(file, %error, "could not write");
            }
        }
        self.notes.now(node, peers, counters);
    }
}

/// The stage an observer tells of itself on this machine; it never travels.
pub const OBSERVE: &str = "observe";
