//! A learner that lies: it trains like any other and then says it has something else.
//!
//! It is for testing a swarm with a real member that is hostile. Everything else of such a node keeps the rules, so what
//! it says is signed, announced and pulled like the updates of the honest.

use std::path::Path;
use std::sync::Mutex;

use protocol::id::OuterStep;
use protocol::rng::{Rng, Seed};
use protocol::sim::attack::Attack;
use protocol::sim::forgery::forged_alone;

use crate::trainer::learner::{Judged, Learned, Learner, LearnerError, Lesson};

/// Lies that one node can tell by itself.
pub const LIES: [Attack; 5] = [Attack::SignFlip, Attack::Scale, Attack::Noise, Attack::Zero, Attack::Stale];

/// The lie of that name.
pub fn lie_named(name: &str) -> Result<Attack, String> {
    LIES.into_iter().find(|lie| lie.name() == name).ok_or_else(|| {
        let names: Vec<&str> = LIES.iter().map(|lie| lie.name()).collect();
        format!("expected one of {}, found {name:?}", names.join(", "))
    })
}

/// Another learner, and what is said in its place.
pub struct Liar {
    inner: Box<dyn Learner>,
    attack: Attack,
    genesis: Vec<f32>,
    has_trained: bool,
    told: Mutex<Told>,
}

/// What reading changes.
struct Told {
    rng: Rng,
    /// The first update, to say it again and again.
    first: Option<Vec<f32>>,
}

impl Liar {
    /// `inner` holds the genesis parameters.
    pub fn new(inner: Box<dyn Learner>, attack: Attack, seed: &Seed) -> Self {
        let mut genesis = vec![0.0; inner.parameters()];
        inner.read(&mut genesis);
        let told = Mutex::new(Told { rng: seed.fork("lies").rng(), first: None });
        Self { inner, attack, genesis, has_trained: false, told }
    }
}

impl Learner for Liar {
    fn parameters(&self) -> usize {
        self.inner.parameters()
    }

    fn read(&self, out: &mut [f32]) {
        self.inner.read(out);
        if !self.has_trained {
            return;
        }
        let mut told = self.told.lock().expect("no reader panics while it holds the lock");
        if self.attack == Attack::Stale {
            let first = told.first.get_or_insert_with(|| out.to_vec());
            out.copy_from_slice(first);
        } else if let Some(lie) = forged_alone(self.attack, out, &self.genesis, &mut told.rng) {
            out.copy_from_slice(&lie);
        }
    }

    fn model(&self) -> Option<Vec<f32>> {
        self.inner.model()
    }

    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
        self.inner.write(flat)
    }

    fn train(&mut self, lesson: Lesson, is_stopped: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
        let learned = self.inner.train(lesson, is_stopped);
        self.has_trained = true;
        learned
    }

    /// The difference of two lies is no training.
    fn trains_ahead(&self) -> bool {
        false
    }

    fn evaluate(&mut self) -> Result<Judged, LearnerError> {
        self.inner.evaluate()
    }

    fn export(&self, dir: &Path, step: OuterStep) -> Result<(), LearnerError> {
        self.inner.export(dir, step)
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        self.inner.state()
    }

    fn restore(&mut self, state: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
        self.inner.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every lesson adds one to the only parameter.
    struct Counting(f32);

    impl Learner for Counting {
        fn parameters(&self) -> usize {
            1
        }
        fn read(&self, out: &mut [f32]) {
            out.fill(self.0);
        }
        fn model(&self) -> Option<Vec<f32>> {
            None
        }
        fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
            self.0 = flat[0];
            Ok(())
        }
        fn train(&mut self, _: Lesson, _: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
            self.0 += 1.0;
            Ok(Learned::default())
        }
        fn evaluate(&mut self) -> Result<Judged, LearnerError> {
            Ok(Judged { metric: "count".into(), score: 0.0, loss: 0.0, samples: 0 })
        }
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

    #[test]
    fn it_says_genesis_before_training_and_lies_after_it() {
        let lesson = Lesson { steps: 1, start: 0, total: 1, seconds_max: 0 };
        for (attack, said) in [
            (Attack::SignFlip, [9.0, 8.0]),
            (Attack::Scale, [110.0, 210.0]),
            (Attack::Zero, [10.0, 10.0]),
            (Attack::Stale, [11.0, 11.0]),
        ] {
            let mut liar = Liar::new(Box::new(Counting(10.0)), attack, &Seed::from_u64(1));
            let read = |liar: &Liar| {
                let mut out = [0.0];
                liar.read(&mut out);
                out[0]
            };
            assert_eq!(read(&liar), 10.0, "{attack:?}");
            for said in said {
                liar.train(lesson, &|| false).unwrap();
                assert_eq!(read(&liar), said, "{attack:?}");
            }
            assert_eq!(lie_named(attack.name()), Ok(attack));
        }
        assert!(lie_named("sybil").unwrap_err().contains("sign-flip"));
    }
}
