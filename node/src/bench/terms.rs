//! The charter of a benchmark: closed, and in step, so that the work is the same as everybody else's.

use protocol::crypto::keys::Keypair;
use protocol::id::{Hash, PeerId};
use protocol::time::UnixSeconds;
use protocol::wire::charter::{
    Admission, AuditTerms, Charter, ExchangeTerms, Genesis, Member, MixingTerms, ModelTerms, ScheduleTerms,
    SignedCharter, TaskTerms, TrainTerms,
};
use protocol::wire::choice::{Codec, Rule};

use crate::bench::error::BenchError;
use crate::config::charter_file::CharterFile;
use crate::runtime::clock::today;

/// Nodes wait so long for each other: a benchmark never goes on without one.
const PATIENCE_MS: u32 = 60_000;
/// A day: far longer than any benchmark.
const EXPIRES_AFTER: u64 = 86_400;

/// What differs between benchmarks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Parameters of the model.
    pub parameters: usize,
    /// How updates travel.
    pub codec: Codec,
    /// Outer steps.
    pub outer_steps: u32,
    /// Inner steps in each.
    pub inner_steps: u32,
    /// Learning rate of the inner steps.
    pub rate: f32,
    /// Samples in each inner step.
    pub batch: u32,
    /// Outer steps between two evaluations; 0 for only at the end.
    pub evaluate_every: u32,
}

/// The charter of these nodes, founded and signed by the first of them; every update is mixed with equal weight.
pub fn found(
    nodes: &[PeerId],
    founder: &Keypair,
    shape: &Shape,
) -> Result<(CharterFile, SignedCharter), BenchError> {
    let member = |(i, peer): (usize, &PeerId)| Member { peer: *peer, organization: format!("node {i}") };
    let charter = Charter {
        name: "benchmark".to_owned(),
        purpose: "a benchmark that every system of this kind can run".to_owned(),
        version: 1,
        run: None,
        expires: UnixSeconds(today().0 + EXPIRES_AFTER),
        founders: vec![founder.peer()],
        threshold: 1,
        model: ModelTerms {
            architecture: "benchmark".to_owned(),
            tokenizer: None,
            genesis: Genesis::Seed(0),
            layout: Hash::default(),
            parameters: shape.parameters as u64,
        },
        task: TaskTerms {
            kind: "benchmark".to_owned(),
            labels: Vec::new(),
            metric: "score".to_owned(),
            tokens_max: 0,
        },
        train: TrainTerms {
            optimizer: "sgd".to_owned(),
            rate: shape.rate,
            batch: shape.batch,
            weight_decay: 0.0,
            clip: 0.0,
            warmup_share: 0.0,
            decay_share: 0.0,
            in_order: true,
        },
        exchange: ExchangeTerms {
            shards: true,
            predictions: false,
            codec: shape.codec,
            // No step settles; the charter asks for a fine codec all the same.
            settle_codec: if shape.codec.is_fine() { shape.codec } else { Codec::F16 },
            inner_steps_min: 1,
            epsilon_max: None,
            probe: None,
        },
        mixing: MixingTerms {
            pulls: (nodes.len() as u32).saturating_sub(1),
            byzantine: 0,
            rule: Rule::Mean,
            outer_momentum: 0.0,
            outer_rate: 1.0,
            staleness_max: 8,
        },
        schedule: ScheduleTerms {
            outer_steps: shape.outer_steps,
            settle_steps: 0,
            inner_steps: shape.inner_steps,
            outer_seconds_max: 0,
            patience_ms: PATIENCE_MS,
            synchronous: true,
            overlap: false,
            evaluate_every: shape.evaluate_every,
        },
        admission: Admission::Closed(nodes.iter().enumerate().map(member).collect()),
        audit: AuditTerms { cards: true, ledger_head: true },
        codistillation: None,
    };
    let mut file = CharterFile::draft(&charter).map_err(BenchError::Charter)?;
    file.sign(founder);
    let signed = file.open().map_err(|e| BenchError::Charter(e.to_string()))?;
    Ok((file, signed))
}
