//! Saved state in numbered generations: a node killed at any moment finds the last one it was told is safe.
//!
//! Commit: write `gen-K.tmp/` and sync each file, write and sync `MANIFEST`, sync the folder, rename it to `gen-K`, sync
//! the parent, replace `CURRENT`; only then older generations go, and two always stay. Reading trusts a generation whole
//! or not at all: every hash is checked, a damaged one is moved to `damaged-K` and the one before it is used.
//! The room deliberately never deletes what looks damaged, and leaves generations of another run alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use protocol::id::{Hash, RunId};

use crate::store::atomic::{self, Durability, TEMPORARY};
use crate::store::disk::{self, Disk, RealDisk};
use crate::store::manifest::{self, Contents, MANIFEST, Manifest};
use crate::store::room::is_scarce;
use crate::store::sealed::{self, SEALED_BYTES_MAX};

/// Generations of the run kept on disk.
pub const GENERATIONS_KEPT: usize = 2;
const CURRENT: &str = "CURRENT";
const CURRENT_TITLE: &str = "starling-current 1";
/// Bytes hashed and written at a time.
const PIECE: usize = 256 * 1024;

/// What to write into one file.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Bytes as they are.
    Bytes(&'a [u8]),
    /// Numbers, written as little-endian `f32` without a copy of the whole.
    Floats(&'a [f32]),
}

/// One named file of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    /// Name of the file, see [`manifest::is_blob_name`].
    pub name: &'a str,
    /// What it holds.
    pub content: Content<'a>,
}

/// Why state could not be written or read.
#[derive(Debug, Error)]
pub enum StateError {
    /// There is no generation to go back to.
    #[error("there is no saved state before the newest one; a node keeps the last two")]
    NothingBefore,
    /// The disk refused. The last committed generation is untouched; a generation being written is not acknowledged and
    /// may or may not be found after a restart.
    #[error("could not {what} {path}: {source}; the last committed generation is intact; {remedy}", path = path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The caller named a file badly; nothing was written.
    #[error("expected a list of at most {max} different names of small letters, digits, '-', '_' and '.', found {0:?}", max = manifest::BLOBS_MAX)]
    Name(String),
    /// The generation does not hold such a file.
    #[error(
        "generation {generation} holds no {name:?}, found {found:?}; it was written by another version of this program"
    )]
    Absent {
        /// Number of the generation.
        generation: u64,
        /// The name asked for.
        name: String,
        /// The names there are.
        found: Vec<String>,
    },
    /// The file changed since the generation was checked.
    #[error("{path} is damaged: {reason}; restart to fall back to the generation before it", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl StateError {
    /// Whether room, file handles or memory are used up, so that it may work later.
    pub fn is_scarce(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if is_scarce(source))
    }
}

/// Something the owner of the node should read; nothing here stops the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A generation was not what its manifest says, and was moved aside.
    Damaged {
        /// Its number.
        generation: u64,
        /// What is wrong.
        reason: String,
        /// Where it is now; `None` when it could not be moved.
        moved_to: Option<PathBuf>,
    },
    /// A generation could not be read by the system; it was left in place.
    Unreadable {
        /// Its number.
        generation: u64,
        /// What the system said.
        reason: String,
    },
    /// A generation belongs to another run; it was left in place.
    OtherRun {
        /// Its number.
        generation: u64,
        /// The run in its manifest.
        run: RunId,
    },
    /// `CURRENT` does not name the newest good generation.
    Current {
        /// What it says, or why it cannot be read.
        found: String,
        /// The generation used.
        used: Option<u64>,
    },
    /// Something left over could not be removed or was of no use; tried again at the next start.
    LeftOver {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// The folder of a run's generations. The caller holds the lock of the node's directory.
pub struct StateStore {
    dir: PathBuf,
    run: RunId,
    disk: Arc<dyn Disk>,
    next: u64,
    notes: Vec<Note>,
}

/// A generation whose every byte was checked.
pub struct Generation {
    number: u64,
    dir: PathBuf,
    blobs: BTreeMap<String, Contents>,
    disk: Arc<dyn Disk>,
}

enum Flaw {
    Damaged(String),
    Unreadable(String),
    OtherRun(RunId),
}

impl StateStore {
    /// Opens the folder, creating it when absent, and removes what a crash left half written.
    pub fn open(dir: &Path, run: RunId) -> Result<Self, StateError> {
        Self::open_on(Arc::new(RealDisk), dir, run)
    }

    /// The same on a given disk.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, run: RunId) -> Result<Self, StateError> {
        if !dir.is_dir() {
            disk.create_dir(dir).map_err(failed("create folder", dir))?;
            if let Some(parent) = dir.parent() {
                disk.sync_dir(parent).map_err(failed("sync folder", parent))?;
            }
        }
        let mut store = Self { dir: dir.into(), run, disk, next: 1, notes: Vec::new() };
        let mut left_over = Vec::new();
        for name in store.names()? {
            if let Some(number) = number_in(&name) {
                store.next = store.next.max(number.saturating_add(1));
            }
            if name.ends_with(TEMPORARY) {
                left_over.push(store.dir.join(name));
            }
        }
        if let Ok(current) = store.current() {
            store.next = store.next.max(current.saturating_add(1));
        }
        for path in left_over {
            store.remove_left_over(&path);
        }
        Ok(store)
    }

    /// Makes a new generation durable and returns its number. After `Ok` it survives any crash; after an error the
    /// generation before it does.
    pub fn commit(&mut self, blobs: &[Blob]) -> Result<u64, StateError> {
        let number = self.write(blobs)?;
        self.prune();
        Ok(number)
    }

    /// Commits what takes the place of generation `over`, which goes once the new one is durable; the generations
    /// before it stay. For a newer account of the same state, which must not push out the way back.
    pub fn commit_over(&mut self, over: u64, blobs: &[Blob]) -> Result<u64, StateError> {
        let number = self.write(blobs)?;
        self.remove(over);
        self.prune();
        Ok(number)
    }

    fn write(&mut self, blobs: &[Blob]) -> Result<u64, StateError> {
        let number = self.next;
        // A number whose files met an error is never written again: pages of a failed sync may be gone.
        self.next += 1;
        let temporary = self.dir.join(format!("gen-{number}{TEMPORARY}"));
        let written = self.write_generation(&temporary, number, blobs);
        if written.is_err() {
            // A full disk needs the space back now, not at the next start.
            drop(self.disk.remove_dir_all(&temporary));
        }
        let manifest = written?;
        let settled = self.generation_dir(number);
        self.disk.rename(&temporary, &settled).map_err(failed("rename to", &settled))?;
        self.disk.sync_dir(&self.dir).map_err(failed("sync folder", &self.dir))?;
        self.write_current(number, &manifest)?;
        Ok(number)
    }

    /// The newest generation of this run whose every hash is right; `None` when there is none.
    /// What was passed over is told in [`StateStore::take_notes`].
    pub fn latest(&mut self) -> Result<Option<Generation>, StateError> {
        let current = self.current();
        let mut found = None;
        for number in self.numbers()?.into_iter().rev() {
            match self.check(number) {
                Ok(blobs) => {
                    let dir = self.generation_dir(number);
                    found = Some(Generation { number, dir, blobs, disk: self.disk.clone() });
                    break;
                }
                Err(Flaw::OtherRun(run)) => self.note(Note::OtherRun { generation: number, run }),
                Err(Flaw::Unreadable(reason)) => self.note(Note::Unreadable { generation: number, reason }),
                Err(Flaw::Damaged(reason)) => {
                    let moved_to = self.move_aside(number);
                    self.note(Note::Damaged { generation: number, reason, moved_to });
                }
            }
        }
        let used = found.as_ref().map(Generation::number);
        let (agrees, says) = match current {
            Ok(number) => (Some(number) == used, format!("generation {number}")),
            Err(reason) => (used.is_none() && reason == ABSENT, reason),
        };
        if !agrees {
            self.note(Note::Current { found: says, used });
        }
        Ok(found)
    }

    /// Sets the newest good generation aside, as `set-aside-K`, and makes the one before it current. Answers both; the
    /// caller holds the lock of the directory. Nothing is deleted.
    pub fn roll_back(&mut self) -> Result<(u64, Generation), StateError> {
        let Some(newest) = self.latest()? else { return Err(StateError::NothingBefore) };
        let mut older = None;
        for number in self.numbers()?.into_iter().rev().filter(|number| *number < newest.number()) {
            if let Ok(blobs) = self.check(number) {
                let dir = self.generation_dir(number);
                older = Some(Generation { number, dir, blobs, disk: self.disk.clone() });
                break;
            }
        }
        let Some(older) = older else { return Err(StateError::NothingBefore) };
        let from = self.generation_dir(newest.number());
        let to = self.dir.join(format!("set-aside-{}", newest.number()));
        self.disk.rename(&from, &to).map_err(failed("rename", &from))?;
        self.disk.sync_dir(&self.dir).map_err(failed("sync folder", &self.dir))?;
        Ok((newest.number(), older))
    }

    /// What was noticed since the last call, oldest first. Each note was logged, too.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The number the next commit gets.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// The folder this store keeps.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn write_generation(&self, dir: &Path, number: u64, blobs: &[Blob]) -> Result<Manifest, StateError> {
        let mut listed = BTreeMap::new();
        for blob in blobs {
            let fresh =
                listed.insert(blob.name.to_string(), Contents { bytes: 0, hash: Hash::default() }).is_none();
            if !fresh || !manifest::is_blob_name(blob.name) || listed.len() > manifest::BLOBS_MAX {
                return Err(StateError::Name(blob.name.into()));
            }
        }
        self.disk.create_dir(dir).map_err(failed("create folder", dir))?;
        for blob in blobs {
            let path = dir.join(blob.name);
            let contents = self.write_blob(&path, blob.content).map_err(failed("write", &path))?;
            listed.insert(blob.name.into(), contents);
        }
        let manifest = Manifest { run: self.run, generation: number, blobs: listed };
        let path = dir.join(MANIFEST);
        let text = manifest.to_text();
        self.write_blob(&path, Content::Bytes(text.as_bytes())).map_err(failed("write", &path))?;
        self.disk.sync_dir(dir).map_err(failed("sync folder", dir))?;
        Ok(manifest)
    }

    fn write_blob(&self, path: &Path, content: Content) -> io::Result<Contents> {
        let mut file = self.disk.create(path)?;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        let mut put = |piece: &[u8]| {
            hasher.update(piece);
            bytes += piece.len() as u64;
            file.write_all(piece)
        };
        match content {
            Content::Bytes(all) => all.chunks(PIECE).try_for_each(&mut put)?,
            Content::Floats(all) => {
                let mut piece = Vec::with_capacity(PIECE);
                for floats in all.chunks(PIECE / 4) {
                    piece.clear();
                    piece.extend(floats.iter().flat_map(|f| f.to_le_bytes()));
                    put(&piece)?;
                }
            }
        }
        file.sync()?;
        Ok(Contents { bytes, hash: Hash(*hasher.finalize().as_bytes()) })
    }

    fn write_current(&self, number: u64, manifest: &Manifest) -> Result<(), StateError> {
        let hash = Hash(*blake3::hash(manifest.to_text().as_bytes()).as_bytes());
        let lines = [format!("run {}", self.run), format!("generation {number}"), format!("manifest {hash}")];
        let path = self.dir.join(CURRENT);
        let text = sealed::seal(CURRENT_TITLE, &lines);
        atomic::replace(&*self.disk, &path, text.as_bytes(), Durability::Machine)
            .map_err(failed("replace", &path))
    }

    /// The generation `CURRENT` names, or why it names none.
    fn current(&self) -> Result<u64, String> {
        let path = self.dir.join(CURRENT);
        let bytes = match disk::read_capped(&*self.disk, &path, SEALED_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ABSENT.into()),
            other => other.map_err(|e| e.to_string())?,
        };
        let lines = sealed::unseal(CURRENT_TITLE, &bytes).map_err(|e| e.to_string())?;
        let number = lines.iter().find_map(|l| l.strip_prefix("generation ")?.parse().ok());
        number.ok_or_else(|| "it names no generation".into())
    }

    /// Checks every byte of a generation.
    fn check(&self, number: u64) -> Result<BTreeMap<String, Contents>, Flaw> {
        let dir = self.generation_dir(number);
        let manifest = self.manifest(number)?;
        for (name, expected) in &manifest.blobs {
            let path = dir.join(name);
            let mut file = self.disk.open(&path).map_err(|e| flaw(name, &e))?;
            let mut hasher = blake3::Hasher::new();
            let mut piece = vec![0; PIECE];
            let mut bytes = 0u64;
            loop {
                match file.read(&mut piece).map_err(|e| flaw(name, &e))? {
                    0 => break,
                    n => {
                        bytes += n as u64;
                        hasher.update(&piece[..n]);
                    }
                }
                if bytes > expected.bytes {
                    break;
                }
            }
            if bytes != expected.bytes {
                let more = if bytes > expected.bytes { "at least " } else { "" };
                let expected = expected.bytes;
                return Err(Flaw::Damaged(format!("{name}: expected {expected} bytes, found {more}{bytes}")));
            }
            if hasher.finalize().as_bytes() != &expected.hash.0 {
                return Err(Flaw::Damaged(format!("{name}: its bytes do not match the hash in {MANIFEST}")));
            }
        }
        Ok(manifest.blobs)
    }

    fn manifest(&self, number: u64) -> Result<Manifest, Flaw> {
        let path = self.generation_dir(number).join(MANIFEST);
        let bytes =
            disk::read_capped(&*self.disk, &path, SEALED_BYTES_MAX).map_err(|e| flaw(MANIFEST, &e))?;
        let manifest = Manifest::from_bytes(&bytes).map_err(|e| Flaw::Damaged(format!("{MANIFEST}: {e}")))?;
        if manifest.run != self.run {
            return Err(Flaw::OtherRun(manifest.run));
        }
        if manifest.generation != number {
            let found = manifest.generation;
            return Err(Flaw::Damaged(format!("{MANIFEST}: expected generation {number}, found {found}")));
        }
        Ok(manifest)
    }

    /// Gives a damaged generation a name under which nobody trusts or deletes it.
    fn move_aside(&self, number: u64) -> Option<PathBuf> {
        let names = std::iter::once(format!("damaged-{number}"))
            .chain((2..1_000).map(|n| format!("damaged-{number}-{n}")));
        let to = names.map(|name| self.dir.join(name)).find(|path| !path.exists())?;
        self.disk.rename(&self.generation_dir(number), &to).ok()?;
        Some(to)
    }

    /// Removes all but the newest generations of this run. Those it cannot read are left for the owner.
    fn prune(&mut self) {
        let Ok(numbers) = self.numbers() else { return };
        let ours = numbers.into_iter().rev().filter(|&n| self.manifest(n).is_ok());
        for number in ours.skip(GENERATIONS_KEPT).collect::<Vec<_>>() {
            self.remove(number);
        }
    }

    /// Removes a generation. Renamed first, so that a crash half way leaves rubbish and not a damaged generation.
    fn remove(&mut self, number: u64) {
        let (from, to) = (self.generation_dir(number), self.dir.join(format!("gen-{number}{TEMPORARY}")));
        match self.disk.rename(&from, &to) {
            Ok(()) => self.remove_left_over(&to),
            Err(error) => self.note(Note::LeftOver { path: from, reason: error.to_string() }),
        }
    }

    fn remove_left_over(&mut self, path: &Path) {
        let removed =
            if path.is_dir() { self.disk.remove_dir_all(path) } else { self.disk.remove_file(path) };
        if let Err(error) = removed {
            self.note(Note::LeftOver { path: path.into(), reason: error.to_string() });
        }
    }

    fn note(&mut self, note: Note) {
        tracing::warn!("{note}");
        self.notes.push(note);
    }

    fn generation_dir(&self, number: u64) -> PathBuf {
        self.dir.join(format!("gen-{number}"))
    }

    /// Numbers of the folders named `gen-K`, ascending.
    fn numbers(&self) -> Result<Vec<u64>, StateError> {
        let mut numbers: Vec<u64> = self
            .names()?
            .iter()
            .filter_map(|name| {
                let number = name.strip_prefix("gen-")?.parse().ok()?;
                (*name == format!("gen-{number}")).then_some(number)
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn names(&self) -> Result<Vec<String>, StateError> {
        let entries = fs::read_dir(&self.dir).map_err(failed("list", &self.dir))?;
        entries
            .map(|e| Ok(e.map_err(failed("list", &self.dir))?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

impl Generation {
    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Names of its files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blobs.keys().map(String::as_str)
    }

    /// Length of a file, bytes.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        self.blobs.get(name).map(|c| c.bytes)
    }

    /// The bytes of a file, checked once more against its hash.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StateError> {
        let contents = self.blobs.get(name).ok_or_else(|| StateError::Absent {
            generation: self.number,
            name: name.into(),
            found: self.blobs.keys().cloned().collect(),
        })?;
        let path = self.dir.join(name);
        let bytes = disk::read_capped(&*self.disk, &path, contents.bytes).map_err(failed("read", &path))?;
        if bytes.len() as u64 != contents.bytes || blake3::hash(&bytes).as_bytes() != &contents.hash.0 {
            return Err(StateError::Damaged { path, reason: "its bytes changed since the start".into() });
        }
        Ok(bytes)
    }

    /// The numbers of a file written as [`Content::Floats`].
    pub fn read_floats(&self, name: &str) -> Result<Vec<f32>, StateError> {
        let bytes = self.read(name)?;
        if bytes.len() % 4 != 0 {
            let reason = format!("expected a multiple of 4 bytes, found {}", bytes.len());
            return Err(StateError::Damaged { path: self.dir.join(name), reason });
        }
        let quads =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("a chunk of four bytes")));
        Ok(quads.collect())
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged { generation, reason, moved_to: Some(to) } => {
                write!(
                    f,
                    "saved generation {generation} is damaged ({reason}) and was moved to {}; ",
                    to.display()
                )?;
                write!(f, "the one before it is used; check the disk")
            }
            Self::Damaged { generation, reason, moved_to: None } => {
                write!(
                    f,
                    "saved generation {generation} is damaged ({reason}) and could not be moved aside; "
                )?;
                write!(f, "the one before it is used; check that the directory is writable")
            }
            Self::Unreadable { generation, reason } => {
                write!(
                    f,
                    "saved generation {generation} cannot be read ({reason}); the one before it is used; check the disk"
                )
            }
            Self::OtherRun { generation, run } => {
                write!(f, "saved generation {generation} belongs to run {} and was left alone", run.short())
            }
            Self::Current { found, used: Some(used) } => {
                write!(f, "{CURRENT} says {found}, but generation {used} is the newest good one and is used")
            }
            Self::Current { found, used: None } => {
                write!(
                    f,
                    "{CURRENT} says {found}, but no good generation is there; starting without saved state"
                )
            }
            Self::LeftOver { path, reason } => {
                write!(f, "{} could not be removed ({reason}); tried again at the next start", path.display())
            }
        }
    }
}

const ABSENT: &str = "nothing, it is absent";

fn flaw(name: &str, error: &io::Error) -> Flaw {
    match error.kind() {
        io::ErrorKind::NotFound => Flaw::Damaged(format!("{name} is missing")),
        io::ErrorKind::InvalidData => Flaw::Damaged(format!("{name}: {error}")),
        // A folder in the place of a file is damage as well; the system tells it apart only when reading.
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            Flaw::Damaged(format!("{name}: {error}"))
        }
        _ => Flaw::Unreadable(format!("{name}: {error}")),
    }
}

/// The K of `gen-K`, `gen-K.tmp`, `damaged-K` and `damaged-K-2`.
fn number_in(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("gen-").or_else(|| name.strip_prefix("damaged-"))?;
    rest.split(['-', '.']).next()?.parse().ok()
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StateError + 'a {
    move |source| {
        let remedy = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free disk space; saving is tried again"
            }
            io::ErrorKind::PermissionDenied => "give this user the right to write the node's directory",
            io::ErrorKind::ReadOnlyFilesystem => "mount the node's directory writable",
            _ => "check the disk and its system log",
        };
        StateError::Disk { what, path: path.into(), source, remedy }
    }
}
