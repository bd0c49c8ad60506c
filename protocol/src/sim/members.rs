//! The charter of a simulated run and the keys of its peers.

use crate::crypto::keys::Keypair;
use crate::crypto::signed::Domain;
use crate::id::Hash;
use crate::rng::Seed;
use crate::sim::attack::Attack;
use crate::sim::scenario::Scenario;
use crate::time::UnixSeconds;
use crate::wire::charter::{
    Admission, AuditTerms, Charter, ExchangeTerms, Genesis, Member, MixingTerms, ModelTerms, ScheduleTerms,
    SignedCharter, TaskTerms, TrainTerms,
};

/// The date on which every simulated run begins.
pub(super) const TODAY: UnixSeconds = UnixSeconds(1_800_000_000);

/// Keys of the peers; `labels` says whose key each takes.
pub(super) fn keys(labels: &[u32]) -> Vec<Keypair> {
    let seed = Seed::from_u64(0).fork("simulated peers");
    let key = |label: &u32| {
        let mut rng = seed.fork_index((*label).into()).rng();
        let mut secret = [0; 32];
        secret.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()));
        Keypair::from_secret(secret)
    };
    labels.iter().map(key).collect()
}

/// The charter of a scenario: closed, every peer listed, founded by the first. `parameters` is the length of the model,
/// `attacks` names what each peer is, if a liar.
pub(super) fn charter(
    scenario: &Scenario,
    keys: &[Keypair],
    attacks: &[Option<Attack>],
    parameters: usize,
) -> SignedCharter {
    let run = &scenario.run;
    let organization = |i: usize| match attacks[i] {
        Some(Attack::Sybil) => "one of many keys".to_owned(),
        _ => format!("organization {i}"),
    };
    let member = |(i, key): (usize, &Keypair)| Member { peer: key.peer(), organization: organization(i) };
    let charter = Charter {
        name: scenario.name.clone(),
        purpose: "simulated".to_owned(),
        version: 1,
        run: None,
        expires: UnixSeconds(u64::MAX),
        founders: vec![keys[0].peer()],
        threshold: 1,
        model: ModelTerms {
            architecture: "{}".to_owned(),
            tokenizer: None,
            genesis: Genesis::Seed(1),
            layout: Hash::default(),
            parameters: parameters as u64,
        },
        task: TaskTerms {
            kind: "simulated".to_owned(),
            labels: Vec::new(),
            metric: "score".to_owned(),
            tokens_max: 0,
        },
        train: TrainTerms {
            optimizer: "sgd".to_owned(),
            rate: scenario.learner.rate,
            batch: scenario.learner.batch,
            weight_decay: 0.0,
            clip: 0.0,
            warmup_share: 0.0,
            decay_share: scenario.learner.decay_share,
            in_order: false,
        },
        exchange: ExchangeTerms {
            shards: true,
            predictions: false,
            codec: run.codec,
            settle_codec: run.settle_codec,
            inner_steps_min: 1,
            epsilon_max: None,
            probe: None,
        },
        mixing: MixingTerms {
            pulls: run.pulls,
            byzantine: run.byzantine,
            rule: run.rule,
            outer_momentum: run.outer_momentum,
            outer_rate: run.outer_rate,
            staleness_max: run.staleness_max,
        },
        schedule: ScheduleTerms {
            outer_steps: run.outer_steps,
            settle_steps: run.settle_steps,
            inner_steps: run.inner_steps,
            outer_seconds_max: 0,
            patience_ms: run.patience_ms,
            synchronous: run.synchronous,
            overlap: run.overlap,
            evaluate_every: 0,
        },
        admission: Admission::Closed(keys.iter().enumerate().map(member).collect()),
        audit: AuditTerms { cards: true, ledger_head: true },
        codistillation: None,
    };
    let mut draft = SignedCharter::draft(&charter).expect("a checked scenario makes a charter that holds");
    draft.sign(&keys[0], Domain::Charter);
    SignedCharter::from_sealed(draft).expect("its founder signed it")
}
