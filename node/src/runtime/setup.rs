//! Putting a node together: identity, charter, data, model, disk, network, trainer, peer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::crypto::keys::Keypair;
use protocol::id::{Hash, PeerId, RunId};
use protocol::ledger::chain::Head;
use protocol::peer::config::PeerConfig;
use protocol::peer::journal::Began;
use protocol::peer::machine::Peer;
use protocol::peer::snapshot::Snapshot;
use protocol::rng::Seed;
use protocol::shard::cut::cut;
use protocol::time::Span;
use protocol::wire::certificate::Revocation;
use protocol::wire::charter::{Charter, SignedCharter};
use protocol::wire::credential::Credential;
use protocol::wire::sealed::CoSigned;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::board::feed::Feed;
use crate::net::config::NetConfig;
use crate::net::error::NetError;
use crate::runtime::asking::Asking;
use crate::runtime::checkpoint::{self, Held, Reservation, RestoreError};
use crate::runtime::clock::{Clock, today};
use crate::runtime::control::Control;
use crate::runtime::driver::Driver;
use crate::runtime::journal::{Recorder, peer_seed};
use crate::runtime::local;
use crate::runtime::membership::{self, MembershipError};
use crate::runtime::notes::Notes;
use crate::runtime::storage::Storage;
use crate::store::blocks::Blocks;
use crate::store::keys::Identity;
use crate::store::ledger::{Durable, LedgerFile, LedgerFileError};
use crate::store::sequence::{Sequence, SequenceError};
use crate::store::state::StateError;
use crate::trainer::learner::{Learner, LearnerError};
use crate::trainer::responder::{Answering, Newest, Responder};
use crate::trainer::worker::{Trainer, TrainerStart};

/// What a node is put together from.
pub struct NodeParts {
    /// Its directory; the caller holds its lock.
    pub dir: PathBuf,
    /// Its key.
    pub identity: Identity,
    /// Its name for people.
    pub name: String,
    /// The charter.
    pub charter: SignedCharter,
    /// What makes it a member, in invited runs.
    pub credential: Option<Credential>,
    /// Files beside the charter that members may fetch, by hash.
    pub files: BTreeMap<Hash, PathBuf>,
    /// The model with its data, at genesis.
    pub learner: Box<dyn Learner>,
    /// A second copy of the model that answers members' queries, where charter and owner allow it.
    pub answering: Option<Answering>,
    /// Its architecture in words.
    pub model: String,
    /// Where to listen and whom to dial.
    pub net: NetConfig,
    /// Links to wait for before the first outer step, and how long at most.
    pub start_links: (u32, Duration),
    /// Least time between two checkpoints, the first of which comes with the first outer step; `None`: only at the end.
    pub checkpoint_every: Option<Duration>,
    /// Time between two writes of the status files.
    pub status_every: Duration,
    /// Most bytes of each record file; `None` for no bound.
    pub records_max: Option<u64>,
    /// Most bytes of the node's directory; `None` for no bound.
    pub disk_max: Option<u64>,
    /// Whether the node ends when the run is through and nobody needs it.
    pub ends_when_drained: bool,
    /// Who steers and watches it.
    pub control: Control,
    /// Where its inputs are recorded, if they are.
    pub journal: Option<PathBuf>,
    /// Who follows its story, and where they look at it.
    pub watched: Option<(Feed, String)>,
}

/// A node that cannot start.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Saved state cannot be used.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The folder of generations cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The ledger cannot be used.
    #[error(transparent)]
    LedgerFile(#[from] LedgerFileError),
    /// The ledger is not this node's, or was changed.
    #[error("the ledger {path} does not hold: {why}; move it away to begin a new one, and keep it as evidence", path = path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A revocation list or credential cannot be read.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The count of starts cannot be raised.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A record file cannot be opened.
    #[error("could not open the records in {dir}: {source}", dir = dir.display())]
    Notes {
        /// The node's directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The journal cannot be begun.
    #[error("could not begin the journal {path}: {source}", path = path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The network cannot be opened.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The trainer cannot start.
    #[error(transparent)]
    Trainer(#[from] LearnerError),
}

/// Puts a node together and starts its network and its trainer.
pub fn start(parts: NodeParts) -> Result<Driver, SetupError> {
    let NodeParts { dir, identity, name, charter, credential, learner, net, .. } = &parts;
    let run = charter.run();
    let terms = charter.charter();
    let keys = Keypair::from_secret(*identity.seed());
    let mut state = checkpoint::open(dir, run)?;
    let mut held = None;
    let restored = match state.latest()? {
        Some(generation) => {
            let (snapshot, copies) = checkpoint::restore(&generation)?;
            held = Some(Held { generation: generation.number(), step: snapshot.step });
            Some((snapshot, copies))
        }
        None => None,
    };
    for note in state.take_notes() {
        tracing::warn!("{note}");
    }
    let (mut snapshot, copies) = match restored {
        Some((snapshot, copies)) => {
            tracing::info!(outer = snapshot.step.0, "going on from the last checkpoint");
            (snapshot, Some(copies))
        }
        None => (Snapshot::default(), None),
    };
    let (reservation, reserved) = Reservation::open(dir, run)?;
    let (ledger, head) = open_ledger(dir, run, keys.peer())?;
    // The file is written before a checkpoint, so it is at least as long as what the checkpoint remembers.
    snapshot.ledger = head;
    newer_revocation(&mut snapshot, membership::revocation(dir, run)?, terms);
    let incarnation = Sequence::open(dir, None)?.take()? as u32;
    let (feed, dashboard) = parts.watched.clone().unzip();
    let mut notes =
        Notes::open(dir, name, feed).map_err(|source| SetupError::Notes { dir: dir.clone(), source })?;
    notes.dashboard = dashboard;
    notes.keep_within(parts.records_max);
    let parameters = learner.parameters();
    let clock = Clock::start();
    let secret = Seed::from_bytes(*identity.seed()).fork("node");
    let config = PeerConfig {
        charter: charter.clone(),
        name: name.clone(),
        credential: credential.clone(),
        answers_queries: parts.answering.is_some(),
        incarnation,
        reserved: reserved.0,
        date: (clock.now(), today()),
        links_max: net.links_max,
        start_links: parts.start_links.0,
        start_patience: Span(parts.start_links.1.as_micros() as u64),
    };
    let seed = peer_seed(identity.seed(), incarnation);
    let recorder = match &parts.journal {
        Some(path) => {
            let began = Began::new(&config, keys.peer(), &snapshot);
            let recorder = Recorder::start(path, began);
            Some(recorder.map_err(|source| SetupError::Journal { path: path.clone(), source })?)
        }
        None => None,
    };
    let peer = Peer::new(config, keys, &seed, snapshot);
    let me = peer.status().peer_id;
    let shards = cut(parameters, terms.exchange.codec).len();
    let labels = terms.task.labels.len();
    // A node that cannot open the door trains all the same; only `--ask` and `--through` on this machine need it.
    let knocks = local::open(dir)
        .inspect_err(|error| {
            tracing::warn!(%error, socket = %dir.join(local::SOCKET).display(), "members cannot be asked from here");
        })
        .ok();
    let newest = Newest::default();
    let (mixing, codec) = (&terms.mixing, terms.exchange.codec);
    let trainer_start = TrainerStart {
        codec,
        noise: secret.fork("noise").fork_index(u64::from(incarnation)),
        sketch: Seed::from_bytes(run.0.0).fork("sketch"),
        outer: (mixing.outer_momentum, mixing.outer_rate),
        restored: copies.map(|copies| (peer.status().outer_step, copies)),
        newest: parts.answering.as_ref().map(|_| newest.clone()),
        export: dir.join("model"),
        learner: parts.learner,
    };
    let (report, reports) = mpsc::unbounded_channel();
    // The driver may be gone when the last report comes; then nobody needs it.
    let trainer = Trainer::start(trainer_start, move |r| drop(report.send(r)))?;
    let (answer, answers) = mpsc::unbounded_channel();
    let responder = match parts.answering {
        Some(answering) => Some(Responder::start(answering, newest, move |a| drop(answer.send(a)))?),
        None => None,
    };
    let (due, asking_due) = mpsc::unbounded_channel();
    let asking = Asking::new(run, labels, due);
    let (net, events) = crate::net::start::start(parts.net)?;
    // Who saves nothing needs no room for it.
    let storage = Storage::new(parts.disk_max, parts.checkpoint_every.map_or(0, |_| parameters as u64));
    let (commit_done, commits) = mpsc::unbounded_channel();
    let (reserve_done, reserved) = mpsc::unbounded_channel();
    let (links_told, links) = mpsc::unbounded_channel();
    let (redeem_done, redeemed) = mpsc::unbounded_channel();
    Ok(Driver {
        peer,
        clock,
        net,
        events,
        trainer,
        reports,
        responder,
        answers,
        asking,
        asking_due,
        knocks,
        blocks: Blocks::default(),
        received: Default::default(),
        fetches: Default::default(),
        ledger,
        state: Some(state),
        reservation,
        notes,
        dir: parts.dir,
        name: parts.name,
        model: parts.model,
        run,
        me,
        parameters: parameters as u64,
        shards,
        checkpoint_every: parts.checkpoint_every,
        checkpointed: None,
        held,
        snapshot: None,
        is_committing: false,
        commits,
        commit_done,
        reserved,
        reserve_done,
        storage,
        sketches: Default::default(),
        listening: Vec::new(),
        status_every: parts.status_every,
        traffic: Default::default(),
        files: parts.files,
        redeemed,
        redeem_done,
        links,
        links_told,
        ends_when_drained: parts.ends_when_drained,
        is_leaving: false,
        control: parts.control,
        recorder,
        fault: None,
    })
}

/// Takes the list that an operator put into the directory when it holds and is newer than the one remembered.
fn newer_revocation(snapshot: &mut Snapshot, given: Option<CoSigned>, terms: &Charter) {
    let version = |list: &CoSigned| Revocation::open(list, terms).map_or(0, |list| list.version);
    let known = snapshot.revocation.as_ref().map_or(0, version);
    if let Some(given) = given.filter(|given| version(given) > known) {
        snapshot.revocation = Some(given);
    }
}

/// Opens the ledger and checks the whole chain; it is what the head of every manifest stands on.
fn open_ledger(dir: &Path, run: RunId, owner: PeerId) -> Result<(LedgerFile, Head), SetupError> {
    let path = dir.join(format!("ledger-{}", run.short()));
    let (file, torn) = LedgerFile::open(&path, Durable::OnSync)?;
    if let Some(torn) = torn {
        tracing::warn!(records = torn.records, moved_to = %torn.moved_to.display(), "the end of the ledger was torn");
    }
    let mut head = Head::default();
    for record in file.read()? {
        let bytes = record?;
        head.check(&bytes, &owner)
            .map_err(|e| SetupError::Ledger { path: path.clone(), why: e.to_string() })?;
    }
    Ok((file, head))
}
