//! Which optimizer takes the inner steps, and its state.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The optimizer and its constants; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw {
        /// Decay of the mean of gradients.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// Decay of the mean of squared gradients.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
        /// Weight decay of matrices; biases and normalisations do not decay.
        #[serde(default = "default_decay")]
        weight_decay: f64,
    },
    /// Stochastic gradient descent, with momentum if it is above 0.
    Sgd {
        /// Momentum.
        #[serde(default)]
        momentum: f64,
        /// Nesterov's look-ahead; needs momentum.
        #[serde(default)]
        nesterov: bool,
        /// Weight decay of matrices, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    0.999
}

fn default_epsilon() -> f64 {
    1e-8
}

fn default_decay() -> f64 {
    0.01
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adamw {
            beta1: default_beta1(),
            beta2: default_beta2(),
            epsilon: default_epsilon(),
            weight_decay: default_decay(),
        }
    }
}

impl OptimizerConfig {
    /// Plain gradient descent.
    pub fn plain() -> Self {
        Self::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Gradient descent with Nesterov momentum.
    pub fn nesterov(momentum: f64) -> Self {
        Self::Sgd { momentum, nesterov: true, weight_decay: 0.0 }
    }

    /// Checks every constant.
    pub fn validate(&self) -> Result<()> {
        let within = |name: &str, value: f64, least: f64, below: f64| {
            if value >= least && value < below {
                return Ok(());
            }
            Err(Error::config(name, format!("expected at least {least} and below {below}, found {value}")))
        };
        match *self {
            Self::Adamw { beta1, beta2, epsilon, weight_decay } => {
                within("beta1", beta1, 0.0, 1.0)?;
                within("beta2", beta2, 0.0, 1.0)?;
                within("epsilon", epsilon, 1e-30, 1.0)?;
                within("weight_decay", weight_decay, 0.0, 10.0)
            }
            Self::Sgd { momentum, nesterov, weight_decay } => {
                within("momentum", momentum, 0.0, 1.0)?;
                if nesterov && momentum == 0.0 {
                    return Err(Error::config("nesterov", "expected momentum above 0, found 0"));
                }
                within("weight_decay", weight_decay, 0.0, 10.0)
            }
        }
    }

    /// How many state vectors of the parameters' length the optimizer keeps: first moment or velocity, second moment.
    pub fn state_vectors(&self) -> usize {
        match self {
            Self::Adamw { .. } => 2,
            Self::Sgd { momentum, .. } if *momentum > 0.0 => 1,
            Self::Sgd { .. } => 0,
        }
    }
}

/// What an optimizer remembers, in the flat order of the parameters, for checkpoints. It is never mixed or sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimizerState {
    /// Steps taken since the state was empty.
    pub step: u64,
    /// Mean of gradients, or velocity; empty if the optimizer keeps none.
    pub first: Vec<f32>,
    /// Mean of squared gradients; empty if the optimizer keeps none.
    pub second: Vec<f32>,
}

impl OptimizerState {
    /// The memory of an optimizer that has not stepped yet.
    pub fn empty(config: &OptimizerConfig, parameters: usize) -> Self {
        let vectors = config.state_vectors();
        let vector = |kept: bool| if kept { vec![0.0; parameters] } else { Vec::new() };
        Self { step: 0, first: vector(vectors > 0), second: vector(vectors > 1) }
    }

    /// Checks that the state fits an optimizer over `parameters` elements and holds finite numbers.
    pub fn validate(&self, config: &OptimizerConfig, parameters: usize) -> Result<()> {
        let vectors = config.state_vectors();
        for (name, vector, kept) in
            [("first", &self.first, vectors > 0), ("second", &self.second, vectors > 1)]
        {
            let expected = if kept { parameters } else { 0 };
            if vector.len() != expected {
                return Err(Error::shape(format!("optimizer state `{name}`"), expected, vector.len()));
            }
            if !crate::ops::vector::all_finite(vector) {
                return Err(Error::NotFinite {
                    what: format!("optimizer state `{name}`"),
                    remedy: "nothing was changed; restore an older checkpoint or start with an empty state"
                        .into(),
                });
            }
        }
        if self.second.iter().any(|value| *value < 0.0) {
            return Err(Error::shape("optimizer state `second`", "no negative number", "one"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_defaults_and_unknown_keys_refused() {
        let adam: OptimizerConfig = serde_json::from_str(r#"{"kind":"adamw","weight_decay":0.0}"#).unwrap();
        assert!(matches!(adam, OptimizerConfig::Adamw { beta1: 0.9, weight_decay: 0.0, .. }));
        assert!(serde_json::from_str::<OptimizerConfig>(r#"{"kind":"adamw","beta3":0.1}"#).is_err());
        assert!(serde_json::from_str::<OptimizerConfig>(r#"{"kind":"lion"}"#).is_err());
        assert!(OptimizerConfig::nesterov(0.0).validate().is_err());
        assert!(OptimizerConfig::nesterov(0.9).validate().is_ok());
        assert!(
            OptimizerConfig::Sgd { momentum: f64::NAN, nesterov: false, weight_decay: 0.0 }
                .validate()
                .is_err()
        );
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused() {
        let config = OptimizerConfig::default();
        let good = OptimizerState { step: 3, first: vec![0.1; 4], second: vec![0.2; 4] };
        assert!(good.validate(&config, 4).is_ok());
        assert!(good.validate(&config, 5).is_err());
        assert!(good.validate(&OptimizerConfig::plain(), 4).is_err());
        let mut bad = good.clone();
        bad.first[2] = f32::NAN;
        assert!(bad.validate(&config, 4).is_err());
        let mut negative = good;
        negative.second[0] = -1.0;
        assert!(negative.validate(&config, 4).is_err());
    }
}
