//! The peer's state and the routing of inputs; what each input means lives in the rooms beside this one.

use std::collections::BTreeMap;

use crate::crypto::hash::content_hash;
use crate::crypto::keys::Keypair;
use crate::exchange::deadline::Deadlines;
use crate::exchange::pull::Pull;
use crate::exchange::serve::Serve;
use crate::id::{AskId, Hash, InboundId, OuterStep, PeerId};
use crate::ledger::chain::Head;
use crate::ledger::record::{Contribution, Record};
use crate::limits::{GOSSIP_BYTES_MAX, LINGER_MAX, NEWS_EVERY};
use crate::peer::config::PeerConfig;
use crate::peer::event::Event;
use crate::peer::input::{Command, Input, Trained};
use crate::peer::output::{Outbox, Output};
use crate::peer::snapshot::Snapshot;
use crate::peer::status::{PeerStatus, Status};
use crate::rng::{Rng, Seed};
use crate::roster::admission::AdmissionBook;
use crate::roster::allowance::Allowances;
use crate::roster::searching::Searching;
use crate::roster::table::Table;
use crate::time::{Span, Time, UnixSeconds};
use crate::wire::charter::Charter;
use crate::wire::choice::Stage;
use crate::wire::message::{Body, Message};
use crate::wire::offence::{Offence, Reaction};
use crate::wire::sealed::CoSigned;

/// Own messages remembered: an hour of hellos.
const OWN_MESSAGES_REMEMBERED: usize = 256;

/// One peer of one run.
pub struct Peer {
    pub(super) config: PeerConfig,
    pub(super) keys: Keypair,
    pub(super) me: PeerId,
    /// Number of shards of an update, the same for every codec.
    pub(super) shard_counts: Vec<usize>,
    pub(super) book: AdmissionBook,
    pub(super) allowances: Allowances,
    pub(super) table: Table,
    pub(super) serve: Serve,
    pub(super) ledger: Head,
    pub(super) deadlines: Deadlines,
    pub(super) sampling: Rng,
    pub(super) step: OuterStep,
    pub(super) reserved: OuterStep,
    pub(super) parent: Hash,
    pub(super) phase: Phase,
    pub(super) stage: Stage,
    pub(super) is_paused: bool,
    pub(super) is_finished: bool,
    pub(super) addresses: Vec<String>,
    pub(super) neighbours: Vec<(PeerId, Vec<String>)>,
    pub(super) own_news: [Option<std::sync::Arc<[u8]>>; 2],
    /// Proofs of equivocation in own words, by whom they convict: for those who were away when they were told.
    pub(super) proofs: BTreeMap<PeerId, std::sync::Arc<[u8]>>,
    pub(super) searching: Searching,
    pub(super) score_last: Option<f32>,
    /// The outer step that was evaluated last.
    pub(super) evaluated: Option<OuterStep>,
    pub(super) asks: BTreeMap<AskId, Asked>,
    /// Invitations that wait for the disk, with the key that redeems each.
    pub(super) redeeming: BTreeMap<InboundId, (PeerId, CoSigned)>,
    pub(super) laggards: std::collections::BTreeSet<PeerId>,
    pub(super) hello_at: Time,
    pub(super) linger_until: Option<Time>,
    pub(super) is_drained: bool,
    /// Hashes of the last own messages by their count, to tell an echo from a second copy of this node.
    pub(super) said: BTreeMap<u32, Hash>,
    pub(super) sequence: u32,
    started: Option<Time>,
    pub(super) next_ask: u64,
}

/// A question under way.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) peer: PeerId,
    pub(super) about: About,
    pub(super) at: Time,
    pub(super) until: Time,
    /// Told to be busy: asked again at `until`.
    pub(super) is_waiting: bool,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    News,
    Pull,
}

/// Where in an outer step the peer is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Not started, or paused.
    Idle,
    /// A training order is out for this step.
    Training { step: OuterStep, done: Option<Trained> },
    /// Published; waits for peers at earlier steps.
    Waiting { step: OuterStep, since: Time, progress: Time, news: Time },
    /// Pulls.
    Pulling { pull: Pull, since: Time, is_join: bool },
    /// A mixing order is out.
    Mixing { step: OuterStep, parts: Vec<Contribution>, shards: u32, pull_time: Span, is_join: bool },
    /// An evaluation order is out.
    Evaluating,
    /// All outer steps are through.
    Through,
    /// The charter's date has passed: nothing is trained, published or mixed any more.
    Expired,
    /// Said farewell.
    Left,
}

impl Peer {
    /// A peer that starts from a snapshot (the default one is genesis).
    pub fn new(config: PeerConfig, keys: Keypair, seed: &Seed, restored: Snapshot) -> Self {
        let charter = config.charter.charter();
        let parameters = charter.exchanged() as usize;
        // Boundaries come from the training codec alone, so that a shard is the same range in every codec.
        let cuts = crate::shard::cut::cut(parameters, charter.exchange.codec);
        let mut book = AdmissionBook::new(config.charter.clone());
        restored.banned.iter().for_each(|peer| {
            book.ban(*peer);
        });
        if let Some(list) = &restored.revocation {
            // A list that no longer holds under a newer charter is dropped; a newer one will come by hello.
            let _ = book.take_revocation(list);
        }
        let me = keys.peer();
        if let Some(credential) = &config.credential {
            book.take_credential(&me, credential, config.date.1);
        }
        let reserved = OuterStep(config.reserved).max(restored.step);
        Self {
            me,
            shard_counts: cuts.iter().map(ExactSizeIterator::len).collect(),
            book,
            allowances: Allowances::new(charter.founders.len()),
            table: Table::default(),
            serve: Serve::default(),
            ledger: restored.ledger,
            deadlines: Deadlines::default(),
            sampling: seed.fork("sampling").rng(),
            step: restored.step,
            reserved,
            parent: restored.parent,
            phase: if restored.is_finished { Phase::Through } else { Phase::Idle },
            stage: if restored.is_finished { Stage::Done } else { Stage::Train },
            is_paused: false,
            is_finished: restored.is_finished,
            addresses: Vec::new(),
            neighbours: restored.neighbours,
            own_news: [None, None],
            proofs: BTreeMap::new(),
            searching: Searching::default(),
            score_last: None,
            evaluated: None,
            asks: BTreeMap::new(),
            redeeming: BTreeMap::new(),
            laggards: std::collections::BTreeSet::new(),
            hello_at: Time(0),
            linger_until: None,
            is_drained: false,
            said: BTreeMap::new(),
            sequence: 0,
            started: None,
            next_ask: 0,
            keys,
            config,
        }
    }

    /// Takes in what happened; `out` receives what is to be done. The only way in.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Outbox) {
        if self.started.is_none() {
            self.start(now, out);
        }
        // Before the input: what was trained under a charter that has run out is not signed any more.
        self.expire(now, out);
        match input {
            Input::LinkUp(peer) => self.link_up(peer, now, out),
            Input::LinkDown(peer) => self.link_down(peer, now, out),
            Input::Listening(addresses) => self.listening(addresses, now),
            Input::Heard { gossip, message } => self.heard(Some(gossip), &message, now, out),
            Input::Asked { inbound, from, request } => self.asked(inbound, from, &request, now, out),
            Input::Answered { ask, answer } => self.answered(ask, answer, now, out),
            Input::Arrived { ask, shard } => self.arrived(ask, shard, out),
            Input::Failed { ask, failure } => self.failed(ask, failure, now, out),
            Input::Offended { peer, offence } => self.offended(peer, offence, now, out),
            Input::Trained(trained) => self.trained(trained, now, out),
            Input::Mixed(mixed) => self.mixed(&mixed, now, out),
            Input::Evaluated(evaluated) => self.evaluated(&evaluated, now, out),
            Input::Predicted(predicted) => self.predicted(predicted, out),
            Input::Reserved(step) => {
                self.reserved = self.reserved.max(step);
                self.try_publish(now, out);
            }
            Input::Command(command) => self.command(command, now, out),
            Input::Tried(trials) => self.tried(trials, out),
            Input::Revoked(list) => self.revoke(&list, now, out),
            Input::Redeemed { inbound, is_free } => self.redeemed(inbound, is_free, now, out),
            Input::Wake => {}
        }
        self.wake(now, out);
    }

    /// When to call again with [`Input::Wake`] if nothing else happens.
    pub fn next_wake(&self) -> Option<Time> {
        let asks = self.asks.values().map(|a| a.until).min();
        let phase = match &self.phase {
            Phase::Idle if !self.is_paused => self.started.map(|t| t + self.config.start_patience),
            Phase::Waiting { step, since, progress, news } => {
                Some(self.waits_until(*step, *since, *progress).min(*news + NEWS_EVERY))
            }
            _ => None,
        };
        let linger = if self.is_drained { None } else { self.linger_until };
        let expiry = if self.is_expired() { None } else { self.expires_at() };
        [Some(self.hello_at), asks, phase, linger, expiry].into_iter().flatten().min()
    }

    fn start(&mut self, now: Time, out: &mut Outbox) {
        self.started = Some(now);
        self.hello_at = now;
        let charter = &self.config.charter;
        let (hash, version) = (charter.hash(), charter.charter().version);
        self.record(Record::Charter { hash, version }, out);
        for (peer, addresses) in std::mem::take(&mut self.neighbours) {
            out.push(Output::Dial { peer, addresses });
        }
        if self.is_finished {
            self.linger_until = Some(now + LINGER_MAX);
        }
    }

    /// Timers: questions, hello, start, patience, linger.
    fn wake(&mut self, now: Time, out: &mut Outbox) {
        let due: Vec<AskId> = self.asks.iter().filter(|(_, a)| a.until <= now).map(|(id, _)| *id).collect();
        for ask in due {
            self.ask_due(ask, now, out);
        }
        if self.hello_at <= now {
            self.say_hello(now, out);
        }
        if matches!(self.phase, Phase::Idle) && !self.is_paused {
            let linked = self.linked_members(self.today(now)).count() as u32;
            let waited = self.started.is_some_and(|t| now >= t + self.config.start_patience);
            if linked >= self.config.start_links || waited {
                self.begin_step(now, out);
            }
        }
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.try_pull(now, out);
        }
        self.try_drain(now, out);
    }

    /// When the charter's date passes, on the driver's time scale; `None` when that is beyond all times.
    fn expires_at(&self) -> Option<Time> {
        let (at, date) = self.config.date;
        let left = self.book.charter().expires.0.saturating_sub(date.0).checked_mul(1_000_000)?;
        at.0.checked_add(left).map(Time)
    }

    /// After its date nobody trains under a charter: what is under way is dropped, the last complete step stays.
    fn expire(&mut self, now: Time, out: &mut Outbox) {
        let has_ended = matches!(self.phase, Phase::Expired | Phase::Through | Phase::Left);
        if has_ended || self.today(now) < self.book.charter().expires {
            return;
        }
        self.phase = Phase::Expired;
        let pulls: Vec<AskId> = self.asks.keys().copied().collect();
        pulls.into_iter().for_each(|ask| out.push(Output::Cancel(ask)));
        self.asks.clear();
        out.emit(Event::Expired { step: self.step });
        out.push(Output::Commit(self.step));
    }

    /// Whether the charter's date passed before the run was through.
    pub fn is_expired(&self) -> bool {
        matches!(self.phase, Phase::Expired)
    }

    /// Counts an offence and reacts as its kind asks.
    pub(super) fn offended(&mut self, peer: PeerId, offence: Offence, now: Time, out: &mut Outbox) {
        self.table.offend(&peer, offence, now);
        if offence.reaction() == Reaction::Ignore {
            return;
        }
        out.emit(Event::Offence { peer, offence });
        match offence.reaction() {
            Reaction::Disconnect => out.push(Output::Hangup(peer)),
            Reaction::Ban => self.ban(peer, Hash::default(), now, out),
            Reaction::Ignore | Reaction::Reject => {}
        }
    }

    /// Shuts a key out for good.
    pub(super) fn ban(&mut self, peer: PeerId, proof: Hash, now: Time, out: &mut Outbox) {
        if !self.book.ban(peer) {
            return;
        }
        self.table.entry(peer, now).score.offend(Offence::Equivocated, 1, now);
        let is_proven = proof != Hash::default();
        self.record(Record::Banned { peer, proof }, out);
        out.emit(Event::Banned { peer, is_proven });
        out.push(Output::Ban(peer));
    }

    fn command(&mut self, command: Command, now: Time, out: &mut Outbox) {
        match command {
            Command::Pause => self.is_paused = true,
            Command::Resume => {
                self.is_paused = false;
            }
            Command::Leave => {
                self.say(Body::Farewell(self.step), out);
                self.phase = Phase::Left;
            }
            Command::Ban(peer) => self.ban(peer, Hash::default(), now, out),
            Command::Unban(peer) => {
                if self.book.unban(&peer) {
                    out.push(Output::Unban(peer));
                }
            }
        }
    }

    /// What must survive a restart; parameters are the driver's.
    pub fn snapshot(&self) -> Snapshot {
        let neighbours = self.table.linked().filter(|(_, e)| !e.addresses.is_empty());
        Snapshot {
            step: self.step,
            parent: self.parent,
            ledger: self.ledger,
            banned: self.book.banned().copied().collect(),
            revocation: self.book.revocation().cloned(),
            neighbours: neighbours.take(64).map(|(peer, e)| (*peer, e.addresses.clone())).collect(),
            is_finished: self.is_finished,
        }
    }

    /// What the peer says of itself.
    pub fn status(&self) -> Status {
        // A certificate that ran out since the start shows up at the next outer step, where membership counts.
        let peers = self.linked_members(self.config.date.1).count() as u32;
        let state = match &self.phase {
            _ if self.is_paused && !self.is_expired() => "paused",
            Phase::Idle => "waiting for peers",
            Phase::Training { .. } if peers == 0 => "0 peers: training alone, waiting",
            Phase::Training { .. } if self.stage == Stage::Settle => "publishing",
            Phase::Training { .. } => "training",
            Phase::Waiting { .. } => "waiting for peers at earlier steps",
            Phase::Pulling { is_join: true, .. } => "joining",
            Phase::Pulling { .. } => "pulling",
            Phase::Mixing { .. } => "mixing",
            Phase::Evaluating => "evaluating",
            Phase::Through => "done",
            Phase::Expired => "expired: the charter's date has passed",
            Phase::Left => "left",
        };
        Status {
            peer_id: self.me,
            organization: self.book.organization(&self.me).unwrap_or("").to_owned(),
            run: self.config.charter.run(),
            run_name: self.book.charter().name.clone(),
            stage: self.stage,
            state,
            outer_step: self.step,
            outer_steps: self.book.charter().steps(),
            peers,
            score_last: self.score_last,
        }
    }

    /// What is known of the others.
    pub fn peers(&self, now: Time) -> Vec<PeerStatus> {
        let banned: Vec<PeerId> = self.book.banned().copied().collect();
        let row = |(peer, e): (&PeerId, &crate::roster::table::Entry)| PeerStatus {
            peer_id: *peer,
            name: e.name.clone(),
            organization: self.book.organization(peer).unwrap_or("").to_owned(),
            is_linked: e.is_linked,
            outer_step: e.step,
            stage: e.stage,
            score: e.score.points(now),
            evaluation: e.card.as_ref().map(|c| c.score),
            offences: e.offences.iter().map(|(o, n)| (o.name(), *n)).collect(),
            is_banned: banned.contains(peer),
            addresses: e.addresses.clone(),
        };
        self.table.iter().map(row).collect()
    }

    /// The charter in force.
    pub fn charter(&self) -> &Charter {
        self.book.charter()
    }

    /// The revocation list in force.
    pub fn revocation(&self) -> Option<&CoSigned> {
        self.book.revocation()
    }

    /// Version of the revocation list in force; 0 for none.
    pub fn revocation_version(&self) -> u32 {
        self.book.revocation_version()
    }

    /// Whether nobody needs this peer any more: the driver may stop.
    pub fn is_drained(&self) -> bool {
        self.is_drained || matches!(self.phase, Phase::Left)
    }

    pub(super) fn today(&self, now: Time) -> UnixSeconds {
        let (at, date) = self.config.date;
        UnixSeconds(date.0.saturating_add(now.since(at).0 / 1_000_000))
    }

    pub(super) fn record(&mut self, record: Record, out: &mut Outbox) {
        let bytes = self.ledger.append(record, &self.keys);
        out.push(Output::Append(bytes));
    }

    /// Signs a message.
    pub(super) fn seal(&mut self, body: Body) -> Vec<u8> {
        self.sequence += 1;
        let sequence = u64::from(self.config.incarnation) << 32 | u64::from(self.sequence);
        let bytes = Message::new(self.config.charter.run(), sequence, body).seal(&self.keys);
        debug_assert!(bytes.len() <= GOSSIP_BYTES_MAX, "own messages keep to the cap");
        bytes
    }

    /// Signs and gossips a message; answers the bytes.
    pub(super) fn say(&mut self, body: Body, out: &mut Outbox) -> std::sync::Arc<[u8]> {
        let bytes = self.seal(body);
        let kept: std::sync::Arc<[u8]> = bytes.as_slice().into();
        self.said.insert(self.sequence, content_hash(&kept));
        if self.said.len() > OWN_MESSAGES_REMEMBERED {
            self.said.pop_first();
        }
        out.push(Output::Publish(bytes));
        kept
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({} at {})", self.me.short(), self.step)
    }
}
