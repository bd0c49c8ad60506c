//! A fused model on disk: members named by path and hash, and how their answers are put together.
//!
//! The folder holds `fused.json` and no weights. Members are opened where they lie, and refused when their files are no
//! longer those the fusion was fitted to; peers are asked through a running node, and the weight of one that is away is
//! shared out among the others. It answers as any model does, and can say who said what.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::error::Error;
use model::fuse::compare::Guard;
use model::fuse::fit::Interval;
use model::fuse::gate::Verdict;
use model::fuse::pool::Pool;
use model::fuse::rule::Rule;
use model::task::answers::Answers;
use protocol::id::PeerId;
use serde::{Deserialize, Serialize};

use crate::fuse::heard::{Heard, absent};
use crate::fuse::members::{Members, MembersError, Seat, Through};
use crate::trainer::examples::{Inputs, Modality};
use crate::trainer::model_hash::hash_model;

/// The file that makes a folder a fused model.
pub const FUSED: &str = "fused.json";

/// Version of that file.
pub const VERSION: u32 = 1;

/// Longest such file read, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Longest wait for the answers of peers to one query.
const DEADLINE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, MembersError>;

/// The contents of `fused.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FusedFacts {
    /// Version of this file.
    pub version: u32,
    /// The task.
    pub task: String,
    /// Labels in the order of the pool.
    pub labels: Vec<String>,
    /// The rule asked for.
    pub rule: Rule,
    /// What it was fitted to be.
    pub pool: Pool,
    /// The members in the order of the pool.
    pub members: Vec<MemberFacts>,
    /// How the rule compared with equal weights and the best member, where it was guarded.
    pub guard: Option<Guard>,
    /// The gate's verdict; nothing where no example had a label.
    pub verdict: Option<Verdict>,
    /// Examples the pool was fitted to.
    pub samples_calibrate: usize,
    /// The directory of the node through which peers are asked, from the fused model's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<PathBuf>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Its name.
    pub name: String,
    /// Its folder, from the fused model's; nothing for a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its key; nothing for a model here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// Outer step of the model that answered about the calibration set: a peer's goes on.
    #[serde(default)]
    pub step: u32,
    /// Hash of the files its answers depend on; of a peer, of what it said of the calibration set.
    pub hash: String,
    /// Its weight.
    pub weight: f64,
    /// The middle 95 % of the weight over examples drawn with replacement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Its own score on the calibration set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// A fused model, opened.
pub struct Fused {
    /// What the file says.
    pub facts: FusedFacts,
    members: Members,
}

/// What a fused model and its members say.
pub struct FusedAnswers {
    /// Together.
    pub fused: Answers,
    /// Each of them.
    pub members: Vec<Heard>,
    /// The weight of each that answered.
    pub weights: Vec<Option<f64>>,
}

impl Fused {
    /// Whether a folder holds a fused model.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(FUSED).is_file()
    }

    /// Opens a fused model and all its members.
    ///
    /// # Errors
    /// The file or a member cannot be used, a member here is no longer what it was, or the node that asks peers does not
    /// run.
    pub fn open(dir: &Path, device: &str, threads: usize) -> Result<Self> {
        let facts = read(dir)?;
        let path = dir.join(FUSED);
        let bad = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
        let mut seats = Vec::new();
        for member in &facts.members {
            seats.push(match (&member.path, member.peer) {
                (Some(path), None) => {
                    let dir = dir.join(path);
                    check(member, &dir, &bad)?;
                    Seat::Folder(dir)
                }
                (None, Some(peer)) => Seat::Peer(peer),
                _ => {
                    let reason = format!(
                        "expected a path or a peer of the member {}, found both or none",
                        member.name
                    );
                    return Err(bad(reason).into());
                }
            });
        }
        let through = facts.through.as_ref().map(|node| Through { node: dir.join(node), deadline: DEADLINE });
        let members = Members::open(&seats, through.as_ref(), device, threads)?;
        if members.labels.names() != facts.labels.as_slice() {
            return Err(bad("expected the labels of the first member, found others".into()).into());
        }
        Ok(Self { facts, members })
    }

    /// The task.
    pub fn kind(&self) -> TaskKind {
        self.members.kind
    }

    /// What it reads.
    pub fn modality(&self) -> Modality {
        self.members.modality()
    }

    /// The labels.
    pub fn labels(&self) -> &LabelSet {
        &self.members.labels
    }

    /// Asks every member and puts together what those say that answer.
    ///
    /// # Errors
    /// A model here fails, the node does not ask, or nobody answers.
    pub fn answer(&mut self, inputs: &Inputs) -> Result<FusedAnswers> {
        let members = self.members.answer(inputs, &mut |_| ())?;
        let present: Vec<bool> = members.iter().map(|heard| heard.answers.is_some()).collect();
        let all: Vec<&Answers> = members.iter().filter_map(|heard| heard.answers.as_ref()).collect();
        if all.is_empty() {
            let why: Vec<String> =
                absent(&members).iter().map(|(name, why)| format!("{name}: {why}")).collect();
            return Err(MembersError::Nobody(why.join(", ")));
        }
        let pool = self.facts.pool.restricted(&present);
        let fused = pool.fuse(&all)?;
        let mut kept = pool.weights().into_iter();
        let weights = present.iter().map(|here| if *here { kept.next() } else { None }).collect();
        Ok(FusedAnswers { fused, members, weights })
    }
}

/// Refuses a member here that is gone or is no longer the one that the weights were fitted to.
fn check(member: &MemberFacts, dir: &Path, bad: &dyn Fn(String) -> Error) -> Result<()> {
    if !dir.is_dir() {
        let reason = format!(
            "expected the member {} at {}, found nothing there; bring it back, or fuse again",
            member.name,
            dir.display()
        );
        return Err(bad(reason).into());
    }
    let found = hash_model(dir)?;
    if found != member.hash {
        let reason = format!(
            "expected the member {} with hash {}, found {found}: its weights were fitted to another model; fuse again",
            member.name, member.hash
        );
        return Err(bad(reason).into());
    }
    Ok(())
}

/// Reads and checks the file of a fused model.
fn read(dir: &Path) -> Result<FusedFacts> {
    let path = dir.join(FUSED);
    let bad = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
    let size = std::fs::metadata(&path).map_err(|source| Error::io("read", &path, source))?.len();
    if size > FILE_BYTES_MAX {
        return Err(bad(format!("expected at most {FILE_BYTES_MAX} bytes, found {size}")).into());
    }
    let text = std::fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    let facts: FusedFacts = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    if facts.version != VERSION {
        return Err(bad(format!("expected version {VERSION}, found {}", facts.version)).into());
    }
    if facts.pool.members() != facts.members.len() {
        let found = facts.pool.members();
        return Err(
            bad(format!("expected weights for {} members, found {found}", facts.members.len())).into()
        );
    }
    facts.pool.check(facts.labels.len())?;
    Ok(facts)
}
