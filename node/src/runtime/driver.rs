//! The driver: one task that feeds the peer and does what it asks for.
//!
//! Everything that happens comes through one loop, in one order, so the peer sees a single history.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::codec::decode_manifest;
use protocol::id::{GossipId, Hash, InboundId, OuterStep, PeerId, RunId, ShardIndex};
use protocol::peer::hearing::Refusal;
use protocol::peer::input::{Answer as PeerAnswer, Command, Failure, Input};
use protocol::peer::machine::Peer;
use protocol::peer::output::{Outbox, Question};
use protocol::time::Span;
use protocol::wire::certificate::Revocation;
use protocol::wire::manifest::Manifest;
use protocol::wire::message::Message;
use protocol::wire::offence::{Offence, Reaction};
use protocol::wire::open::Verified;
use protocol::wire::request::Request;
use protocol::wire::sealed::CoSigned;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::control::order::{Answer, Order, Verb};
use crate::net::event::{FailReason, NetEvent};
use crate::net::handle::NetHandle;
use crate::net::link::Link;
use crate::runtime::asking::{Asking, Due};
use crate::runtime::checkpoint::{Held, Reservation, RestoreError};
use crate::runtime::clock::Clock;
use crate::runtime::control::{Control, Seen};
use crate::runtime::fetching::Fetches;
use crate::runtime::journal::Recorder;
use crate::runtime::local::Knock;
use crate::runtime::membership;
use crate::runtime::notes::Notes;
use crate::runtime::sketches::Sketches;
use crate::runtime::storage::Storage;
use crate::runtime::traffic::Traffic;
use crate::store::blocks::Blocks;
use crate::store::ledger::LedgerFile;
use crate::store::state::{StateError, StateStore};
use crate::telemetry::service;
use crate::trainer::job::{Report, ShardBytes};
use crate::trainer::responder::{Answered, Responder};
use crate::trainer::worker::Trainer;

/// Why a node stopped before it was told to.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The trainer cannot go on.
    #[error("the trainer stopped: {0}")]
    Trainer(String),
    /// The disk cannot be trusted with what must be durable.
    #[error("{0}")]
    Disk(String),
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop; its state is saved.
    Stopped,
    /// The run is through and nobody needs this node any more.
    Drained,
    /// It was told to leave the run; others were told farewell.
    Left,
    /// The charter's date passed; the state of the last complete outer step is saved.
    Expired,
}

/// Everything one running node holds.
pub struct Driver {
    pub(super) peer: Peer,
    pub(super) clock: Clock,
    pub(super) net: NetHandle,
    pub(super) events: mpsc::Receiver<NetEvent>,
    pub(super) trainer: Trainer,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    /// Answers members' queries, where charter and owner allow it.
    pub(super) responder: Option<Responder>,
    pub(super) answers: mpsc::UnboundedReceiver<Answered>,
    /// Queries of the person at this node to other members.
    pub(super) asking: Asking,
    pub(super) asking_due: mpsc::UnboundedReceiver<Due>,
    pub(super) knocks: Option<mpsc::Receiver<Knock>>,
    pub(super) blocks: Blocks,
    pub(super) received: ShardBytes,
    pub(super) fetches: Fetches,
    pub(super) ledger: LedgerFile,
    pub(super) state: Option<StateStore>,
    pub(super) reservation: Reservation,
    pub(super) notes: Notes,
    pub(super) dir: PathBuf,
    pub(super) name: String,
    /// The architecture in words, for the status.
    pub(super) model: String,
    pub(super) run: RunId,
    pub(super) me: PeerId,
    pub(super) parameters: u64,
    /// Number of shards of an update.
    pub(super) shards: usize,
    /// Least time between two checkpoints; every outer step asks for one. `None`: only at the end.
    pub(super) checkpoint_every: Option<Duration>,
    /// When the last checkpoint was through; none yet, so that the first one comes with the first outer step.
    pub(super) checkpointed: Option<std::time::Instant>,
    /// The newest generation on the disk.
    pub(super) held: Option<Held>,
    /// Peer memory that goes with the checkpoint under way.
    pub(super) snapshot: Option<protocol::peer::snapshot::Snapshot>,
    pub(super) is_committing: bool,
    pub(super) commits: mpsc::UnboundedReceiver<Committed>,
    pub(super) commit_done: mpsc::UnboundedSender<Committed>,
    pub(super) reserved: mpsc::UnboundedReceiver<Reserved>,
    pub(super) reserve_done: mpsc::UnboundedSender<Reserved>,
    /// What waits for room on the disk.
    pub(super) storage: Storage,
    pub(super) sketches: Sketches,
    pub(super) listening: Vec<String>,
    pub(super) status_every: Duration,
    pub(super) traffic: Traffic,
    /// Files beside the charter that members may fetch, by hash.
    pub(super) files: BTreeMap<Hash, PathBuf>,
    pub(super) redeemed: mpsc::UnboundedReceiver<(InboundId, bool)>,
    pub(super) redeem_done: mpsc::UnboundedSender<(InboundId, bool)>,
    pub(super) links: mpsc::UnboundedReceiver<Vec<Link>>,
    pub(super) links_told: mpsc::UnboundedSender<Vec<Link>>,
    pub(super) ends_when_drained: bool,
    pub(super) is_leaving: bool,
    pub(super) control: Control,
    /// The journal, while one is written.
    pub(super) recorder: Option<Recorder>,
    pub(super) fault: Option<DriverError>,
}

/// The next word at the door; never where there is none.
async fn next_knock(knocks: &mut Option<mpsc::Receiver<Knock>>) -> Option<Knock> {
    match knocks {
        Some(knocks) => knocks.recv().await,
        None => std::future::pending().await,
    }
}

/// An outer step is reserved, or could not be.
pub type Reserved = Result<OuterStep, (OuterStep, RestoreError)>;

/// The store comes back from the thread that wrote a generation.
pub struct Committed {
    pub(super) store: StateStore,
    pub(super) result: Result<Held, StateError>,
}

impl Driver {
    /// A handle on the network, to dial and to read its counters.
    pub fn net(&self) -> NetHandle {
        self.net.clone()
    }

    /// Runs until `stop` turns true, the run drains, or something breaks.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Ended, DriverError> {
        let mut status = tokio::time::interval(self.status_every);
        status.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        if self.control.starts_paused {
            self.feed(Input::Command(Command::Pause));
        }
        self.feed(Input::Wake);
        service::notify("READY=1");
        loop {
            if let Some(fault) = self.fault.take() {
                self.write_status("stopped: see the log");
                return Err(fault);
            }
            if self.is_leaving && !self.is_committing {
                return Ok(self.end(Ended::Left).await);
            }
            if self.ends_when_drained && self.peer.is_drained() && !self.is_committing {
                return Ok(self.end(Ended::Drained).await);
            }
            if self.peer.is_expired() && !self.is_committing {
                return Ok(self.end(Ended::Expired).await);
            }
            let wake = self.peer.next_wake().map_or(Duration::from_secs(3_600), |t| self.clock.until(t));
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        return Ok(self.end(Ended::Stopped).await);
                    }
                }
                event = self.events.recv() => match event {
                    Some(event) => self.net_event(event),
                    None => return Err(DriverError::Disk("the network task ended; see the log".to_owned())),
                },
                report = self.reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => return Err(DriverError::Trainer("its thread ended; see the log".to_owned())),
                },
                Some(reserved) = self.reserved.recv() => match reserved {
                    Ok(step) => self.feed(Input::Reserved(step)),
                    Err((step, error)) => self.unreserved(step, &error),
                },
                Some(committed) = self.commits.recv() => self.committed(committed),
                Some(answered) = self.answers.recv() => self.answered_query(answered),
                Some(due) = self.asking_due.recv() => self.asking_is_due(due),
                Some(knock) = next_knock(&mut self.knocks) => self.knocked(knock),
                Some(command) = self.control.commands.recv() => self.feed(Input::Command(command)),
                Some((inbound, is_free)) = self.redeemed.recv() => {
                    self.feed(Input::Redeemed { inbound, is_free });
                }
                Some(order) = self.control.orders.recv() => self.obey(order),
                Some(links) = self.links.recv() => self.traffic.links(links),
                _ = status.tick() => self.tell_status(),
                () = tokio::time::sleep(wake) => self.feed(Input::Wake),
            }
        }
    }

    /// Looks after the disk, writes the status files, and asks for the links that the next ones tell of.
    fn tell_status(&mut self) {
        self.tend_disk();
        self.write_status("");
        service::notify("WATCHDOG=1");
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
        }
        let (net, told) = (self.net.clone(), self.links_told.clone());
        tokio::spawn(async move {
            // The driver may have ended meanwhile; then nobody needs the word.
            let _ = told.send(net.links().await);
        });
    }

    /// A newer revocation list that holds for this run, from its hexadecimal digits.
    fn revocation(&self, digits: &str) -> Option<CoSigned> {
        let list: CoSigned = decode_manifest(&membership::from_hex(digits)?).ok()?;
        let opened = Revocation::open(&list, self.peer.charter()).ok()?;
        (opened.version > self.peer.revocation_version()).then_some(list)
    }

    /// Does what an operator says, and records it.
    fn obey(&mut self, order: Order) {
        let Order { verb, answer } = order;
        tracing::info!(?verb, "an operator's order");
        self.notes.order(&verb);
        let command = match verb {
            Verb::Revoke { list } => {
                let Some(list) = self.revocation(&list) else {
                    let why = "the list does not hold under this run's charter, or is not newer".to_owned();
                    let _ = answer.send(Answer { is_done: false, state: String::new(), why });
                    return;
                };
                self.feed(Input::Revoked(Box::new(list)));
                let state = self.peer.status().state.to_owned();
                let _ = answer.send(Answer { is_done: true, state, why: String::new() });
                return;
            }
            Verb::Pause => Command::Pause,
            Verb::Resume => Command::Resume,
            Verb::Leave => {
                self.is_leaving = true;
                Command::Leave
            }
            Verb::Ban { peer, .. } => Command::Ban(peer),
            Verb::Unban { peer, .. } => Command::Unban(peer),
        };
        self.feed(Input::Command(command));
        let state = self.peer.status().state.to_owned();
        // Whoever asked may have gone.
        let _ = answer.send(Answer { is_done: true, state, why: String::new() });
    }

    /// Gives the peer an input and does what it asks for.
    pub(super) fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        let now = self.clock.now();
        self.record(|recorder| recorder.happened(now, &input));
        if matches!(input, Input::Command(Command::Pause)) {
            self.notes.figures.time.interrupted();
        }
        self.peer.handle(now, input, &mut out);
        self.perform(&mut out);
    }

    /// Puts bytes to the peer's gate.
    fn open(&mut self, bytes: &[u8], link: PeerId) -> Result<Verified<Message>, Refusal> {
        let now = self.clock.now();
        self.record(|recorder| recorder.opened(now, link, bytes));
        self.peer.open(bytes, link, now)
    }

    /// Adds to the journal, if one is written, and ends it when it cannot go on.
    fn record(&mut self, add: impl FnOnce(&mut Recorder) -> bool) {
        if self.recorder.as_mut().is_some_and(|recorder| !add(recorder))
            && let Some(recorder) = self.recorder.take()
        {
            recorder.end();
        }
    }

    fn net_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { address } => {
                tracing::info!(%address, "listening");
                self.control.tell(|| Seen::Listening(address.to_string()));
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
                let lost: Vec<_> =
                    self.fetches.iter().filter(|(_, f)| f.peer == peer).map(|(a, _)| *a).collect();
                self.sketches.remove(&peer);
                self.feed(Input::LinkDown(peer));
                lost.into_iter().for_each(|ask| self.failed(ask, FailReason::Disconnected));
            }
            NetEvent::Heard { from, tag, bytes } => self.gossip(GossipId(tag.0), from, &bytes),
            NetEvent::Asked { inbound, from, request } => self.question(InboundId(inbound.0), from, &request),
            NetEvent::Part { ask, bytes, .. } if self.asking.owns(ask) => self.asking.part(ask, bytes),
            NetEvent::Done { ask, .. } if self.asking.owns(ask) => {
                if let Some((peer, offence)) = self.asking.done(ask) {
                    self.feed(Input::Offended { peer, offence });
                }
            }
            NetEvent::Failed { ask, reason, .. } if self.asking.owns(ask) => self.asking.failed(ask, reason),
            NetEvent::Part { ask, index, bytes } => self.part(ask, index, bytes),
            NetEvent::Done { ask, .. } => self.answered(ask),
            NetEvent::Failed { ask, reason, .. } => self.failed(ask, reason),
            NetEvent::Offended { peer, .. } => {
                self.feed(Input::Offended { peer, offence: Offence::Malformed });
            }
            NetEvent::PublishFailed { .. } => {}
        }
    }

    fn gossip(&mut self, gossip: GossipId, from: PeerId, bytes: &Arc<[u8]>) {
        match self.open(bytes, from) {
            Ok(message) => self.feed(Input::Heard { gossip, message }),
            Err(refusal) => {
                self.judge_refused(gossip, refusal.offence);
                self.blame(refusal);
            }
        }
    }

    /// Holds a refused message against whoever is surely to blame; otherwise it is only counted.
    fn blame(&mut self, refusal: Refusal) {
        let Refusal { offence, culprit } = refusal;
        tracing::debug!(%offence, culprit = ?culprit, "refused a message");
        match culprit {
            Some(peer) => self.feed(Input::Offended { peer, offence }),
            None if offence.reaction() == Reaction::Ignore => {}
            None => self.notes.refused(offence),
        }
    }

    fn question(&mut self, inbound: InboundId, from: PeerId, bytes: &[u8]) {
        match Request::open(bytes, &self.run) {
            Ok(request) => {
                self.traffic.asked(inbound, from);
                self.feed(Input::Asked { inbound, from, request });
            }
            Err(offence) => {
                self.refuse(inbound);
                self.feed(Input::Offended { peer: from, offence });
            }
        }
    }

    /// One part of an answer; its hash was checked while it was read.
    fn part(&mut self, ask: protocol::id::AskId, position: u32, bytes: Arc<[u8]>) {
        let Some(fetch) = self.fetches.get_mut(&ask) else { return };
        self.traffic.pulled(fetch.peer, bytes.len() as u64);
        let Some((shard, hash)) = fetch.shard_at(position) else {
            fetch.first.get_or_insert(bytes);
            return;
        };
        fetch.shards.push(shard);
        self.received.insert((ShardIndex(shard), hash), bytes);
        self.feed(Input::Arrived { ask, shard });
    }

    fn answered(&mut self, ask: protocol::id::AskId) {
        let Some(fetch) = self.fetches.remove(&ask) else { return };
        match &fetch.question {
            Question::News => {
                let mut opened = Vec::new();
                for bytes in fetch.news().unwrap_or_default() {
                    match self.open(&bytes, fetch.peer) {
                        Ok(message) => opened.push(message),
                        Err(refusal) => self.blame(refusal),
                    }
                }
                self.feed(Input::Answered { ask, answer: PeerAnswer::News(opened) });
            }
            Question::Manifest { expected, .. } => {
                let bytes = fetch.first.clone().unwrap_or_else(|| Arc::from([]));
                match Manifest::open(&bytes, expected, |_| self.shards) {
                    Ok(manifest) => {
                        self.sketches.insert(manifest.peer, manifest.manifest.sketch.clone());
                        self.feed(Input::Answered { ask, answer: PeerAnswer::Manifest(Box::new(manifest)) });
                    }
                    Err(offence) => {
                        self.feed(Input::Offended { peer: fetch.peer, offence });
                        self.feed(Input::Failed { ask, failure: Failure::Wrong });
                    }
                }
            }
            Question::Shards { .. } => {
                self.feed(Input::Answered { ask, answer: PeerAnswer::Shards(fetch.shards) });
            }
        }
    }

    fn failed(&mut self, ask: protocol::id::AskId, reason: FailReason) {
        let Some(fetch) = self.fetches.remove(&ask) else { return };
        let peer = fetch.peer;
        let failure = match reason {
            FailReason::Timeout | FailReason::Stalled => Failure::Timeout,
            FailReason::Busy { retry_ms } => Failure::Busy(Span::millis(retry_ms.into())),
            FailReason::NotFound => Failure::NotFound,
            FailReason::Refused(_) => Failure::Refused,
            FailReason::Corrupt { .. } | FailReason::TooLarge => {
                self.feed(Input::Offended { peer, offence: Offence::WrongContent });
                Failure::Wrong
            }
            FailReason::Disconnected | FailReason::Unreachable => Failure::Disconnected,
        };
        tracing::debug!(peer = %peer.short(), ?reason, "a question failed");
        self.feed(Input::Failed { ask, failure });
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Trained(trained, blocks) => {
                self.notes.figures.dense_bytes += 4 * self.parameters;
                self.sketches.insert(self.me, trained.update.sketch.clone());
                if let Err(full) = self.blocks.put(trained.step, blocks) {
                    tracing::warn!(%full, "own shards are not served");
                }
                self.feed(Input::Trained(trained));
            }
            Report::Mixed(mixed) => {
                self.received.clear();
                self.notes.figures.consensus_relative = self.sketches.consensus_relative();
                if let Some(relative) = self.notes.figures.consensus_relative {
                    self.notes.metric(mixed.step.0, "consensus_distance_relative", relative, BTreeMap::new());
                }
                self.note_topology(mixed.step);
                self.feed(Input::Mixed(mixed));
            }
            Report::Affinity(step, found) => self.notes.affinity(step, &found),
            Report::Evaluated(evaluated) => self.feed(Input::Evaluated(evaluated)),
            Report::Checkpoint(checkpoint) => self.write_generation(checkpoint),
            Report::Exported(dir) => tracing::info!(dir = %dir.display(), "the model is saved"),
            Report::Broken(why) => self.fault = Some(DriverError::Trainer(why)),
        }
    }
}
