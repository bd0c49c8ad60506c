//! Where each parameter tensor lies in the flat buffers.
//!
//! There are two orders. The storage order is the order of use, in which BERT's query, key and value matrices lie side
//! by side and are multiplied as one. The flat order is sorted by name and is what leaves the engine: averaging,
//! checkpoints and digests must not depend on how an engine likes its memory.

use std::ops::Range;

use crate::seed::{Seed, normal, uniform};

/// How a fresh tensor is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Normal with this standard deviation.
    Normal(f64),
    /// Even in `[-bound, bound)`.
    Uniform(f64),
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
}

/// One parameter tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// The name in files.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Place in the storage order.
    pub range: Range<usize>,
    /// First element in the flat order.
    pub flat: usize,
    /// How a fresh tensor is filled.
    pub init: Init,
    /// Whether weight decay applies: matrices do, biases and normalisations do not.
    pub decays: bool,
}

/// All tensors of a model, in storage order.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    list: Vec<Slot>,
    prefix: String,
    sorted: Vec<usize>,
    length: usize,
}

impl Slots {
    /// Adds a tensor behind the others and returns its place in the storage order.
    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], init: Init) -> Range<usize> {
        let length: usize = shape.iter().product();
        let range = self.length..self.length + length;
        self.length = range.end;
        let decays = shape.len() > 1;
        let name = format!("{}{}", self.prefix, name.into());
        let slot = Slot { name, shape: shape.to_vec(), range: range.clone(), flat: 0, init, decays };
        self.list.push(slot);
        range
    }

    /// Puts a prefix before the names of all tensors that `build` adds: a network inside another keeps its own names.
    pub fn within<T>(&mut self, prefix: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.prefix.len();
        self.prefix.push_str(prefix);
        let built = build(self);
        self.prefix.truncate(length);
        built
    }

    /// Multiplies the deviation of every normal start among the tensors in this part of the storage order.
    pub fn spread(&mut self, part: Range<usize>, factor: f64) {
        for slot in self.list.iter_mut().filter(|slot| part.contains(&slot.range.start)) {
            if let Init::Normal(deviation) = &mut slot.init {
                *deviation *= factor;
            }
        }
    }

    /// Computes the flat order; call once after the last [`Slots::add`].
    pub fn seal(&mut self) {
        let mut sorted: Vec<usize> = (0..self.list.len()).collect();
        sorted.sort_by(|a, b| self.list[*a].name.cmp(&self.list[*b].name));
        let mut flat = 0;
        for index in &sorted {
            self.list[*index].flat = flat;
            flat += self.list[*index].range.len();
        }
        self.sorted = sorted;
    }

    /// Elements of all tensors.
    pub fn total(&self) -> usize {
        self.length
    }

    /// The tensors in storage order.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.list.iter()
    }

    /// The tensors sorted by name, the flat order.
    pub fn by_name(&self) -> impl Iterator<Item = &Slot> {
        self.sorted.iter().map(|index| &self.list[*index])
    }

    /// Names and shapes in the flat order.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.by_name().map(|slot| (slot.name.clone(), slot.shape.clone())).collect()
    }

    /// Copies from storage order into flat order; both have [`Slots::total`] elements.
    pub fn to_flat(&self, storage: &[f32], flat: &mut [f32]) {
        for slot in &self.list {
            flat[slot.flat..slot.flat + slot.range.len()].copy_from_slice(&storage[slot.range.clone()]);
        }
    }

    /// Copies from flat order into storage order; both have [`Slots::total`] elements.
    pub fn from_flat(&self, flat: &[f32], storage: &mut [f32]) {
        for slot in &self.list {
            storage[slot.range.clone()].copy_from_slice(&flat[slot.flat..slot.flat + slot.range.len()]);
        }
    }

    /// Fresh parameters in flat order. Each tensor has a stream of its own, named after it, so that one more tensor
    /// leaves the others as they were.
    pub fn initial(&self, seed: &Seed) -> Vec<f32> {
        let mut flat = vec![0.0; self.length];
        for slot in &self.list {
            slot.fill(seed, &mut flat[slot.flat..slot.flat + slot.range.len()]);
        }
        flat
    }
}

impl Slot {
    /// Fills `values` with this tensor's fresh parameters.
    pub fn fill(&self, seed: &Seed, values: &mut [f32]) {
        let mut rng = seed.fork("initial parameters").fork(&self.name).rng();
        match self.init {
            Init::Normal(deviation) => {
                for value in values {
                    *value = (normal(&mut rng) * deviation) as f32;
                }
            }
            Init::Uniform(bound) => {
                for value in values {
                    *value = ((2.0 * uniform(&mut rng) - 1.0) * bound) as f32;
                }
            }
            Init::Zeros => values.fill(0.0),
            Init::Ones => values.fill(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Slots {
        let mut slots = Slots::default();
        slots.add("b", &[2, 3], Init::Normal(0.02));
        slots.add("c", &[3], Init::Ones);
        slots.add("a", &[4], Init::Zeros);
        slots.seal();
        slots
    }

    #[test]
    fn the_flat_order_is_sorted_by_name_and_round_trips() {
        let slots = slots();
        let names: Vec<_> = slots.shapes().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let storage: Vec<f32> = (0..13).map(|k| k as f32).collect();
        let mut flat = vec![0.0; 13];
        slots.to_flat(&storage, &mut flat);
        assert_eq!(flat, [9.0, 10.0, 11.0, 12.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let mut back = vec![0.0; 13];
        slots.from_flat(&flat, &mut back);
        assert_eq!(back, storage);
    }

    #[test]
    fn initial_values_depend_on_the_name_and_not_on_the_order() {
        let flat = slots().initial(&Seed::from_u64(1));
        let mut other = Slots::default();
        other.add("z", &[5], Init::Normal(1.0));
        other.add("b", &[2, 3], Init::Normal(0.02));
        other.seal();
        assert_eq!(flat[4..10], other.initial(&Seed::from_u64(1))[..6]);
        assert_eq!(flat[..4], [0.0; 4]);
        assert_eq!(flat[10..], [1.0; 3]);
        assert!(flat[4..10].iter().all(|x| *x != 0.0 && x.abs() < 0.2));
    }

    #[test]
    fn a_part_can_start_wider_and_the_rest_stays() {
        let mut slots = Slots::default();
        let first = slots.add("a", &[50], Init::Normal(0.02));
        slots.add("b", &[50], Init::Normal(0.02));
        slots.seal();
        let before = slots.initial(&Seed::from_u64(1));
        slots.spread(first, 2.0);
        let after = slots.initial(&Seed::from_u64(1));
        assert_eq!(before[50..], after[50..]);
        assert!(before[..50].iter().zip(&after).all(|(old, new)| (2.0 * old - new).abs() < 1e-7));
    }

    #[test]
    fn matrices_decay_and_vectors_do_not() {
        let decays: Vec<_> = slots().by_name().map(|slot| slot.decays).collect();
        assert_eq!(decays, [false, true, false]);
    }
}
