//! The learning rate over the inner steps: warm-up, then a shape.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shape after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// Stays at the peak.
    #[default]
    Constant,
    /// Falls in a straight line to 0 at the last step.
    Linear,
    /// Falls along half a cosine to 0 at the last step (Loshchilov and Hutter 2017).
    Cosine,
    /// Warm-up, stable, decay: stays at the peak and falls in a straight line to 0 over the last share of the steps.
    Wsd {
        /// Share of all steps spent falling, for example 0.2.
        fall: f64,
    },
}

/// A learning rate for every step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f64,
    /// Steps over which the rate rises in a straight line to the peak.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Steps of the whole training, the warm-up included.
    pub total_steps: u64,
    /// The shape after the warm-up.
    #[serde(default)]
    pub shape: Shape,
}

impl Schedule {
    /// The same rate at every step.
    pub fn constant(peak: f64) -> Self {
        Self { peak, warmup_steps: 0, total_steps: u64::MAX, shape: Shape::Constant }
    }

    /// Checks every setting.
    pub fn validate(&self) -> Result<()> {
        if !(self.peak > 0.0 && self.peak.is_finite()) {
            return Err(Error::config(
                "peak",
                format!("expected a positive learning rate, found {}", self.peak),
            ));
        }
        if self.total_steps == 0 {
            return Err(Error::config("total_steps", "expected at least 1, found 0"));
        }
        if self.warmup_steps >= self.total_steps {
            let reason = format!(
                "expected fewer than the {} steps in all, found {}",
                self.total_steps, self.warmup_steps
            );
            return Err(Error::config("warmup_steps", reason));
        }
        match self.shape {
            Shape::Wsd { fall } if !(0.0..=1.0).contains(&fall) => {
                Err(Error::config("fall", format!("expected a share from 0 to 1, found {fall}")))
            }
            _ => Ok(()),
        }
    }

    /// The rate of a step, from 0; 0 at and behind the last step for every shape that falls.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let total = self.total_steps as f64;
        let left = self.total_steps.saturating_sub(step) as f64;
        let falling = total - self.warmup_steps as f64;
        let factor = match self.shape {
            Shape::Linear => left / falling,
            Shape::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * left / falling).cos()),
            Shape::Wsd { fall } if fall > 0.0 => (left / (fall * total)).min(1.0),
            Shape::Wsd { .. } | Shape::Constant => 1.0,
        };
        self.peak * factor.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: Shape) -> Schedule {
        Schedule { peak: 2.0, warmup_steps: 10, total_steps: 110, shape }
    }

    #[test]
    fn the_warm_up_rises_to_the_peak() {
        for shape in [Shape::Constant, Shape::Linear, Shape::Cosine, Shape::Wsd { fall: 0.2 }] {
            let schedule = schedule(shape);
            assert!((schedule.rate(0) - 0.2).abs() < 1e-12);
            assert!((schedule.rate(9) - 2.0).abs() < 1e-12);
            assert!((schedule.rate(10) - 2.0).abs() < 1e-12, "{shape:?}");
            for step in 10..120 {
                assert!(schedule.rate(step + 1) <= schedule.rate(step) + 1e-12);
            }
        }
    }

    #[test]
    fn each_shape_passes_its_known_points() {
        assert!((schedule(Shape::Linear).rate(60) - 1.0).abs() < 1e-12);
        assert!((schedule(Shape::Cosine).rate(60) - 1.0).abs() < 1e-12);
        assert!((schedule(Shape::Cosine).rate(35) - 2.0 * 0.5 * (1.0 + 0.5_f64.sqrt())).abs() < 1e-12);
        let wsd = schedule(Shape::Wsd { fall: 0.2 });
        assert!((wsd.rate(88) - 2.0).abs() < 1e-12);
        assert!((wsd.rate(99) - 1.0).abs() < 1e-12);
        for shape in [Shape::Linear, Shape::Cosine, Shape::Wsd { fall: 0.2 }] {
            assert_eq!(schedule(shape).rate(110), 0.0);
            assert_eq!(schedule(shape).rate(u64::MAX), 0.0);
        }
        assert_eq!(schedule(Shape::Constant).rate(u64::MAX), 2.0);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = schedule(Shape::Linear);
        assert!(good.validate().is_ok());
        for bad in [
            Schedule { peak: 0.0, ..good },
            Schedule { peak: f64::NAN, ..good },
            Schedule { total_steps: 0, ..good },
            Schedule { warmup_steps: 110, ..good },
            Schedule { shape: Shape::Wsd { fall: 1.5 }, ..good },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
