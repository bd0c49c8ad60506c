//! Charters for tests: small, closed, signed by one founder.

use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::Domain;
use protocol::id::Hash;
use protocol::time::UnixSeconds;
use protocol::wire::charter::{
    Admission, AuditTerms, Charter, ExchangeTerms, Genesis, Member, MixingTerms, ModelTerms, ScheduleTerms,
    SignedCharter, TaskTerms, TrainTerms,
};
use protocol::wire::choice::{Codec, Rule};

/// The key of test peer `i`.
pub fn keys(i: usize) -> Keypair {
    let mut secret = [0u8; 32];
    secret[..8].copy_from_slice(&(i as u64 + 1).to_le_bytes());
    Keypair::from_secret(secret)
}

/// A charter with `n` listed members; peer 0 founded it.
pub fn charter(n: usize, parameters: u64) -> Charter {
    let member = |i: usize| Member { peer: keys(i).peer(), organization: format!("organization {i}") };
    Charter {
        name: "test".to_owned(),
        purpose: "to be tested".to_owned(),
        version: 1,
        run: None,
        expires: UnixSeconds(4_000_000_000),
        founders: vec![keys(0).peer()],
        threshold: 1,
        model: ModelTerms {
            architecture: "{}".to_owned(),
            tokenizer: None,
            genesis: Genesis::Seed(1),
            layout: Hash::default(),
            parameters,
        },
        task: TaskTerms {
            kind: "vector".to_owned(),
            labels: Vec::new(),
            metric: "loss".to_owned(),
            tokens_max: 0,
        },
        train: TrainTerms {
            optimizer: "sgd".to_owned(),
            rate: 0.1,
            batch: 1,
            weight_decay: 0.0,
            clip: 0.0,
            warmup_share: 0.0,
            decay_share: 0.0,
            in_order: false,
        },
        exchange: ExchangeTerms {
            shards: true,
            predictions: false,
            codec: Codec::Int8,
            settle_codec: Codec::F16,
            inner_steps_min: 1,
            epsilon_max: None,
            probe: None,
        },
        mixing: MixingTerms {
            pulls: 4,
            byzantine: 0,
            rule: Rule::Mean,
            outer_momentum: 0.0,
            outer_rate: 1.0,
            staleness_max: 8,
        },
        schedule: ScheduleTerms {
            outer_steps: 12,
            settle_steps: 6,
            inner_steps: 10,
            outer_seconds_max: 0,
            patience_ms: 2_000,
            synchronous: false,
            overlap: false,
            evaluate_every: 0,
        },
        admission: Admission::Closed((0..n).map(member).collect()),
        audit: AuditTerms { cards: true, ledger_head: true },
        codistillation: None,
    }
}

/// The charter signed by peer 0.
pub fn signed(charter: &Charter) -> SignedCharter {
    let mut draft = SignedCharter::draft(charter).expect("test charters hold");
    draft.sign(&keys(0), Domain::Charter);
    SignedCharter::from_sealed(draft).expect("its founder signed it")
}
