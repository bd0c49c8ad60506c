//! A fused model on disk: members named by path and hash, and how their answers are put together.
//!
//! The folder holds `fused.json` and no weights. Members are opened where they lie, and refused when their files are no
//! longer those the fusion was fitted to. It answers as any model does, and can say who said what.

use std::path::{Path, PathBuf};

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::error::{Error, Result};
use model::fuse::compare::Guard;
use model::fuse::fit::Interval;
use model::fuse::gate::Verdict;
use model::fuse::pool::Pool;
use model::fuse::rule::Rule;
use model::task::answers::Answers;
use serde::{Deserialize, Serialize};

use crate::trainer::examples::{Inputs, Modality};
use crate::trainer::members::{Members, hash_model};
use crate::trainer::translate::TranslateError;

/// The file that makes a folder a fused model.
pub const FUSED: &str = "fused.json";

/// Version of that file.
pub const VERSION: u32 = 1;

/// Longest such file read, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

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
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Its name.
    pub name: String,
    /// Its folder, from the fused model's.
    pub path: PathBuf,
    /// Hash of the files its answers depend on.
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
    pub members: Vec<Answers>,
}

impl Fused {
    /// Whether a folder holds a fused model.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(FUSED).is_file()
    }

    /// Opens a fused model and all its members.
    pub fn open(dir: &Path, device: &str, threads: usize) -> Result<Self, TranslateError> {
        let facts = read(dir)?;
        let path = dir.join(FUSED);
        let bad = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
        let dirs: Vec<PathBuf> = facts.members.iter().map(|member| dir.join(&member.path)).collect();
        for (member, dir) in facts.members.iter().zip(&dirs) {
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
                    "expected the member {} with hash {}, found {found}: its weights were fitted to another model; \
                     fuse again",
                    member.name, member.hash
                );
                return Err(bad(reason).into());
            }
        }
        let members = Members::open(&dirs, device, threads)?;
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

    /// Asks every member and puts the answers together.
    pub fn answer(&mut self, inputs: &Inputs) -> Result<FusedAnswers> {
        let members = self.members.answer(inputs, &mut |_| ())?;
        let all: Vec<&Answers> = members.iter().collect();
        let fused = self.facts.pool.fuse(&all)?;
        Ok(FusedAnswers { fused, members })
    }
}

/// Reads and checks the file of a fused model.
fn read(dir: &Path) -> Result<FusedFacts> {
    let path = dir.join(FUSED);
    let bad = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
    let size = std::fs::metadata(&path).map_err(|source| Error::io("read", &path, source))?.len();
    if size > FILE_BYTES_MAX {
        return Err(bad(format!("expected at most {FILE_BYTES_MAX} bytes, found {size}")));
    }
    let text = std::fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    let facts: FusedFacts = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    if facts.version != VERSION {
        return Err(bad(format!("expected version {VERSION}, found {}", facts.version)));
    }
    if facts.pool.members() != facts.members.len() {
        let found = facts.pool.members();
        return Err(bad(format!("expected weights for {} members, found {found}", facts.members.len())));
    }
    facts.pool.check(facts.labels.len())?;
    Ok(facts)
}
