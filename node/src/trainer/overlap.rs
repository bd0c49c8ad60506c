//! Training of the next outer step while the updates of this one travel.
//!
//! After an update is encoded the learner trains on from it. When the mix is there, what was trained since is taken as a
//! difference and added to it, so nothing is lost and every update holds training that began one mix earlier. It
//! deliberately takes one inner step at a time: a mix never waits longer than for the step under way.

use std::time::{Duration, Instant};

use protocol::id::OuterStep;
use protocol::stage::plan::Plan;

use crate::trainer::learner::{Learned, Learner, LearnerError, Lesson};

/// What is trained ahead, in one buffer of the parameters' length.
#[derive(Default)]
pub(super) struct Overlap {
    stage: Stage,
    done: Done,
    seconds_max: u32,
    /// Parameters as published while training; how far they were trained since, once the mix is there.
    held: Vec<f32>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Stage {
    /// Nothing is trained ahead.
    #[default]
    Idle,
    /// The learner trains towards the update of that step.
    Training(OuterStep, Plan),
    /// The mix is there; what was trained waits to be added to it for that step.
    Moved(OuterStep),
}

/// What was done ahead for an outer step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// What was learned; its loss is the sum over the inner steps that were not dropped.
    pub learned: Learned,
    /// How long it took.
    pub busy: Duration,
}

impl Done {
    /// Adds a lesson.
    pub(super) fn add(&mut self, lesson: Learned, busy: Duration) {
        self.learned.steps += lesson.steps;
        self.learned.dropped += lesson.dropped;
        self.learned.samples += lesson.samples;
        self.learned.loss += lesson.loss * f64::from(lesson.steps.saturating_sub(lesson.dropped));
        self.busy += busy;
    }

    /// All of it, with the mean loss.
    pub(super) fn whole(self) -> Learned {
        let counted = self.learned.steps.saturating_sub(self.learned.dropped).max(1);
        Learned { loss: self.learned.loss / f64::from(counted), ..self.learned }
    }

    /// What is left of an outer step, from its lesson's first inner step on.
    pub(super) fn rest(&self, plan: Plan, seconds_max: u32) -> Lesson {
        let taken = self.learned.steps.min(plan.inner_steps);
        let left = f64::from(seconds_max) - self.busy.as_secs_f64();
        let is_over = seconds_max > 0 && left <= 0.0;
        Lesson {
            steps: if is_over { 0 } else { plan.inner_steps - taken },
            start: plan.inner_start + u64::from(taken),
            total: plan.inner_total,
            seconds_max: if seconds_max == 0 { 0 } else { left.max(0.0).ceil() as u32 },
        }
    }
}

impl Overlap {
    /// The update of outer step `step` was encoded from these parameters; `next` is trained from here on.
    pub(super) fn begin(&mut self, step: OuterStep, next: Option<Plan>, seconds_max: u32, published: &[f32]) {
        self.drop();
        let Some(next) = next else { return };
        self.stage = Stage::Training(step.next(), next);
        self.seconds_max = seconds_max;
        self.held.clear();
        self.held.extend_from_slice(published);
    }

    /// Gives up what was trained ahead.
    pub(super) fn drop(&mut self) {
        (self.stage, self.done) = (Stage::Idle, Done::default());
    }

    /// Whether an inner step can be taken now.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.stage, Stage::Training(_, plan) if self.done.rest(plan, self.seconds_max).steps > 0)
    }

    /// Takes one inner step; `is_stopped` is asked before it.
    pub(super) fn train(
        &mut self,
        learner: &mut dyn Learner,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), LearnerError> {
        let Stage::Training(_, plan) = self.stage else { return Ok(()) };
        let begun = Instant::now();
        let lesson = Lesson { steps: 1, ..self.done.rest(plan, self.seconds_max) };
        let learned = learner.train(lesson, is_stopped)?;
        if learned.steps == 0 {
            // Whatever keeps the learner from going on, the order to train will meet it too.
            self.drop();
            return Ok(());
        }
        self.done.add(learned, begun.elapsed());
        Ok(())
    }

    /// The mix is there: keeps how far the learner has moved since the update. `scratch` has the parameters' length.
    pub(super) fn mixed(&mut self, learner: &dyn Learner, scratch: &mut [f32]) {
        let Stage::Training(step, _) = self.stage else { return };
        if self.done.learned.steps == 0 {
            return self.drop();
        }
        learner.read(scratch);
        self.held.iter_mut().zip(scratch).for_each(|(held, now)| *held = *now - *held);
        self.stage = Stage::Moved(step);
    }

    /// Outer step `step` is to be trained from these parameters: adds what was trained ahead for it to the learner's, and
    /// answers what that was. `scratch` has the parameters' length.
    pub(super) fn resume(
        &mut self,
        step: OuterStep,
        agreed: &[f32],
        scratch: &mut [f32],
        learner: &mut dyn Learner,
    ) -> Result<Done, LearnerError> {
        let (stage, done) = (self.stage, self.done);
        self.drop();
        match stage {
            Stage::Moved(of) if of == step => {
                for ((x, agreed), moved) in scratch.iter_mut().zip(agreed).zip(&self.held) {
                    *x = agreed + moved;
                }
                learner.write(scratch)?;
                Ok(done)
            }
            // Nothing was mixed since the update, so the learner has no business where it went.
            Stage::Training(..) => {
                learner.write(agreed)?;
                Ok(Done::default())
            }
            Stage::Moved(_) | Stage::Idle => Ok(Done::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::trainer::learner::Judged;
    use protocol::wire::choice::{Codec, Stage as RunStage};

    const STEP: OuterStep = OuterStep(4);

    /// A learner whose every inner step adds one, until it has done all it can.
    struct Climber {
        height: f32,
        left: u32,
    }

    impl Learner for Climber {
        fn parameters(&self) -> usize {
            2
        }

        fn read(&self, out: &mut [f32]) {
            out.fill(self.height);
        }

        fn model(&self) -> Option<Vec<f32>> {
            None
        }

        fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
            self.height = flat[0];
            Ok(())
        }

        fn train(&mut self, lesson: Lesson, _: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
            let steps = lesson.steps.min(self.left);
            self.left -= steps;
            self.height += steps as f32;
            // The loss is the number of the first inner step.
            Ok(Learned { steps, dropped: 0, samples: u64::from(steps) * 2, loss: lesson.start as f64 })
        }

        fn evaluate(&mut self) -> Result<Judged, LearnerError> {
            unreachable!("nothing is evaluated here")
        }

        fn export(&self, _: &Path, _: OuterStep) -> Result<(), LearnerError> {
            unreachable!("nothing is exported here")
        }

        fn state(&self) -> Vec<(String, Vec<u8>)> {
            Vec::new()
        }

        fn restore(&mut self, _: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
            Ok(())
        }
    }

    /// Ten inner steps from the fortieth on.
    fn next() -> Plan {
        Plan {
            stage: RunStage::Train,
            inner_steps: 10,
            inner_start: 40,
            inner_total: 100,
            codec: Codec::F32,
            evaluates: false,
        }
    }

    /// What was published at height 7 and trained on by so many inner steps.
    fn climbed(steps: u32, left: u32) -> (Overlap, Climber) {
        let (mut overlap, mut climber) = (Overlap::default(), Climber { height: 7.0, left });
        overlap.begin(STEP, Some(next()), 0, &[7.0; 2]);
        for _ in 0..steps {
            overlap.train(&mut climber, &|| false).unwrap();
        }
        (overlap, climber)
    }

    #[test]
    fn what_was_trained_while_updates_travelled_is_added_to_their_mix() {
        let (mut overlap, mut climber) = climbed(3, 100);
        let mut scratch = [0.0; 2];
        overlap.mixed(&climber, &mut scratch);
        assert!(!overlap.is_due(), "what goes on after the mix begins at the mix");
        // The node takes over the mix, and evaluates it perhaps.
        climber.write(&[20.0; 2]).unwrap();
        let done = overlap.resume(STEP.next(), &[20.0; 2], &mut scratch, &mut climber).unwrap();
        assert_eq!(climber.height, 23.0);
        let rest = done.rest(next(), 0);
        assert_eq!((rest.steps, rest.start, rest.total, rest.seconds_max), (7, 43, 100, 0));
        assert_eq!((done.whole().steps, done.whole().samples, done.whole().loss), (3, 6, 41.0));
        let again = overlap.resume(STEP.next(), &[20.0; 2], &mut scratch, &mut climber).unwrap();
        assert_eq!((again.learned.steps, climber.height), (0, 23.0), "it is added once");
    }

    #[test]
    fn nobody_trains_further_ahead_than_one_outer_step() {
        let (overlap, climber) = climbed(10, 100);
        assert!(!overlap.is_due() && climber.height == 17.0);
        let (overlap, climber) = climbed(3, 2);
        assert!(!overlap.is_due(), "a learner that cannot go on is not asked again");
        assert_eq!(climber.height, 9.0);
    }

    #[test]
    fn training_ahead_counts_against_the_longest_training() {
        let done = Done { busy: Duration::from_millis(2_500), ..Done::default() };
        assert_eq!((done.rest(next(), 4).seconds_max, done.rest(next(), 4).steps), (2, 10));
        assert_eq!(done.rest(next(), 2).steps, 0);
    }

    #[test]
    fn what_was_trained_for_a_step_that_does_not_come_is_given_up() {
        let mut scratch = [0.0; 2];
        let (mut overlap, mut climber) = climbed(3, 100);
        overlap.mixed(&climber, &mut scratch);
        climber.write(&[20.0; 2]).unwrap();
        let done = overlap.resume(OuterStep(9), &[20.0; 2], &mut scratch, &mut climber).unwrap();
        assert_eq!((done.learned.steps, climber.height), (0, 20.0));
        // Ordered again before any mix: from where the node stands, as without overlap.
        let (mut overlap, mut climber) = climbed(3, 100);
        overlap.resume(STEP.next(), &[5.0; 2], &mut scratch, &mut climber).unwrap();
        assert_eq!(climber.height, 5.0);
        let (mut overlap, mut climber) = climbed(0, 100);
        overlap.mixed(&climber, &mut scratch);
        let done = overlap.resume(STEP.next(), &[20.0; 2], &mut scratch, &mut climber).unwrap();
        assert_eq!((done.learned.steps, climber.height), (0, 7.0), "nothing was trained, nothing is written");
    }
}
