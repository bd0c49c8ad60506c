//! What a distillation found, as data: a line per model.

use std::path::PathBuf;

use model::distill::run::Settings;
use model::fuse::gate::Verdict;
use serde::Serialize;

/// Everything about one distillation.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The teacher that the students are cut from and measured against.
    pub teacher: Line,
    /// The students in the order asked for.
    pub students: Vec<Student>,
    /// Folders of all teachers.
    pub teachers: Vec<PathBuf>,
    /// What `score` is: `f1` or `accuracy`.
    pub metric: String,
    /// How the students were trained.
    pub settings: Settings,
    /// The data.
    pub data: PathBuf,
    /// Examples trained on.
    pub samples_train: usize,
    /// Examples scored on.
    pub samples_score: usize,
    /// How many teachers' answers were found on disk.
    pub answers_cached: usize,
    /// The device.
    pub device: String,
    /// The seed.
    pub seed: u64,
    /// Seconds in all.
    pub wall_s: f64,
}

/// The figures of one model.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Parameters.
    pub parameters: usize,
    /// Bytes of its weights on disk.
    pub bytes: u64,
    /// Median time to answer one example by itself on this device, milliseconds.
    pub latency_ms: f64,
    /// Its score, 0 to 1.
    pub score: f64,
}

/// A student's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Student {
    /// Those that every model has.
    #[serde(flatten)]
    pub line: Line,
    /// Its score over the teacher's.
    pub kept: f64,
    /// The score of the same student trained on labels alone, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_without_teacher: Option<f64>,
    /// Whether it may take its teacher's place.
    pub verdict: Verdict,
    /// Its folder.
    pub model: PathBuf,
}

impl Student {
    /// Its parameters over the teacher's.
    pub fn size(&self, teacher: &Line) -> f64 {
        self.line.parameters as f64 / teacher.parameters.max(1) as f64
    }
}
