//! The learner of the averaging benchmark: its training puts a known vector in place, its evaluation compares the
//! result with what it must be.
//!
//! Updates travel as differences from a genesis that all nodes share, so every node starts at zero and its own vector
//! is what the first lesson "learns".

use std::path::Path;

use protocol::id::OuterStep;

use crate::trainer::learner::{Judged, Learned, Learner, LearnerError, Lesson};

/// Places at which the result is compared, and the exact values there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Indices into the vector.
    pub places: Vec<usize>,
    /// The value at each of them.
    pub values: Vec<f64>,
}

/// A vector.
#[derive(Debug)]
pub struct Averaging {
    length: usize,
    /// Zero while empty.
    vector: Vec<f32>,
    /// What the first lesson puts in place.
    own: Option<Vec<f32>>,
    expected: Expected,
}

impl Averaging {
    /// A learner at zero whose first lesson takes it to `own`.
    pub fn new(own: Vec<f32>, expected: Expected) -> Self {
        Self { length: own.len(), vector: Vec::new(), own: Some(own), expected }
    }

    /// Error relative to the norm of the expected values, and the largest single one.
    fn error(&self) -> (f64, f64) {
        let (mut square, mut size, mut largest) = (0.0, 0.0, 0.0f64);
        for (place, value) in self.expected.places.iter().zip(&self.expected.values) {
            let found = self.vector.get(*place).map_or(0.0, |x| f64::from(*x));
            square += (found - value).powi(2);
            size += value.powi(2);
            largest = largest.max((found - value).abs());
        }
        (if size > 0.0 { (square / size).sqrt() } else { square.sqrt() }, largest)
    }
}

impl Learner for Averaging {
    fn parameters(&self) -> usize {
        self.length
    }

    fn read(&self, out: &mut [f32]) {
        if self.vector.is_empty() {
            out.fill(0.0);
        } else {
            out.copy_from_slice(&self.vector);
        }
    }

    fn model(&self) -> Option<Vec<f32>> {
        None
    }

    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
        self.vector.resize(self.length, 0.0);
        self.vector.copy_from_slice(flat);
        Ok(())
    }

    fn train(&mut self, lesson: Lesson, _: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
        if let Some(own) = self.own.take() {
            self.vector = own;
        }
        Ok(Learned { steps: lesson.steps, samples: 1, ..Learned::default() })
    }

    /// The score is the relative error, the loss the largest single error: smaller is better.
    fn evaluate(&mut self) -> Result<Judged, LearnerError> {
        let (relative, largest) = self.error();
        let samples = self.expected.places.len() as u64;
        Ok(Judged { metric: "relative error".to_owned(), score: relative, loss: largest, samples })
    }

    /// There is no model to write.
    fn export(&self, _: &Path, _: OuterStep) -> Result<(), LearnerError> {
        Ok(())
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    fn restore(&mut self, _: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lesson_takes_zero_to_the_vector_and_later_ones_leave_what_was_mixed() {
        let expected = Expected { places: vec![0, 2], values: vec![3.0, 4.0] };
        let mut learner = Averaging::new(vec![3.0, 9.0, 4.0], expected);
        let lesson = Lesson { steps: 1, start: 0, total: 1, seconds_max: 0 };
        let read = |learner: &Averaging| {
            let mut out = vec![7.0; 3];
            learner.read(&mut out);
            out
        };
        assert_eq!(read(&learner), [0.0; 3]);
        learner.train(lesson, &|| false).unwrap();
        assert_eq!(read(&learner), [3.0, 9.0, 4.0]);
        assert_eq!(learner.evaluate().unwrap().score, 0.0);
        learner.write(&[3.0, 0.0, 3.0]).unwrap();
        learner.train(lesson, &|| false).unwrap();
        let judged = learner.evaluate().unwrap();
        assert_eq!((judged.score, judged.loss), (0.2, 1.0));
    }
}
