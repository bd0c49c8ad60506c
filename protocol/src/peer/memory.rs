//! What a peer remembers of one shard from outer step to outer step: how far others were, and what it has said.
//!
//! It exists so that the node's trainer and the simulator keep the same things. What was said must outlive the process,
//! and whoever keeps it writes it beside the parameters of the same run; the gate begins anew with each start.

use crate::mixing::plausible::Gate;
use crate::wire::choice::Codec;

/// The memory of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardMemory {
    /// Gate on implausible distances.
    pub gate: Gate,
    /// Every value of the own delta as the updates so far have told it, zeros before the first; empty where each update
    /// says all of them.
    pub said: Vec<f32>,
}

impl ShardMemory {
    /// Of a shard of `len` values that has heard and said nothing, in a run with this training codec.
    pub fn new(codec: Codec, len: usize) -> Self {
        let said = if codec.is_sparse() { vec![0.0; len] } else { Vec::new() };
        Self { gate: Gate::new(), said }
    }

    /// What was said, of all shards in order: nothing, or as many values as the update has.
    pub fn all_said(memories: &[Self]) -> Vec<f32> {
        memories.iter().flat_map(|memory| &memory.said).copied().collect()
    }

    /// Takes back what [`ShardMemory::all_said`] gave; nothing stands for zeros. False, and nothing is changed, when it is
    /// of another length than these memories have.
    pub fn recall(memories: &mut [Self], said: &[f32]) -> bool {
        let expected: usize = memories.iter().map(|memory| memory.said.len()).sum();
        if said.len() != expected && !said.is_empty() {
            return false;
        }
        let mut rest = said;
        for memory in memories {
            if said.is_empty() {
                memory.said.fill(0.0);
            } else {
                let (own, others) = rest.split_at(memory.said.len());
                memory.said.copy_from_slice(own);
                rest = others;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_told_and_recalled_and_nothing_of_another_length_is() {
        let fresh = || [3, 2].map(|len| ShardMemory::new(Codec::Topk, len));
        let mut memories = fresh();
        assert!(ShardMemory::recall(&mut memories, &[1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(
            (memories[0].said.as_slice(), memories[1].said.as_slice()),
            (&[1.0, 2.0, 3.0][..], &[4.0, 5.0][..])
        );
        let told = ShardMemory::all_said(&memories);
        for wrong in [1, 4, 6] {
            assert!(!ShardMemory::recall(&mut memories, &vec![9.0; wrong]));
            assert_eq!(ShardMemory::all_said(&memories), told);
        }
        assert!(ShardMemory::recall(&mut memories, &[]));
        assert_eq!(ShardMemory::all_said(&memories), [0.0; 5]);
    }

    #[test]
    fn where_all_is_said_each_time_nothing_is_remembered_of_it() {
        let mut memories = [ShardMemory::new(Codec::Int8, 3)];
        assert!(ShardMemory::all_said(&memories).is_empty());
        assert!(!ShardMemory::recall(&mut memories, &[1.0, 2.0, 3.0]));
    }
}
