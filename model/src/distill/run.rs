//! Training a student: epochs over labelled or unlabelled rows, with what its teachers said beside them.
//!
//! The teachers' answers are given by word or by text, the student's rows by token: `units` says which answer belongs to
//! which place, so that teacher and student may cut words into different pieces. Without answers the same loop trains on
//! labels alone, which is what a student is compared with.

use serde::{Deserialize, Serialize};

use crate::arch::config::Head;
use crate::data::batch::{Batch, IGNORE, Targets};
use crate::data::batcher::{Batcher, Order};
use crate::data::dataset::Dataset;
use crate::error::{Error, Result};
use crate::ops::soft_loss::{SoftRule, soft_loss};
use crate::seed::Seed;
use crate::session::Session;
use crate::task::answers::{Answers, Units};
use crate::train::schedule::{Schedule, Shape};

/// How a student is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How labels and teachers make one loss.
    pub rule: SoftRule,
    /// Passes over the rows.
    pub epochs: u32,
    /// Peak of the learning rate; it rises over the first twentieth of the steps and falls along half a cosine.
    pub rate: f64,
    /// Rows in a batch.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let rule = SoftRule::Divergence { alpha: 1.0, temperature: 2.0 };
        Self { rule, epochs: 4, rate: 5e-4, batch: 16 }
    }
}

/// What a student learns from.
#[derive(Debug, Clone)]
pub struct Lessons {
    /// The rows, for the student's own tokenizer.
    pub rows: Dataset,
    /// By row: pairs of a position in the row and the unit of the answers it stands for.
    pub units: Units,
    /// What the teachers say of every unit; nothing for training on labels alone.
    pub answers: Option<Answers>,
}

impl Lessons {
    /// Lessons of classified rows: every row is one unit, at position 0.
    pub fn of_rows(rows: Dataset, answers: Option<Answers>) -> Self {
        let units = (0..rows.len()).map(|row| vec![(0, row)]).collect();
        Self { rows, units, answers }
    }

    /// Refuses units that the rows or the answers do not have.
    fn check(&self, head: &Head) -> Result<()> {
        if let Some(label) = self.rows.largest_label().filter(|label| *label as usize >= head.labels()) {
            return Err(Error::shape("label", format!("below {}", head.labels()), label));
        }
        let first = if self.rows.is_empty() { Targets::None } else { self.rows.batch(&[0]).targets };
        let fits = match first {
            Targets::Tags(_) => matches!(head, Head::Tagging { .. }),
            Targets::Classes(_) => matches!(head, Head::Classification { .. }),
            Targets::Marks(_) | Targets::Numbers(_) => {
                let found = "several labels or a number for each row, from which nothing is distilled";
                return Err(Error::shape("labels of the rows", "tags or classes", found));
            }
            Targets::None => true,
        };
        if !fits {
            return Err(Error::shape("labels of the rows", "those of the model's task", "those of another"));
        }
        if self.units.len() != self.rows.len() {
            return Err(Error::shape("rows with units", self.rows.len(), self.units.len()));
        }
        let Some(answers) = &self.answers else { return Ok(()) };
        if answers.labels() != head.labels() {
            return Err(Error::shape("labels of the teacher's answers", head.labels(), answers.labels()));
        }
        for (row, pairs) in self.units.iter().enumerate() {
            for (position, unit) in pairs {
                let width = if matches!(head, Head::Tagging { .. }) { self.rows.width(row) } else { 1 };
                if *unit >= answers.units() || *position >= width {
                    let found = format!("position {position} of row {row} as unit {unit}");
                    return Err(Error::shape("units", format!("below {}", answers.units()), found));
                }
            }
        }
        Ok(())
    }

    /// Labels and answers of a batch of these rows, one row per output: a token before padding when tagging, else a row.
    fn objective(
        &self,
        chosen: &[usize],
        batch: &Batch,
        head: &Head,
        answers: &Answers,
    ) -> (Vec<i32>, Vec<f32>) {
        let labels = head.labels();
        let by_token = matches!(head, Head::Tagging { .. });
        let (mut targets, mut taught) = (Vec::new(), Vec::new());
        for (place, row) in chosen.iter().enumerate() {
            let first = targets.len();
            match &batch.targets {
                Targets::Tags(tags) => {
                    let start = place * batch.width;
                    targets.extend_from_slice(&tags[start..start + self.rows.width(*row)]);
                }
                Targets::Classes(classes) => targets.push(classes[place]),
                Targets::Marks(_) | Targets::Numbers(_) | Targets::None => {
                    targets.resize(first + if by_token { self.rows.width(*row) } else { 1 }, IGNORE);
                }
            }
            taught.resize(targets.len() * labels, 0.0);
            for (position, unit) in &self.units[*row] {
                let start = (first + position) * labels;
                taught[start..start + labels].copy_from_slice(answers.unit(*unit));
            }
        }
        (targets, taught)
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Mean loss since the last report.
    pub loss: f64,
}

/// What a training did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trained {
    /// Steps taken.
    pub steps: u64,
    /// Steps without effect, because a number was not finite or nothing counted.
    pub dropped: u64,
    /// Mean loss of the last epoch's counted steps.
    pub loss: f64,
    /// Whether `observe` ended it before its time.
    pub is_stopped: bool,
}

/// Trains a session. `observe` is called after every step that ends a twentieth of an epoch, and ends the training by
/// answering false.
///
/// # Errors
/// The lessons do not fit the model, a setting cannot work, or the model fails.
pub fn train(
    session: &mut Session,
    lessons: &Lessons,
    settings: &Settings,
    seed: Seed,
    observe: &mut dyn FnMut(Progress) -> bool,
) -> Result<Trained> {
    lessons.check(session.head())?;
    settings.rule.check()?;
    if settings.epochs == 0 {
        return Err(Error::config("epochs", "expected at least 1, found 0"));
    }
    let mut batcher = Batcher::new(lessons.rows.clone(), settings.batch, Order::Shuffled, seed)?;
    let an_epoch = batcher.batches_per_epoch() as u64;
    let steps = an_epoch * u64::from(settings.epochs);
    let schedule =
        Schedule { peak: settings.rate, warmup_steps: steps / 20, total_steps: steps, shape: Shape::Cosine };
    schedule.validate()?;
    let head = *session.head();
    let mut trained = Trained { steps: 0, dropped: 0, loss: f64::NAN, is_stopped: false };
    let (mut sum, mut counted) = (0.0, 0_u64);
    let (mut recent, mut recent_counted) = (0.0, 0_u64);
    for step in 0..steps {
        if step % an_epoch == 0 {
            (sum, counted) = (0.0, 0);
        }
        let (chosen, batch) = batcher.next_with_rows();
        let rate = schedule.rate(step);
        let report = match &lessons.answers {
            None => session.train_step(&batch, rate)?,
            Some(answers) => {
                let (targets, taught) = lessons.objective(&chosen, &batch, &head, answers);
                session.step_on(&batch, rate, &mut |logits| {
                    soft_loss(logits, head.labels(), &targets, &taught, settings.rule)
                })?
            }
        };
        trained.steps += 1;
        if report.dropped {
            trained.dropped += 1;
        } else {
            (sum, counted) = (sum + report.loss, counted + 1);
            (recent, recent_counted) = (recent + report.loss, recent_counted + 1);
        }
        if (step + 1) % (an_epoch / 20).max(1) == 0 || step + 1 == steps {
            let loss = recent / recent_counted.max(1) as f64;
            (recent, recent_counted) = (0.0, 0);
            if !observe(Progress { step: step + 1, steps, loss }) {
                trained.is_stopped = true;
                break;
            }
        }
    }
    trained.loss = sum / counted.max(1) as f64;
    Ok(trained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{ArchConfig, MlpConfig};
    use crate::device::DeviceChoice;
    use crate::task::classify;

    fn session(seed: u64) -> Session {
        let arch = ArchConfig::Mlp(MlpConfig { layers: vec![2, 16, 3] });
        let head = Head::Classification { labels: 3 };
        Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(seed)).unwrap()
    }

    /// Points of the plane; the classes are thirds of it.
    fn rows(count: usize, has_labels: bool) -> (Dataset, Vec<u32>) {
        let mut rng = Seed::from_u64(5).rng();
        let mut values = Vec::new();
        let mut classes = Vec::new();
        for _ in 0..count {
            let (x, y) = (crate::seed::normal(&mut rng), crate::seed::normal(&mut rng));
            values.extend([x as f32, y as f32]);
            classes.push(if y > 0.5 * x.abs() {
                0
            } else if x > 0.0 {
                1
            } else {
                2
            });
        }
        let stated = classes.iter().map(|c| if has_labels { *c as i32 } else { crate::data::batch::IGNORE });
        (Dataset::dense(values, 2, stated.collect()).unwrap(), classes)
    }

    fn accuracy(session: &mut Session, truth: &[u32]) -> f64 {
        let said = classify::predict(session, &rows(truth.len(), true).0).unwrap();
        said.iter().zip(truth).filter(|(a, b)| a.label == **b).count() as f64 / truth.len() as f64
    }

    #[test]
    fn a_student_learns_from_a_teacher_alone_by_either_rule() {
        let (labelled, truth) = rows(400, true);
        let settings = Settings { epochs: 20, rate: 1e-2, ..Settings::default() };
        let mut teacher = session(1);
        let lessons = Lessons::of_rows(labelled.clone(), None);
        let mut calls = 0;
        let trained = train(&mut teacher, &lessons, &settings, Seed::from_u64(2), &mut |progress| {
            calls += 1;
            assert!(progress.step <= progress.steps && progress.loss.is_finite());
            true
        })
        .unwrap();
        assert_eq!((trained.steps, trained.dropped, calls), (500, 0, 500));
        let taught = accuracy(&mut teacher, &truth);
        assert!(taught > 0.93, "{taught}");
        let answers = classify::answer(&mut teacher, &labelled).unwrap();
        let lessons = Lessons::of_rows(rows(400, false).0, Some(answers));
        for rule in [SoftRule::Squared { alpha: 1.0 }, SoftRule::Divergence { alpha: 1.0, temperature: 2.0 }]
        {
            let mut student = session(3);
            let settings = Settings { rule, ..settings };
            train(&mut student, &lessons, &settings, Seed::from_u64(4), &mut |_| true).unwrap();
            let learned = accuracy(&mut student, &truth);
            assert!(learned > taught - 0.03, "{rule:?}: {learned} {taught}");
        }
    }

    #[test]
    fn equal_seeds_train_to_equal_bits_and_a_stop_is_heeded() {
        let answers = Answers::of_texts(3, [0.2, 0.3, 0.5].repeat(40)).unwrap();
        let lessons = Lessons::of_rows(rows(40, true).0, Some(answers));
        let settings = Settings { epochs: 2, ..Settings::default() };
        let run = |stop_at: u64| {
            let mut student = session(3);
            let seed = Seed::from_u64(4);
            let trained = train(&mut student, &lessons, &settings, seed, &mut |p| p.step < stop_at).unwrap();
            let mut flat = vec![0.0; student.parameter_count()];
            student.read(&mut flat).unwrap();
            (trained, flat)
        };
        assert_eq!(run(100), run(100));
        let (trained, _) = run(2);
        assert!(trained.is_stopped && trained.steps == 2);
    }

    #[test]
    fn lessons_that_do_not_fit_are_refused() {
        let (rows, _) = rows(4, true);
        let good = Answers::of_texts(3, [0.2, 0.3, 0.5].repeat(4)).unwrap();
        let few = Answers::of_texts(3, [0.2, 0.3, 0.5].repeat(3)).unwrap();
        let other = Answers::of_texts(2, [0.5; 8].to_vec()).unwrap();
        let try_it = |lessons: &Lessons, settings: &Settings| {
            train(&mut session(1), lessons, settings, Seed::from_u64(1), &mut |_| true).map(drop)
        };
        let settings = Settings { epochs: 1, ..Settings::default() };
        assert!(try_it(&Lessons::of_rows(rows.clone(), Some(good.clone())), &settings).is_ok());
        assert!(try_it(&Lessons::of_rows(rows.clone(), Some(few)), &settings).is_err());
        assert!(try_it(&Lessons::of_rows(rows.clone(), Some(other)), &settings).is_err());
        let lessons = Lessons { rows, units: vec![], answers: Some(good) };
        assert!(try_it(&lessons, &settings).is_err());
        assert!(try_it(&lessons, &Settings { epochs: 0, ..settings }).is_err());
        for wrong in
            [SoftRule::Squared { alpha: -1.0 }, SoftRule::Divergence { alpha: 1.0, temperature: 0.0 }]
        {
            let lessons = Lessons::of_rows(lessons.rows.clone(), lessons.answers.clone());
            assert!(try_it(&lessons, &Settings { rule: wrong, ..settings }).is_err());
        }
    }
}
