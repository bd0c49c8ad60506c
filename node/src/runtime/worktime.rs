//! How much of its time a node computes: training, encoding, mixing and evaluating over the wall time of whole outer steps.
//!
//! It exists so that one definition stands behind status, metrics and reports. An outer step lasts from the mix before it
//! (the first one: from the order to train) to its own mix, so waiting, pulling and joining are in
//! it too; time in which the node was paused is not. It deliberately knows no clock: times are handed in.

use std::time::Instant;

/// Seconds of whole outer steps since the node started, and what was done in them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkTime {
    /// Wall time.
    wall: f64,
    /// Inner training.
    training: f64,
    /// Encoding, mixing and evaluating.
    working: f64,
    /// Training of the step under way.
    trained: f64,
    /// Encoding and evaluating since the last mix.
    worked: f64,
    /// Where the step under way began.
    begun: Option<Instant>,
    /// A pause was ordered: what passes until the next order to train belongs to no step.
    is_interrupted: bool,
}

impl WorkTime {
    /// Training of an outer step was ordered.
    pub fn ordered(&mut self, at: Instant) {
        if self.begun.is_none() || self.is_interrupted {
            self.begun = Some(at);
        }
        (self.trained, self.is_interrupted) = (0.0, false);
    }

    /// The step under way was trained for so many seconds.
    pub fn trained(&mut self, seconds: f64) {
        self.trained = seconds.max(0.0);
    }

    /// It encoded or evaluated for so many seconds. What comes after the last complete step is in none.
    pub fn worked(&mut self, seconds: f64) {
        self.worked += seconds.max(0.0);
    }

    /// The node is to pause after the outer step under way.
    pub fn interrupted(&mut self) {
        self.is_interrupted = true;
    }

    /// The step under way is complete, mixed in so many seconds; answers its wall time in seconds.
    pub fn mixed(&mut self, seconds: f64, at: Instant) -> Option<f64> {
        let begun = self.begun.replace(at)?;
        let wall = at.saturating_duration_since(begun).as_secs_f64();
        self.wall += wall;
        self.training += std::mem::take(&mut self.trained);
        self.working += std::mem::take(&mut self.worked) + seconds.max(0.0);
        Some(wall)
    }

    /// Share of the wall time spent in inner training; `None` before the first complete step.
    pub fn training_ratio(&self) -> Option<f64> {
        (self.wall > 0.0).then(|| (self.training / self.wall).min(1.0))
    }

    /// Share of the wall time spent in training, encoding, mixing or evaluating; `None` before the first complete step.
    pub fn busy_ratio(&self) -> Option<f64> {
        (self.wall > 0.0).then(|| ((self.training + self.working) / self.wall).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(from: Instant, seconds: f64) -> Instant {
        from + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_step_lasts_from_one_mix_to_the_next_and_evaluating_is_in_it() {
        let (start, mut time) = (Instant::now(), WorkTime::default());
        assert_eq!((time.training_ratio(), time.busy_ratio()), (None, None));
        time.ordered(at(start, 5.0));
        time.trained(3.0);
        assert_eq!(
            time.mixed(0.5, at(start, 9.0)),
            Some(4.0),
            "what came before the first order is in no step"
        );
        assert_eq!((time.training_ratio(), time.busy_ratio()), (Some(0.75), Some(0.875)));
        // Two seconds of evaluation, then a step that settles: nothing is trained, the time counts.
        time.worked(2.0);
        time.ordered(at(start, 11.0));
        time.worked(0.5);
        assert_eq!(time.mixed(0.0, at(start, 13.0)), Some(4.0));
        assert_eq!((time.training_ratio(), time.busy_ratio()), (Some(0.375), Some(0.75)));
        time.worked(2.0);
        assert_eq!(time.busy_ratio(), Some(0.75), "an evaluation at the end is in no complete step");
    }

    #[test]
    fn a_pause_is_in_no_step_and_a_step_trained_twice_counts_once() {
        let (start, mut time) = (Instant::now(), WorkTime::default());
        time.ordered(start);
        time.interrupted();
        time.trained(1.0);
        assert_eq!(time.mixed(0.0, at(start, 1.0)), Some(1.0), "the step under way is finished first");
        time.ordered(at(start, 1_000.0));
        time.trained(7.0);
        time.ordered(at(start, 1_000.0));
        time.trained(2.0);
        assert_eq!(time.mixed(0.0, at(start, 1_004.0)), Some(4.0));
        assert_eq!(time.training_ratio(), Some(0.6));
        // Parts that were timed apart may add up to a little more than the whole.
        time.trained(9.0);
        time.mixed(0.0, at(start, 1_005.0));
        assert_eq!(time.training_ratio(), Some(1.0));
    }
}
