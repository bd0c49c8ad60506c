//! What the session asks of whatever computes.

use crate::arch::cache::Cache;
use crate::arch::input::Input;
use crate::arch::slot::Slots;
use crate::error::Result;
use crate::ops::loss::CrossEntropy;
use crate::ops::wanted::Wanted;
use crate::seed::Seed;
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// A model on one device: parameters, gradient and optimizer state.
///
/// Vectors that come in or go out are in the flat order of [`Slots`] and have its total length; the session checks
/// lengths and finiteness. Nothing changes the parameters but [`Engine::write`] and [`Engine::apply`].
pub trait Engine: Send {
    /// Names, shapes and places of the parameters.
    fn slots(&self) -> &Slots;

    /// Names, shapes and places of what a saved model has: more than [`Engine::slots`] where only a part is trained.
    fn whole_slots(&self) -> &Slots {
        self.slots()
    }

    /// Copies what a saved model has, in the flat order of [`Engine::whole_slots`].
    fn read_whole(&self, flat: &mut [f32]) -> Result<()> {
        self.read(flat)
    }

    /// Copies the parameters out.
    fn read(&self, flat: &mut [f32]) -> Result<()>;

    /// Replaces the parameters.
    fn write(&mut self, flat: &[f32]) -> Result<()>;

    /// Computes loss and gradient of one batch; the gradient stays inside. `wanted` fits the outputs.
    fn gradient(&mut self, input: Input<'_>, wanted: Wanted<'_>, seed: &Seed) -> Result<CrossEntropy>;

    /// Computes the gradient of any loss of the logits; the gradient stays inside. `loss` is given the logits
    /// `(outputs, labels)`, replaces them by its own gradient and answers its value, which is handed on.
    fn gradient_of(
        &mut self,
        input: Input<'_>,
        seed: &Seed,
        loss: &mut dyn FnMut(&mut [f32]) -> CrossEntropy,
    ) -> Result<CrossEntropy>;

    /// The Euclidean norm of the gradient held inside; not finite if any element is not.
    fn gradient_norm(&self) -> Result<f64>;

    /// Copies the gradient held inside out.
    fn read_gradient(&self, flat: &mut [f32]) -> Result<()>;

    /// Replaces the gradient held inside.
    fn write_gradient(&mut self, flat: &[f32]) -> Result<()>;

    /// Takes one optimizer step with the gradient held inside, multiplied by `scale`.
    fn apply(&mut self, config: &OptimizerConfig, rate: f64, scale: f32) -> Result<()>;

    /// Copies `(outputs, labels)` logits to the start of `logits`, which grows as needed; returns the outputs.
    fn logits(&mut self, input: Input<'_>, logits: &mut Vec<f32>) -> Result<usize>;

    /// Reads new tokens behind those of the cache and writes the logits `(labels)` behind the last.
    ///
    /// An engine that keeps nothing of what it read reads the whole sequence again.
    fn extend(&mut self, ids: &[u32], cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
        let (length, before) = (cache.ids.len() + ids.len(), cache.ids.len());
        cache.ids.extend_from_slice(ids);
        let input = Input::Tokens { ids: &cache.ids, lengths: &[length as u32], width: length };
        let outputs = match self.logits(input, logits) {
            Ok(outputs) => outputs,
            Err(error) => {
                cache.ids.truncate(before);
                return Err(error);
            }
        };
        let labels = logits.len() / outputs.max(1);
        logits.drain(..(outputs - 1) * labels);
        logits.truncate(labels);
        Ok(())
    }

    /// The optimizer's memory.
    fn optimizer_state(&self) -> Result<OptimizerState>;

    /// Replaces the optimizer's memory by one that was checked to fit.
    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()>;
}
