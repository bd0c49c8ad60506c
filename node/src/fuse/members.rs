//! Several models that answer the same questions: some here, some of peers that answer over the network.
//!
//! Members may have other architectures, sizes and tokenizers; what they share is the task and the set of labels. Their
//! answers come in one order of labels, whatever order each of them has. A model here answers or fails; a peer may also be
//! away, and that is no failure of the others.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::error::Error;
use model::task::answers::Answers;
use protocol::id::PeerId;

use crate::fuse::asked::{AskError, Asked};
use crate::fuse::heard::Heard;
use crate::trainer::answerer::Answerer;
use crate::trainer::examples::{Inputs, Modality};
use crate::trainer::translate::TranslateError;

/// What a peer's key stands behind where members are named.
const PEER: &str = "peer:";

/// Members that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// A model here cannot be used.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// Peers cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There are peers and no node to ask them through.
    #[error("the member {PEER}{0} can only be asked through a running node")]
    NoWay(PeerId),
    /// Nobody answered.
    #[error("expected the answers of at least one member, found none: {0}")]
    Nobody(String),
}

impl From<Error> for MembersError {
    fn from(error: Error) -> Self {
        Self::Translate(error.into())
    }
}

type Result<T> = std::result::Result<T, MembersError>;

/// Where a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seat {
    /// A model folder on this machine.
    Folder(PathBuf),
    /// A peer's model, which stays there.
    Peer(PeerId),
}

impl FromStr for Seat {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.strip_prefix(PEER) {
            None => Ok(Self::Folder(text.into())),
            Some(key) => key.trim().parse().map(Self::Peer).map_err(|e| {
                format!("expected a key as `starling peers --format json` shows it behind `{PEER}`, found {key:?}: {e}")
            }),
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => write!(out, "{}", dir.display()),
            Self::Peer(peer) => write!(out, "{PEER}{peer}"),
        }
    }
}

/// How peers among the members are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// The directory of a running node.
    pub node: PathBuf,
    /// The longest wait for the answers to one query.
    pub deadline: Duration,
}

/// Models with one task and one set of labels.
pub struct Members {
    /// The task.
    pub kind: TaskKind,
    /// The labels, in the order of the first model here, else of the run.
    pub labels: LabelSet,
    list: Vec<Member>,
    asked: Option<Door>,
}

/// The way to the peers.
struct Door {
    asked: Asked,
    deadline: Duration,
    /// For each label of all, its place among the run's.
    places: Vec<usize>,
}

/// One of them.
pub struct Member {
    /// Its name in tables.
    pub name: String,
    /// Where it is.
    pub seat: Seat,
    /// The model, where it is here.
    pub answerer: Option<Box<Answerer>>,
    /// For each label of all, its place among this member's.
    places: Vec<usize>,
}

impl Members {
    /// Opens models here and goes to the node through which the others are asked.
    ///
    /// # Errors
    /// There is no member, a model cannot be read, no node runs, or they do not mean the same labels.
    pub fn open(seats: &[Seat], through: Option<&Through>, device: &str, threads: usize) -> Result<Self> {
        let peer = seats.iter().find_map(|seat| match seat {
            Seat::Peer(peer) => Some(*peer),
            Seat::Folder(_) => None,
        });
        let asked = match (peer, through) {
            (None, _) => None,
            (Some(peer), None) => return Err(MembersError::NoWay(peer)),
            (Some(_), Some(through)) => Some((Asked::at(&through.node)?, through.deadline)),
        };
        let mut list: Vec<Member> = Vec::new();
        for (seat, name) in seats.iter().zip(names(seats)) {
            let answerer = match seat {
                Seat::Folder(dir) => Some(Box::new(Answerer::open(dir, device, threads)?)),
                Seat::Peer(_) => None,
            };
            list.push(Member { name, seat: seat.clone(), answerer, places: Vec::new() });
        }
        let first = list.iter().find_map(|member| member.answerer.as_deref());
        let (kind, labels, modality) = match (first, &asked) {
            (Some(first), _) => (first.kind, first.labels.clone(), first.modality()),
            (None, Some((asked, _))) => (asked.kind, asked.labels.clone(), Modality::Text),
            (None, None) => return Err(Error::shape("members of a fusion", "at least 1", 0).into()),
        };
        let expected = Meaning { kind, modality, labels: &labels };
        let asked = asked.map(|(asked, deadline)| -> Result<Door> {
            let found = Meaning { kind: asked.kind, modality: Modality::Text, labels: &asked.labels };
            let places =
                expected.places(&found).ok_or_else(|| unlike("the run of the node", &expected, &found))?;
            Ok(Door { asked, deadline, places })
        });
        let asked = asked.transpose()?;
        for member in &mut list {
            let Some(answerer) = &member.answerer else { continue };
            let found =
                Meaning { kind: answerer.kind, modality: answerer.modality(), labels: &answerer.labels };
            let what = format!("the member {}", member.seat);
            member.places = expected.places(&found).ok_or_else(|| unlike(&what, &expected, &found))?;
        }
        Ok(Self { kind, labels, list, asked })
    }

    /// The members.
    pub fn list(&self) -> &[Member] {
        &self.list
    }

    /// What they read.
    pub fn modality(&self) -> Modality {
        let here = self.list.iter().find_map(|member| member.answerer.as_ref());
        here.map_or(Modality::Text, |answerer| answerer.modality())
    }

    /// Leaves out the members for which this is false.
    ///
    /// # Panics
    /// If it does not say it of every member.
    pub fn retain(&mut self, is_kept: &[bool]) {
        assert_eq!(is_kept.len(), self.list.len(), "every member is kept or not");
        let mut kept = is_kept.iter();
        self.list.retain(|_| kept.next().is_some_and(|kept| *kept));
    }

    /// What every member says, labels in the common order; `observe` is told how many have answered. Peers are asked all
    /// at once; one that does not answer everything has no answers and says why.
    ///
    /// # Errors
    /// A model here fails, or the node does not ask.
    pub fn answer(&mut self, inputs: &Inputs, observe: &mut dyn FnMut(usize)) -> Result<Vec<Heard>> {
        let mut there = self.gather(inputs)?;
        let mut all = Vec::with_capacity(self.list.len());
        for (number, member) in self.list.iter_mut().enumerate() {
            all.push(match (&mut member.answerer, &member.seat) {
                (Some(answerer), _) => {
                    let begun = Instant::now();
                    let answers = answerer.answer(inputs)?.reordered(&member.places);
                    let step = answerer.facts.outer_step;
                    Heard::here(&member.name, step, begun.elapsed().as_secs_f64() * 1e3, answers)
                }
                (None, seat) => {
                    let is_it = |heard: &Heard| matches!(seat, Seat::Peer(peer) if heard.peer == Some(peer.to_string()));
                    let place = there.iter().position(is_it);
                    let heard = place.map(|place| there.swap_remove(place)).ok_or_else(|| {
                        AskError::Refused(format!("the node said nothing of {seat}"))
                    })?;
                    // A peer's own name says more than its key, and may be anybody's: the key stays in front of it.
                    if !heard.name.is_empty() && !member.name.contains(' ') && !member.name.contains(&heard.name) {
                        member.name = format!("{} {}", member.name, heard.name);
                    }
                    Heard { name: member.name.clone(), ..heard }
                }
            });
            observe(number + 1);
        }
        Ok(all)
    }

    /// What the peers among the members say, labels in the common order.
    fn gather(&mut self, inputs: &Inputs) -> Result<Vec<Heard>> {
        let Some(door) = &mut self.asked else { return Ok(Vec::new()) };
        let peers: Vec<PeerId> = self
            .list
            .iter()
            .filter_map(|member| match member.seat {
                Seat::Peer(peer) => Some(peer),
                Seat::Folder(_) => None,
            })
            .collect();
        if peers.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Vec<String>> = match inputs {
            Inputs::Sentences(sentences) => sentences.clone(),
            Inputs::Texts(texts) => texts.iter().map(|text| vec![text.clone()]).collect(),
            Inputs::Images(_) => {
                return Err(Error::shape("inputs that peers are asked about", "text", "images").into());
            }
        };
        let mut heard = door.asked.gather(&rows, Some(&peers), door.deadline)?;
        for member in &mut heard {
            member.answers = member.answers.take().map(|answers| answers.reordered(&door.places));
        }
        Ok(heard)
    }
}

/// What answers are about.
struct Meaning<'a> {
    kind: TaskKind,
    modality: Modality,
    labels: &'a LabelSet,
}

impl Meaning<'_> {
    /// For each label of this one, its place in the other's list; nothing where they do not mean the same.
    fn places(&self, other: &Self) -> Option<Vec<usize>> {
        let is_alike = self.kind == other.kind
            && self.modality == other.modality
            && self.labels.len() == other.labels.len();
        let places = self.labels.names().iter().map(|name| other.labels.id(name).map(|id| id as usize));
        if is_alike { places.collect() } else { None }
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = self.labels.names().iter().take(6).map(String::as_str).collect();
        let what = if self.kind == TaskKind::Tagging { "tagging" } else { "classify" };
        format!("{what} with {} labels ({}, ...)", self.labels.len(), names.join(", "))
    }
}

fn unlike(what: &str, expected: &Meaning<'_>, found: &Meaning<'_>) -> MembersError {
    Error::shape(what.to_owned(), expected.describe(), found.describe()).into()
}

/// The name of what a peer said, in hexadecimal, where the model itself is not to be had: its key, the outer step of its
/// model and its answers to the calibration examples.
pub fn hash_said(peer: &PeerId, heard: &Heard) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("starling answers of a peer v1");
    hasher.update(&peer.0);
    hasher.update(&heard.step.to_le_bytes());
    for value in heard.answers.iter().flat_map(Answers::values) {
        hasher.update(&value.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The way from one existing folder to another, so that both can be moved together.
pub fn relative(from: &Path, to: &Path) -> std::io::Result<PathBuf> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| std::path::Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

/// Short names: of peers the key's start, of folders the last part of each path, with the part before it where two are the
/// same, else numbered.
fn names(seats: &[Seat]) -> Vec<String> {
    let dirs: Vec<Option<&PathBuf>> = seats
        .iter()
        .map(|seat| match seat {
            Seat::Folder(dir) => Some(dir),
            Seat::Peer(_) => None,
        })
        .collect();
    let tail = |dir: &PathBuf, parts: usize| -> String {
        let all: Vec<String> = dir
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        all[all.len().saturating_sub(parts)..].join("/")
    };
    let name = |(number, seat): (usize, &Seat)| {
        let dir = match seat {
            Seat::Folder(dir) => dir,
            Seat::Peer(peer) => return peer.short(),
        };
        for parts in 1..=2 {
            let name = tail(dir, parts);
            let same = dirs.iter().flatten().filter(|other| tail(other, parts) == name).count();
            if !name.is_empty() && same == 1 {
                return name;
            }
        }
        format!("{} ({})", tail(dir, 1), number + 1)
    };
    seats.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_short_names_that_tell_them_apart() {
        let seats: Vec<Seat> = ["a/half", "b/half", "c/tiny/", ".", "x/m/n", "y/m/n"]
            .map(|dir| Seat::Folder(dir.into()))
            .to_vec();
        assert_eq!(names(&seats), ["a/half", "b/half", "tiny", " (4)", "n (5)", "n (6)"]);
    }

    #[test]
    fn a_seat_is_a_folder_or_a_key_and_says_so_again() {
        let key = "07".repeat(32);
        let seat: Seat = format!("peer:{key}").parse().unwrap();
        assert_eq!(seat, Seat::Peer(PeerId([7; 32])));
        assert_eq!(seat.to_string(), format!("peer:{key}"));
        assert_eq!("a/peer:x".parse::<Seat>(), Ok(Seat::Folder("a/peer:x".into())));
        assert!("peer:ada".parse::<Seat>().unwrap_err().contains("starling peers"));
        let refused = Members::open(&[seat], None, "cpu", 1).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("through a running node"), "{refused}");
    }

    #[test]
    fn labels_are_matched_by_name_and_others_are_refused() {
        let set = |names: &[&str]| LabelSet::classes(names.iter().copied()).unwrap();
        let (ours, theirs, fewer) = (set(&["a", "b", "c"]), set(&["c", "a", "b"]), set(&["a", "b"]));
        let meaning = |labels| Meaning { kind: TaskKind::Classify, modality: Modality::Text, labels };
        assert_eq!(meaning(&ours).places(&meaning(&theirs)), Some(vec![1, 2, 0]));
        assert_eq!(meaning(&ours).places(&meaning(&fewer)), None);
        let images = Meaning { modality: Modality::Images, ..meaning(&ours) };
        assert_eq!(meaning(&ours).places(&images), None);
    }

    #[test]
    fn the_way_between_folders_survives_moving_both() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        assert_eq!(relative(&at("a/fused"), &at("a/half")).unwrap(), PathBuf::from("../half"));
        assert_eq!(relative(&at("a"), &at("a/half")).unwrap(), PathBuf::from("half"));
        assert_eq!(relative(&at("b/c/d"), &at("a")).unwrap(), PathBuf::from("../../../a"));
    }
}
