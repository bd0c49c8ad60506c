//! A model session with its private data, as the trainer sees it.

use std::path::Path;
use std::time::Instant;

use model::data::batch::Batch;
use model::data::batcher::{Batcher, Position};
use model::session::{Session, StepReport};
use model::train::optimizer::OptimizerState;
use model::train::schedule::{Schedule, Shape};
use protocol::id::OuterStep;
use protocol::wire::charter::TrainTerms;

use crate::trainer::learner::{Judged, Learned, Learner, LearnerError, Lesson, wrong};
use crate::trainer::model_card::{Card, Facts};
use crate::trainer::private::Private;
use crate::trainer::score::Scored;

/// A model, its training rows and the examples it is scored on.
pub struct ModelLearner {
    session: Session,
    batches: Batcher,
    scored: Scored,
    terms: TrainTerms,
    card: Card,
    private: Option<Private>,
}

impl ModelLearner {
    /// Puts a learner together; the session holds the genesis parameters.
    pub fn new(session: Session, batches: Batcher, scored: Scored, terms: TrainTerms, card: Card) -> Self {
        Self { session, batches, scored, terms, card, private: None }
    }

    /// The same learner under a budget of differential privacy.
    pub fn under(self, private: Option<Private>) -> Self {
        Self { private, ..self }
    }

    /// Whether updates must tell little about any row.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Noisy steps in place of plain ones, as far as the budget goes.
    fn private_lesson(
        &mut self,
        lesson: Lesson,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Learned, LearnerError> {
        let schedule = self.schedule(lesson.total);
        let begun = Instant::now();
        let limit = if lesson.seconds_max == 0 { f64::INFINITY } else { f64::from(lesson.seconds_max) };
        let mut learned = Learned::default();
        let Some(private) = &mut self.private else { return Ok(learned) };
        for number in lesson.start..lesson.start + u64::from(lesson.steps) {
            if is_stopped() || begun.elapsed().as_secs_f64() >= limit {
                break;
            }
            let rate = schedule.rate(number);
            let Some(report) = private.step(&mut self.session, &self.batches, rate, number)? else {
                tracing::warn!("the budget of differential privacy is spent; this node trains no more");
                break;
            };
            learned.steps += 1;
            learned.samples += u64::from(report.samples);
            learned.loss += report.loss;
        }
        learned.loss /= f64::from(learned.steps.max(1));
        let spent = private.spent();
        tracing::info!(epsilon = spent.epsilon, delta = spent.delta, steps = spent.steps, "privacy spent");
        Ok(learned)
    }

    /// The model.
    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Number of labels.
    pub(super) fn labels(&self) -> usize {
        self.session.head().labels()
    }

    /// Trains on the next batches; `step` takes one inner step at a rate and is told its number in the run.
    pub(super) fn lesson(
        &mut self,
        lesson: Lesson,
        is_stopped: &dyn Fn() -> bool,
        mut step: impl FnMut(&mut Session, &Batch, f64, u64) -> model::error::Result<StepReport>,
    ) -> Result<Learned, LearnerError> {
        let schedule = self.schedule(lesson.total);
        let begun = Instant::now();
        let limit = if lesson.seconds_max == 0 { f64::INFINITY } else { f64::from(lesson.seconds_max) };
        let mut learned = Learned::default();
        let mut loss = 0.0;
        for number in lesson.start..lesson.start + u64::from(lesson.steps) {
            if is_stopped() || begun.elapsed().as_secs_f64() >= limit {
                break;
            }
            let batch = self.batches.next_batch();
            let report =
                step(&mut self.session, &batch, schedule.rate(number), number).map_err(wrong("train"))?;
            learned.steps += 1;
            if report.dropped {
                learned.dropped += 1;
            } else {
                learned.samples += u64::from(report.samples);
                loss += report.loss;
            }
        }
        learned.loss = loss / f64::from((learned.steps - learned.dropped).max(1));
        Ok(learned)
    }

    /// The rate of inner step `step` of `total`: warm-up, peak, fall to 0.
    fn schedule(&self, total: u64) -> Schedule {
        let warmup_steps = (f64::from(self.terms.warmup_share) * total as f64) as u64;
        let fall = f64::from(self.terms.decay_share);
        let shape = if fall > 0.0 { Shape::Wsd { fall } } else { Shape::Constant };
        Schedule { peak: f64::from(self.terms.rate), warmup_steps, total_steps: total.max(1), shape }
    }
}

impl Learner for ModelLearner {
    fn parameters(&self) -> usize {
        self.session.parameter_count()
    }

    fn read(&self, out: &mut [f32]) {
        self.session.read(out).expect("the trainer's buffers have the model's length");
    }

    fn model(&self) -> Option<Vec<f32>> {
        let mut flat = vec![0.0; self.parameters()];
        self.read(&mut flat);
        Some(flat)
    }

    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
        self.session.write(flat).map_err(wrong("take over mixed parameters"))
    }

    fn train(&mut self, lesson: Lesson, is_stopped: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
        if self.private.is_some() {
            return self.private_lesson(lesson, is_stopped);
        }
        self.lesson(lesson, is_stopped, |session, batch, rate, _| session.train_step(batch, rate))
    }

    fn can_glance(&self) -> bool {
        true
    }

    fn glance(&mut self, flat: &[f32], rows_max: usize) -> Result<Option<f64>, LearnerError> {
        self.write(flat)?;
        self.scored.glance(&mut self.session, rows_max).map_err(wrong("look at the validation data"))
    }

    fn evaluate(&mut self) -> Result<Judged, LearnerError> {
        let report = self.scored.report(&mut self.session).map_err(wrong("evaluate"))?;
        let loss = self.scored.loss(&mut self.session).map_err(wrong("evaluate"))?;
        Ok(Judged { metric: self.card.metric.clone(), score: report.score, loss, samples: report.samples })
    }

    fn export(&self, dir: &Path, step: OuterStep) -> Result<(), LearnerError> {
        let privacy = self.private.as_ref().map(Private::spent);
        let card = Card { facts: Facts { privacy, ..self.card.facts.clone() }, ..self.card.clone() };
        card.save(&self.session, dir, step).map_err(|why| LearnerError { what: "save the model", why })
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        let position = self.batches.position();
        let mut blobs =
            vec![("position".to_owned(), format!("{} {}\n", position.epoch, position.index).into_bytes())];
        if let Some(private) = &self.private {
            blobs.push(("privacy.steps".to_owned(), format!("{}\n", private.steps()).into_bytes()));
        }
        // A session that cannot tell its state yields none: the optimizer then starts from rest after a restart.
        if let Ok(state) = self.session.optimizer_state() {
            let bytes = |vector: &[f32]| vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            blobs.push(("optimizer.step".to_owned(), format!("{}\n", state.step).into_bytes()));
            blobs.push(("optimizer.first".to_owned(), bytes(&state.first)));
            blobs.push(("optimizer.second".to_owned(), bytes(&state.second)));
        }
        blobs
    }

    fn restore(&mut self, state: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
        let find = |name: &str| state.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice());
        let text = |name: &str| std::str::from_utf8(find(name)?).ok().map(str::trim);
        let position = text("position").and_then(|t| t.split_once(' ')).and_then(|(epoch, index)| {
            Some(Position { epoch: epoch.parse().ok()?, index: index.parse().ok()? })
        });
        // Data may have changed since: then the order starts anew, which costs nothing but repetition.
        if let Some(position) = position
            && self.batches.restore(position).is_err()
        {
            tracing::warn!("the data changed since the checkpoint; its order starts anew");
        }
        let spent = text("privacy.steps").and_then(|t| t.parse().ok());
        if let (Some(private), Some(spent)) = (&mut self.private, spent) {
            private.resume(spent);
        }
        let step = text("optimizer.step").and_then(|t| t.parse().ok());
        if let (Some(step), Some(first), Some(second)) =
            (step, find("optimizer.first"), find("optimizer.second"))
        {
            let floats = |bytes: &[u8]| -> Vec<f32> {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            };
            let state = OptimizerState { step, first: floats(first), second: floats(second) };
            self.session.restore_optimizer(&state).map_err(wrong("resume the inner optimizer"))?;
            self.session.resume_at(step);
        }
        Ok(())
    }
}
