//! The learner of the averaging benchmark: a vector that does not train.

use std::path::Path;

use protocol::id::OuterStep;

use crate::trainer::learner::{Judged, Learned, Learner, LearnerError, Lesson};

/// A vector.
#[derive(Debug)]
pub struct Averaging {
    vector: Vec<f32>,
}

impl Averaging {
    /// A learner that holds this vector.
    pub fn new(vector: Vec<f32>) -> Self {
        Self { vector }
    }
}

impl Learner for Averaging {
    fn parameters(&self) -> usize {
        self.vector.len()
    }

    fn read(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.vector);
    }

    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
        self.vector.copy_from_slice(flat);
        Ok(())
    }

    fn train(&mut self, _: Lesson, _: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
        Ok(Learned::default())
    }

    fn evaluate(&mut self) -> Result<Judged, LearnerError> {
        Ok(Judged { metric: "none".to_owned(), score: 0.0, loss: 0.0, samples: 0 })
    }

    /// The result as little-endian f32, in `vector.f32`.
    fn export(&self, dir: &Path, _: OuterStep) -> Result<(), LearnerError> {
        let bytes: Vec<u8> = self.vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(dir.join("vector.f32"), bytes))
            .map_err(|e| LearnerError { what: "write the vector", why: e.to_string() })
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    fn restore(&mut self, _: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
        Ok(())
    }
}
