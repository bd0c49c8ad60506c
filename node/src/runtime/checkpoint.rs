//! What a restart finds: the last complete outer step, and how far this key may have signed beyond it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::id::{OuterStep, RunId};
use protocol::peer::snapshot::Snapshot;
use thiserror::Error;

use crate::store::atomic::{Durability, replace};
use crate::store::disk::{Disk, RealDisk};
use crate::store::room::is_scarce;
use crate::store::state::{Blob, Content, Generation, StateError, StateStore};
use crate::trainer::job::Checkpoint;

const RESERVED: &str = "reserved";
const PEER: &str = "peer.bin";
const AGREED: &str = "agreed.f32";
const MOMENTUM: &str = "momentum.f32";
/// There only where updates tell a part of the parameters.
const SAID: &str = "said.f32";
/// Prefix of the learner's own blobs.
const LEARNER: &str = "learner.";

/// State that cannot be read back.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The store refused.
    #[error(transparent)]
    State(#[from] StateError),
    /// The peer's memory does not decode.
    #[error(
        "the peer's memory in generation {generation} does not decode: {why}; start from the generation before it by moving this one away"
    )]
    Peer {
        /// The generation.
        generation: u64,
        /// Why.
        why: String,
    },
    /// The reservation cannot be read or written.
    #[error("could not use {path}: {why}; it keeps this key from signing one outer step twice, so the node does not start without it", path = path.display())]
    Reserved {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The reservation cannot be raised: nothing of that outer step is signed.
    #[error("could not reserve an outer step in {path}: {source}", path = path.display())]
    Raise {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RestoreError {
    /// Whether room, file handles or memory are used up, so that it may work later.
    pub fn is_scarce(&self) -> bool {
        matches!(self, Self::Raise { source, .. } if is_scarce(source))
    }
}

/// Opens the run's folder of generations.
pub fn open(dir: &Path, run: RunId) -> Result<StateStore, StateError> {
    StateStore::open(&dir.join("state"), run)
}

/// The newest generation and the outer step it holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Its number.
    pub generation: u64,
    /// The last complete outer step in it.
    pub step: OuterStep,
}

/// Commits one generation. Where the newest one holds the same outer step, it takes that one's place, so that the one
/// before it stays to go back to.
pub fn commit(
    store: &mut StateStore,
    newest: Option<Held>,
    snapshot: &Snapshot,
    checkpoint: &Checkpoint,
) -> Result<Held, StateError> {
    let peer = snapshot.to_bytes();
    let mut blobs = vec![
        Blob { name: PEER, content: Content::Bytes(&peer) },
        Blob { name: AGREED, content: Content::Floats(&checkpoint.agreed) },
        Blob { name: MOMENTUM, content: Content::Floats(&checkpoint.momentum) },
    ];
    if !checkpoint.said.is_empty() {
        blobs.push(Blob { name: SAID, content: Content::Floats(&checkpoint.said) });
    }
    let names: Vec<String> = checkpoint.learner.iter().map(|(name, _)| format!("{LEARNER}{name}")).collect();
    for (name, (_, bytes)) in names.iter().zip(&checkpoint.learner) {
        blobs.push(Blob { name, content: Content::Bytes(bytes) });
    }
    let generation = match newest {
        Some(held) if held.step == snapshot.step => store.commit_over(held.generation, &blobs),
        _ => store.commit(&blobs),
    }?;
    Ok(Held { generation, step: snapshot.step })
}

/// Reads a generation back.
pub fn restore(generation: &Generation) -> Result<(Snapshot, Checkpoint), RestoreError> {
    let snapshot = Snapshot::from_bytes(&generation.read(PEER)?)
        .map_err(|e| RestoreError::Peer { generation: generation.number(), why: e.to_string() })?;
    let (mut learner, mut said) = (Vec::new(), Vec::new());
    for name in generation.names() {
        if let Some(own) = name.strip_prefix(LEARNER) {
            learner.push((own.to_owned(), generation.read(name)?));
        } else if name == SAID {
            said = generation.read_floats(SAID)?;
        }
    }
    let checkpoint = Checkpoint {
        agreed: generation.read_floats(AGREED)?,
        momentum: generation.read_floats(MOMENTUM)?,
        said,
        learner,
    };
    Ok((snapshot, checkpoint))
}

/// The durable mark up to which this key may have signed updates of a run.
#[derive(Clone)]
pub struct Reservation {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Reservation {
    /// Reads the mark; 0 where there is none yet.
    pub fn open(dir: &Path, run: RunId) -> Result<(Self, OuterStep), RestoreError> {
        let path = dir.join(format!("{RESERVED}-{}", run.short()));
        let fail = |why: String| RestoreError::Reserved { path: path.clone(), why };
        let step = match std::fs::read_to_string(&path) {
            Ok(text) => {
                text.trim().parse().map_err(|e| fail(format!("expected a number, found {text:?} ({e})")))?
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(fail(e.to_string())),
        };
        Ok((Self { path, disk: Arc::new(RealDisk) }, OuterStep(step)))
    }

    /// Raises the mark; durable when this returns.
    pub fn raise(&self, step: OuterStep) -> Result<(), RestoreError> {
        replace(&*self.disk, &self.path, format!("{step}\n").as_bytes(), Durability::Machine)
            .map_err(|source| RestoreError::Raise { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::id::Hash;

    fn checkpoint(said: &[f32]) -> Checkpoint {
        Checkpoint {
            agreed: vec![1.0, 2.0],
            momentum: Vec::new(),
            said: said.to_vec(),
            learner: vec![("place".to_owned(), vec![7])],
        }
    }

    #[test]
    fn what_was_said_comes_back_with_the_parameters_of_its_run_and_of_no_other() {
        let scratch = tempfile::tempdir().unwrap();
        let run = |number: u8| RunId(Hash([number; 32]));
        let mut store = open(scratch.path(), run(1)).unwrap();
        for said in [&[3.0, -4.0][..], &[]] {
            commit(&mut store, None, &Snapshot::default(), &checkpoint(said)).unwrap();
            let (_, found) = restore(&store.latest().unwrap().unwrap()).unwrap();
            assert_eq!((found.said.as_slice(), found.agreed), (said, vec![1.0, 2.0]));
            assert_eq!(found.learner, [("place".to_owned(), vec![7])]);
        }
        assert!(open(scratch.path(), run(2)).unwrap().latest().unwrap().is_none());
    }
}
