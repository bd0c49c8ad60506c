//! Recording what a peer is told, so that it can be told again.

use std::io;
use std::path::Path;

use protocol::codec::encode;
use protocol::id::PeerId;
use protocol::peer::input::Input;
use protocol::peer::journal::{Began, Entry, Happening, Tally};
use protocol::peer::output::Output;
use protocol::rng::Seed;
use protocol::time::Time;

use crate::store::journal::JournalFile;

/// Longest journal, bytes: days of a small swarm.
pub const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Inputs between two marks: where a replay went wrong is known to within so many.
const INPUTS_PER_MARK: u32 = 256;
/// Room kept for the last mark.
const MARK_BYTES: usize = 64;

/// A journal under way; a disk that fails ends it, not the node.
pub struct Recorder {
    file: JournalFile,
    tally: Tally,
    unmarked: u32,
}

/// The seed of a peer's draws: from the node's key and the number of its starts, so that a journal needs to hold neither.
pub fn peer_seed(secret: &[u8; 32], incarnation: u32) -> Seed {
    Seed::from_bytes(*secret).fork("node").fork("peer").fork_index(u64::from(incarnation))
}

impl Recorder {
    /// Starts a journal with what the peer is made from.
    pub fn start(path: &Path, began: Began) -> io::Result<Self> {
        let mut file = JournalFile::create(path, JOURNAL_BYTES_MAX)?;
        file.put(&encode(&Entry::Began(Box::new(began))))?;
        Ok(Self { file, tally: Tally::default(), unmarked: 0 })
    }

    /// Bytes are put to the gate; false when the journal has ended.
    pub fn opened(&mut self, at: Time, link: PeerId, bytes: &[u8]) -> bool {
        self.put(&Entry::Opened { at, link, bytes: bytes.to_vec() })
    }

    /// An input is given to the peer; false when the journal has ended.
    pub fn happened(&mut self, at: Time, input: &Input) -> bool {
        if self.unmarked >= INPUTS_PER_MARK {
            self.unmarked = 0;
            let mark = Entry::Mark(self.tally.mark());
            if !self.put(&mark) {
                return false;
            }
        }
        self.unmarked += 1;
        self.put(&Entry::Happened { at, what: Happening::of(input) })
    }

    /// The peer wants something done.
    pub fn output(&mut self, output: &Output) {
        self.tally.add(output);
    }

    /// Ends the journal with a last mark.
    pub fn end(mut self) {
        let mark = encode(&Entry::Mark(self.tally.mark()));
        if let Err(error) = self.file.put(&mark).and_then(|()| self.file.flush()) {
            tracing::warn!(%error, "the journal's end could not be written");
        }
    }

    fn put(&mut self, entry: &Entry) -> bool {
        let bytes = encode(entry);
        if !self.file.has_room(bytes.len(), MARK_BYTES) {
            tracing::warn!(bytes = JOURNAL_BYTES_MAX, "the journal is full: what follows is not recorded");
            return false;
        }
        match self.file.put(&bytes) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be written: what follows is not recorded");
                false
            }
        }
    }

    /// Hands what was recorded to the system.
    pub fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            tracing::debug!(%error, "the journal could not be flushed");
        }
    }
}
