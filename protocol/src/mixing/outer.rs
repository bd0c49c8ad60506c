//! The outer optimizer: Nesterov momentum on the distance from the agreed parameters to the mix.
//!
//! With phi the agreed parameters and G = phi - mixed:
//!
//! ```text
//! u   <- mu * u + G
//! phi <- phi - eta * (G + mu * u)
//! ```
//!
//! (Douillard et al. 2023, DiLoCo, with the mix in place of the average.) `mu = 0, eta = 1` takes the mix as it is, to
//! the last bit.

use std::ops::Range;

use thiserror::Error;

/// Largest rate.
pub const RATE_MAX: f32 = 2.0;

/// Outer momentum of a whole parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Outer {
    momentum: f32,
    rate: f32,
    /// u; empty without momentum.
    velocity: Vec<f32>,
}

/// An outer optimizer that cannot be made or fed.
#[derive(Debug, Error, Clone, Copy, PartialEq)]
pub enum OuterError {
    /// Momentum outside `[0, 1)`.
    #[error("expected an outer momentum from 0 to below 1, found {0}")]
    Momentum(f32),
    /// Rate outside `(0, RATE_MAX]`.
    #[error("expected an outer rate above 0 and at most {RATE_MAX}, found {0}")]
    Rate(f32),
    /// A restored velocity of another length or with a value that is no number; start from rest instead.
    #[error(
        "expected a finite velocity of {expected} values, found {found} values or one that is not finite"
    )]
    Velocity {
        /// Values the run needs.
        expected: usize,
        /// Values found.
        found: usize,
    },
}

impl Outer {
    /// An optimizer at rest for `len` parameters.
    pub fn new(momentum: f32, rate: f32, len: usize) -> Result<Self, OuterError> {
        if !(0.0..1.0).contains(&momentum) {
            return Err(OuterError::Momentum(momentum));
        }
        if !(rate > 0.0 && rate <= RATE_MAX) {
            return Err(OuterError::Rate(rate));
        }
        let velocity = if momentum == 0.0 { Vec::new() } else { vec![0.0; len] };
        Ok(Self { momentum, rate, velocity })
    }

    /// Takes the velocity of a checkpoint; what [`Outer::velocity`] gave.
    pub fn restore(&mut self, velocity: Vec<f32>) -> Result<(), OuterError> {
        let (expected, found) = (self.velocity.len(), velocity.len());
        if found != expected || !velocity.iter().all(|u| u.is_finite()) {
            return Err(OuterError::Velocity { expected, found });
        }
        self.velocity = velocity;
        Ok(())
    }

    /// u, to be kept in a checkpoint; empty without momentum.
    pub fn velocity(&self) -> &[f32] {
        &self.velocity
    }

    /// Whether the mix is taken as it is.
    pub fn is_none(&self) -> bool {
        self.momentum == 0.0 && self.rate == 1.0
    }

    /// Moves the agreed parameters `phi` (elements) of one shard towards `mixed` (elements).
    ///
    /// `place` is the shard's range in the whole vector.
    pub fn step(&mut self, place: Range<usize>, phi: &mut [f32], mixed: &[f32]) {
        assert_eq!(phi.len(), mixed.len(), "the mix of a shard has the shard's length");
        assert_eq!(phi.len(), place.len(), "a shard's place has the shard's length");
        if self.is_none() {
            // phi - (phi - mixed) would round; all nodes must come to rest on one value.
            phi.copy_from_slice(mixed);
            return;
        }
        let (momentum, rate) = (self.momentum, self.rate);
        if momentum == 0.0 {
            for (phi, mixed) in phi.iter_mut().zip(mixed) {
                *phi -= rate * (*phi - mixed);
            }
            return;
        }
        for ((phi, mixed), velocity) in phi.iter_mut().zip(mixed).zip(&mut self.velocity[place]) {
            let step = *phi - mixed;
            *velocity = momentum * *velocity + step;
            *phi -= rate * (step + momentum * *velocity);
        }
    }

    /// Comes to rest, as settle steps ask.
    pub fn rest(&mut self) {
        self.velocity.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn none_takes_the_mix_to_the_last_bit() {
        let mut rng = Seed::from_u64(2).rng();
        let mut draw = || (0..1_000).map(|_| rng.unit_f64() as f32 * 3.0 - 1.0).collect::<Vec<_>>();
        let (mut phi, mixed) = (draw(), draw());
        let mut outer = Outer::new(0.0, 1.0, 1_000).unwrap();
        outer.step(0..1_000, &mut phi, &mixed);
        assert_eq!(phi, mixed);
        assert!(outer.velocity().is_empty());
    }

    #[test]
    fn momentum_follows_the_formula_by_hand() {
        let mut outer = Outer::new(0.5, 0.5, 3).unwrap();
        let mut phi = [1.0];
        outer.step(1..2, &mut phi, &[0.0]);
        // G = 1, u = 1, phi = 1 - .5 (1 + .5) = .25
        assert_eq!((phi[0], outer.velocity()), (0.25, &[0.0, 1.0, 0.0][..]));
        outer.step(1..2, &mut phi, &[0.0]);
        // G = .25, u = .75, phi = .25 - .5 (.25 + .375) = -.0625
        assert_eq!((phi[0], outer.velocity()[1]), (-0.0625, 0.75));
        let mut again = Outer::new(0.5, 0.5, 3).unwrap();
        again.restore(outer.velocity().to_vec()).unwrap();
        assert_eq!(again, outer);
        outer.rest();
        assert_eq!(outer.velocity(), [0.0; 3]);
    }

    #[test]
    fn constants_and_checkpoints_that_make_no_sense_are_refused() {
        assert_eq!(Outer::new(1.0, 0.7, 1), Err(OuterError::Momentum(1.0)));
        assert!(Outer::new(f32::NAN, 0.7, 1).is_err() && Outer::new(0.5, f32::NAN, 1).is_err());
        assert_eq!(Outer::new(0.5, 0.0, 1), Err(OuterError::Rate(0.0)));
        let mut outer = Outer::new(0.5, 0.7, 2).unwrap();
        assert!(outer.restore(vec![0.0; 3]).is_err());
        assert!(outer.restore(vec![0.0, f32::NAN]).is_err());
    }
}
