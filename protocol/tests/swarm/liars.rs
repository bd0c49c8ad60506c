//! Peers that speak the protocol and lie.

use protocol::sim::attack::{AdversaryTerms, Attack};
use protocol::sim::fault::Fault;
use protocol::sim::scenario::{Scenario, Signatures};
use protocol::wire::choice::Rule;

use crate::setting::{holds, quadratic};

fn with(attack: Attack) -> Scenario {
    let mut scenario = quadratic(15);
    // What liars do to signatures has tests of its own; here they would take most of the time.
    scenario.signatures = Signatures::Assumed;
    scenario.run.outer_steps = 16;
    scenario.run.pulls = 8;
    scenario.run.byzantine = 3;
    scenario.run.rule = Rule::NnmTrimmed;
    scenario.check.consensus_max = 0.2;
    scenario.adversaries = vec![AdversaryTerms { attack, share: 0.2, strength: None }];
    scenario
}

#[test]
fn no_attack_of_a_fifth_breaks_an_invariant_or_the_model() {
    for attack in Attack::ALL {
        let outcome = holds(&with(*attack), 1);
        assert_eq!(outcome.bans_of_honest_peers, 0);
        assert!(outcome.score_mean > 0.6, "{}: {}", attack.name(), outcome.score_mean);
    }
}

#[test]
fn whoever_tells_two_stories_is_proven_to_everywhere() {
    for attack in [Attack::Equivocator, Attack::Dissensus] {
        for seed in 0..3 {
            let outcome = holds(&with(attack), seed);
            assert_eq!(
                (outcome.equivocations.made, outcome.equivocations.proven),
                (3, 3),
                "{}",
                attack.name()
            );
        }
    }
}

#[test]
fn a_proof_reaches_those_who_were_away_when_it_was_told() {
    for seed in 0..3 {
        let mut scenario = with(Attack::Equivocator);
        scenario.faults = vec![
            Fault::Late { at: 0.4, share: 0.2, eclipsed: false },
            Fault::Crash { at: 0.0, until: 0.5, rate: 0.2, down_s: [1.0, 6.0] },
            Fault::Lossy { share: 0.5 },
        ];
        holds(&scenario, seed);
    }
}

#[test]
fn a_joiner_among_liars_keeps_its_anchor() {
    let mut scenario = with(Attack::SignFlip);
    scenario.faults = vec![Fault::Late { at: 0.3, share: 0.1, eclipsed: true }];
    let outcome = holds(&scenario, 2);
    assert!(outcome.score_worst > 0.5, "{}", outcome.score_worst);
}
