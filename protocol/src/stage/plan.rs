//! The plan of a run: a pure function from an outer step to what is done in it.

use crate::codec::Encode;
use crate::id::OuterStep;
use crate::wire::charter::Charter;
use crate::wire::choice::{Codec, Stage};

/// What a charter asks for in one outer step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct Plan {
    /// Train, settle or done.
    pub stage: Stage,
    /// Inner steps; 0 while settling.
    pub inner_steps: u32,
    /// Inner steps of the whole run up to the end of this step, for the learning-rate schedule.
    pub inner_start: u64,
    /// Inner steps of the whole run.
    pub inner_total: u64,
    /// Codec of the published update.
    pub codec: Codec,
    /// Whether the model is evaluated after this step.
    pub evaluates: bool,
}

/// Under a codec that is read next to the receiver's own values, every so-manieth update, the first one too, travels in a
/// codec that anybody can read: for those who join, and for those who have come too far from the others or were not told
/// something.
pub const WHOLE_EVERY: u32 = 8;

/// The codec of the update that outer step `step` publishes.
pub fn codec_at(charter: &Charter, step: OuterStep) -> Codec {
    let e = &charter.exchange;
    if step.0 > charter.schedule.outer_steps {
        e.settle_codec
    } else if e.codec.is_relative() && step.0 % WHOLE_EVERY == 1 {
        Codec::Int8
    } else {
        e.codec
    }
}

/// The plan of the outer step after `step` where its training begins before `step` is mixed.
pub fn overlapped(charter: &Charter, step: OuterStep) -> Option<Plan> {
    let next = plan(charter, step.next());
    (charter.schedule.overlap && next.stage == Stage::Train).then_some(next)
}

/// The plan of outer step `step` (the first is 1).
pub fn plan(charter: &Charter, step: OuterStep) -> Plan {
    let s = &charter.schedule;
    let total = u64::from(s.outer_steps) * u64::from(s.inner_steps);
    let before = u64::from(step.0.saturating_sub(1).min(s.outer_steps)) * u64::from(s.inner_steps);
    let stage = if step.0 <= s.outer_steps {
        Stage::Train
    } else if step.0 <= charter.steps() {
        Stage::Settle
    } else {
        Stage::Done
    };
    let trains = stage == Stage::Train;
    let due = s.evaluate_every > 0 && step.0.is_multiple_of(s.evaluate_every);
    Plan {
        stage,
        inner_steps: if trains { s.inner_steps } else { 0 },
        inner_start: before,
        inner_total: total,
        codec: codec_at(charter, step),
        evaluates: (trains && due) || step.0 == charter.steps(),
    }
}
