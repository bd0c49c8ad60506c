//! What a run does when: training steps, settle steps, the end.

pub mod plan;
