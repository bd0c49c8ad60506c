//! Making students: answers of the teachers, a student cut out, training, measuring, the gate.

use std::path::{Path, PathBuf};
use std::time::Instant;

use model::arch::config::ArchConfig;
use model::device::DeviceChoice;
use model::distill::anatomy::Anatomy;
use model::distill::cache;
use model::distill::importance::importance;
use model::distill::plan::{Plan, Shape};
use model::distill::run::{Lessons, Settings, train};
use model::distill::student::{Source, parameters};
use model::error::Error as ModelError;
use model::fuse::gate::judge;
use model::fuse::tally::{Tally, plain_tallies, total};
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::task::answers::Answers;
use model::train::optimizer::OptimizerConfig;
use serde_json::json;
use thiserror::Error;

use crate::distill::outcome::{Line, Outcome, Student};
use crate::telemetry::progress::Progress;
use crate::trainer::answerer::{Answerer, metric};
use crate::trainer::examples::{Examples, load};
use crate::trainer::model_card::Facts;
use crate::trainer::model_hash::hash_model;
use crate::trainer::translate::TranslateError;

/// Share of the training examples held back to score on where the data has no other part.
const HELD_OUT: f64 = 0.1;

/// Batches behind the importance of heads and features.
const IMPORTANCE_BATCHES: usize = 64;

/// Examples answered one by one to take the time.
const TIMED: usize = 60;

/// Weight decay of a student's training.
const DECAY: f64 = 0.01;

/// What to make.
#[derive(Clone, Debug)]
pub struct Order {
    /// Folders of the teachers; students are cut from the first.
    pub teachers: Vec<PathBuf>,
    /// The students.
    pub plans: Vec<Plan>,
    /// Training examples, and examples to score on.
    pub data: PathBuf,
    /// How students are trained.
    pub settings: Settings,
    /// Where students and reports go.
    pub out: PathBuf,
    /// Where teachers' answers are kept.
    pub cache: PathBuf,
    /// `auto`, `cpu`, `cuda[:N]`, `metal`.
    pub device: String,
    /// Seed of everything random.
    pub seed: u64,
    /// By how much a student may lose against its teacher and still be adopted.
    pub margin: f64,
    /// Whether each student is also trained on labels alone.
    pub compare: bool,
}

/// A distillation that cannot be done.
#[derive(Debug, Error)]
pub enum DistillError {
    /// A model or the data cannot be used.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// A student could not be written.
    #[error("could not write {path}: {reason}", path = path.display())]
    Write {
        /// Which folder or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl From<ModelError> for DistillError {
    fn from(error: ModelError) -> Self {
        Self::Translate(error.into())
    }
}

type Result<T> = std::result::Result<T, DistillError>;

/// Makes all students.
pub fn distill(order: &Order) -> Result<Outcome> {
    let begun = Instant::now();
    let mut teachers = Vec::new();
    for dir in &order.teachers {
        teachers.push(Answerer::open(dir, &order.device, 0)?);
    }
    let seed = Seed::from_u64(order.seed);
    let (lessons, scored) = examples(&teachers[0], &order.data, &seed)?;
    let (answers, answers_cached) = teach(order, &mut teachers, &lessons)?;
    let teacher = &mut teachers[0];
    let (line, reference) = measure("teacher", teacher, &order.teachers[0], &scored)?;
    let mut students = Vec::new();
    for plan in &order.plans {
        let start = start(plan, teacher, &lessons, &seed, &order.device)?;
        let score_without_teacher = if order.compare {
            let mut alone = teacher.sibling(start.session(&order.device)?, teacher.facts.clone());
            let rows = alone.lessons(&lessons, None)?;
            study(&mut alone.session, &rows, order, &format!("{plan} without teacher"))?;
            Some(total(&hits(&mut alone, &scored)?))
        } else {
            None
        };
        let facts = facts(&teacher.facts, plan);
        let mut student = teacher.sibling(start.session(&order.device)?, facts);
        let rows = student.lessons(&lessons, Some(answers.clone()))?;
        study(&mut student.session, &rows, order, &plan.name)?;
        let dir = order.out.join(&plan.name);
        student.save(&dir).map_err(|reason| DistillError::Write { path: dir.clone(), reason })?;
        let (own, tallies) = measure(&plan.name, &mut student, &dir, &scored)?;
        let verdict = judge(&tallies, &reference, order.margin, seed.fork("gate"))?;
        let kept = if line.score > 0.0 { own.score / line.score } else { 0.0 };
        let made = Student { line: own, kept, score_without_teacher, verdict, model: dir.clone() };
        write_card(&dir, order, &made)?;
        students.push(made);
    }
    Ok(Outcome {
        teacher: line,
        students,
        teachers: order.teachers.clone(),
        metric: metric(teacher.kind).to_owned(),
        settings: order.settings,
        data: order.data.clone(),
        samples_train: lessons.len(),
        samples_score: scored.len(),
        answers_cached,
        device: order.device.clone(),
        seed: order.seed,
        wall_s: begun.elapsed().as_secs_f64(),
    })
}

/// What to learn from and what to score on: the test part, else the development part, else a part held back.
fn examples(teacher: &Answerer, data: &Path, seed: &Seed) -> Result<(Examples, Examples)> {
    let parts = load(data, teacher.kind, teacher.modality(), &teacher.labels)?;
    if parts.train.is_empty() {
        return Err(TranslateError::NoData(data.display().to_string()).into());
    }
    let scored = if parts.test.is_empty() { parts.dev } else { parts.test };
    Ok(if scored.is_empty() { parts.train.split(HELD_OUT, seed) } else { (parts.train, scored) })
}

/// The mean of what the teachers say about the lessons, from disk where it is known; labels in the first one's order.
fn teach(order: &Order, teachers: &mut [Answerer], lessons: &Examples) -> Result<(Answers, usize)> {
    let labels = teachers[0].labels.clone();
    let kind = teachers[0].kind;
    let mut all = Vec::new();
    let mut cached = 0;
    for (teacher, dir) in teachers.iter_mut().zip(&order.teachers) {
        let other = |found: &Answerer| {
            let what = format!("labels of the teacher {}", dir.display());
            ModelError::shape(what, "those of the first teacher", format!("{} others", found.labels.len()))
        };
        if teacher.kind != kind || teacher.labels.len() != labels.len() {
            return Err(other(teacher).into());
        }
        let places: Option<Vec<usize>> =
            labels.names().iter().map(|name| teacher.labels.id(name).map(|id| id as usize)).collect();
        let places = places.ok_or_else(|| other(teacher))?;
        let fingerprint = teacher.fingerprint(&lessons.inputs)?;
        let known = cache::load(&order.cache, &fingerprint)?;
        let answers = if let Some(answers) = known {
            cached += 1;
            answers
        } else {
            let progress = Progress::new("teacher", lessons.len() as u64);
            let answers = teacher.answer(&lessons.inputs)?;
            progress.finish("answers taken");
            cache::store(&order.cache, &fingerprint, &answers)?;
            answers
        };
        all.push(answers.reordered(&places));
    }
    Ok((Answers::mean(&all)?, cached))
}

/// A student before training.
struct Start {
    arch: ArchConfig,
    head: model::arch::config::Head,
    flat: Option<Vec<f32>>,
    seed: Seed,
}

impl Start {
    /// The student's model, as it begins to learn.
    fn session(&self, device: &str) -> Result<Session> {
        let device: DeviceChoice = device.parse()?;
        let mut session = Session::new(&self.arch, &self.head, &device, self.seed)?;
        if let Some(flat) = &self.flat {
            session.write(flat)?;
        }
        let optimizer =
            OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: DECAY };
        session.configure(TrainingConfig { optimizer, ..TrainingConfig::default() })?;
        Ok(session)
    }
}

fn start(
    plan: &Plan,
    teacher: &mut Answerer,
    lessons: &Examples,
    seed: &Seed,
    device: &str,
) -> Result<Start> {
    let head = *teacher.session.head();
    let seed = seed.fork("student").fork(&plan.name);
    let Shape::Cut { depth, width } = &plan.shape else {
        let Shape::Config(arch) = &plan.shape else { unreachable!("a shape is cut or stated") };
        return Ok(Start { arch: (**arch).clone(), head, flat: None, seed });
    };
    let arch = teacher.session.arch().clone();
    let anatomy = Anatomy::new(&arch, &head, *depth, *width)?;
    let mut flat = vec![0.0; teacher.session.parameter_count()];
    teacher.session.read(&mut flat)?;
    // Whole width leaves nothing to choose, so nothing needs to be ranked.
    let ranked = if *width < 1.0 {
        let rows = teacher.lessons(lessons, None)?.rows;
        let device: DeviceChoice = device.parse()?;
        // A session of its own: measuring gradients needs buffers that the teacher should not keep.
        let mut probe = Session::new(&arch, &head, &device, seed)?;
        probe.write(&flat)?;
        Some(importance(&mut probe, &rows, IMPORTANCE_BATCHES, seed.fork("importance"))?)
    } else {
        None
    };
    let source = Source { arch: &arch, head: &head, parameters: &flat, importance: ranked.as_deref() };
    let flat = parameters(source, &anatomy)?;
    Ok(Start { arch: anatomy.arch, head, flat: Some(flat), seed })
}

fn study(session: &mut Session, lessons: &Lessons, order: &Order, title: &str) -> Result<()> {
    let mut progress: Option<Progress> = None;
    let seed = Seed::from_u64(order.seed).fork("batches");
    train(session, lessons, &order.settings, seed, &mut |now| {
        let bar = progress.get_or_insert_with(|| Progress::new(title, now.steps));
        bar.set(now.step, &format!("loss {:.3}", now.loss));
        true
    })?;
    if let Some(progress) = progress {
        progress.finish("trained");
    }
    Ok(())
}

fn hits(model: &mut Answerer, scored: &Examples) -> Result<Vec<Tally>> {
    let answers = model.answer(&scored.inputs)?;
    Ok(plain_tallies(&answers, &scored.truth, model.kind, &model.labels))
}

fn measure(name: &str, model: &mut Answerer, dir: &Path, scored: &Examples) -> Result<(Line, Vec<Tally>)> {
    let tallies = hits(model, scored)?;
    let weights = dir.join("model.safetensors");
    let bytes = std::fs::metadata(&weights).map_err(|source| ModelError::io("read", &weights, source))?.len();
    let line = Line {
        name: name.to_owned(),
        parameters: model.session.parameter_count(),
        bytes,
        latency_ms: latency_ms(model, scored)?,
        score: total(&tallies),
    };
    Ok((line, tallies))
}

/// The median time to answer one example by itself. The first few warm caches and buffers and do not count.
fn latency_ms(model: &mut Answerer, scored: &Examples) -> Result<f64> {
    let warm = TIMED / 6;
    let mut times = Vec::new();
    for k in 0..(warm + TIMED) {
        let one = scored.inputs.chosen(&[k % scored.len()]);
        let begun = Instant::now();
        model.answer(&one)?;
        if k >= warm {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn facts(teacher: &Facts, plan: &Plan) -> Facts {
    Facts {
        run_name: format!("{}, student {}", teacher.run_name, plan.name),
        purpose: format!("{} (a student of that model)", teacher.purpose),
        ..teacher.clone()
    }
}

/// What the student was made of and how it was judged, beside it.
fn write_card(dir: &Path, order: &Order, made: &Student) -> Result<()> {
    let path = dir.join("card.json");
    let write = |reason: String| DistillError::Write { path: path.clone(), reason };
    let mut teachers = Vec::new();
    for teacher in &order.teachers {
        let hash = hash_model(teacher)?;
        teachers.push(json!({ "model": teacher, "hash": hash }));
    }
    let card = json!({
        "kind": "student",
        "figures": made,
        "teachers": teachers,
        "settings": order.settings,
        "data": order.data,
        "seed": order.seed,
    });
    let text = serde_json::to_string_pretty(&card).map_err(|e| write(e.to_string()))?;
    std::fs::write(&path, text).map_err(|e| write(e.to_string()))
}
