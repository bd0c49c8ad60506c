//! Agreement on the optimum, and histories that repeat.

use protocol::sim::learner::lesson::Learner as _;
use protocol::sim::learner::problem::Problem;
use protocol::sim::outcome::Outcome;
use protocol::sim::scenario::{LearnerKind, Scenario, Signatures};
use protocol::sim::world::World;
use protocol::wire::choice::Codec;

use crate::setting::{holds, quadratic};

#[test]
fn five_peers_agree_on_the_mean_of_what_they_learned() {
    let outcome = holds(&quadratic(5), 1);
    assert!(outcome.score_worst > 0.95, "{}", outcome.score_worst);
    assert!(outcome.consensus_distance_relative < 0.001, "{}", outcome.consensus_distance_relative);
}

#[test]
fn peers_with_unlike_data_reach_the_optimum_of_all_data() {
    let mut scenario = Scenario { peers: 8, ..Scenario::default() };
    scenario.learner.kind = LearnerKind::Softmax;
    scenario.learner.alpha = 0.2;
    scenario.run.outer_steps = 60;
    let together = holds(&scenario, 3);
    let mut problem = Problem::of(&scenario, 3);
    let optimum = problem.optimum().expect("softmax regression is convex");
    let best = problem.score(&optimum).expect("a problem always has a score");
    assert!(together.score_mean > best.0 - 0.05, "{} {best:?}", together.score_mean);
}

#[test]
fn half_the_bits_are_as_good_where_they_are_read_next_to_ones_own_values() {
    let with = |codec| {
        let mut scenario = quadratic(8);
        scenario.run.codec = codec;
        scenario.run.outer_steps = 32;
        holds(&scenario, 5)
    };
    let (whole, relative) = (with(Codec::Int8), with(Codec::Lattice4));
    let payload = |outcome: &Outcome| outcome.bytes_by_kind["shards"];
    // A settle step in 16 bits and every eighth update in 8 bits count on both sides.
    assert!(payload(&relative) * 10 < payload(&whole) * 8, "{} {}", payload(&relative), payload(&whole));
    assert!(relative.unreadable < 0.02, "{}", relative.unreadable);
    // A cell is coarser than an eighth bit; this problem, unlike a network, shows every rounding in its score.
    assert!(relative.score_mean > whole.score_mean - 0.02, "{} {}", relative.score_mean, whole.score_mean);
}

#[test]
fn less_than_half_the_bytes_is_nearly_as_good_where_updates_say_what_moved() {
    let with = |codec| {
        let mut scenario = quadratic(8);
        scenario.run.codec = codec;
        scenario.run.outer_steps = 64;
        holds(&scenario, 5)
    };
    let (whole, sparse) = (with(Codec::Int8), with(Codec::Topk));
    let payload = |outcome: &Outcome| outcome.bytes_by_kind["shards"];
    // A settle step in 16 bits and every eighth update in 8 bits count on both sides.
    assert!(payload(&sparse) * 2 < payload(&whole), "{} {}", payload(&sparse), payload(&whole));
    assert_eq!(sparse.unreadable, 0.0);
    // Told a sixteenth, peers come less near each other between whole updates while each is drawn to its own target.
    assert!(sparse.score_mean > whole.score_mean - 0.05, "{} {}", sparse.score_mean, whole.score_mean);
}

#[test]
fn one_seed_gives_one_history_to_the_last_bit() {
    let mut scenario = quadratic(6);
    scenario.network.loss = 0.05;
    scenario.network.duplicate = 0.1;
    let (a, b) = (holds(&scenario, 4), holds(&scenario, 4));
    assert_eq!(a, b);
    assert_ne!(a.trace, holds(&scenario, 5).trace);
}

#[test]
fn names_of_peers_change_nothing() {
    // All mix with all, exactly; nothing is drawn and all arrives at one pace, so only the order of sums may differ.
    let mut scenario = quadratic(7);
    scenario.run.pulls = 6;
    scenario.run.codec = Codec::F32;
    scenario.run.settle_codec = Codec::F32;
    scenario.network.latency_ms = [20, 20];
    scenario.compute.spread = 1.0;
    let outcome = |labels: &[u32]| {
        let world = World::labelled(scenario.clone(), 9, labels).expect("the scenario holds");
        world.run()
    };
    let (named, renamed) = (outcome(&[0, 1, 2, 3, 4, 5, 6]), outcome(&[0, 16, 5, 44, 3, 2, 1]));
    assert!(named.violations.is_empty() && renamed.violations.is_empty());
    assert!(
        (named.score_mean - renamed.score_mean).abs() < 1e-4,
        "{} {}",
        named.score_mean,
        renamed.score_mean
    );
    assert!((named.loss_mean - renamed.loss_mean).abs() < 1e-5, "{} {}", named.loss_mean, renamed.loss_mean);
}

#[test]
fn assumed_signatures_change_what_is_signed_and_nothing_that_is_learned() {
    let mut scenario = quadratic(6);
    let verified = holds(&scenario, 2);
    scenario.signatures = Signatures::Assumed;
    let assumed = holds(&scenario, 2);
    assert_eq!(verified.score_mean, assumed.score_mean);
    assert_eq!(verified.trace, assumed.trace);
}

#[test]
fn a_synchronous_run_mixes_exactly_the_same_step_of_everybody() {
    let mut scenario = quadratic(5);
    scenario.run.synchronous = true;
    scenario.run.patience_ms = 60_000;
    let outcome = holds(&scenario, 8);
    assert_eq!((outcome.staleness_mean, outcome.staleness_p95), (0.0, 0));
}

#[test]
fn training_while_updates_travel_hides_the_exchange_and_ends_at_the_same_optimum() {
    let with = |overlap| {
        let mut scenario = quadratic(6);
        scenario.network.latency_ms = [200, 300];
        scenario.run.outer_steps = 30;
        scenario.run.overlap = overlap;
        holds(&scenario, 4)
    };
    let (apart, overlapped) = (with(false), with(true));
    // An exchange takes about as long here as the ten inner steps of a tenth of a second.
    assert!(overlapped.virtual_s < 0.8 * apart.virtual_s, "{} {}", overlapped.virtual_s, apart.virtual_s);
    assert!(overlapped.score_worst > apart.score_worst - 0.01, "{overlapped:?}");
    assert_eq!(overlapped.trace, with(true).trace);
}

#[test]
fn sparse_links_are_enough_for_many_to_agree() {
    let mut scenario = quadratic(60);
    scenario.network.links = 12;
    scenario.network.fanout = 0;
    scenario.run.settle_steps = 12;
    scenario.signatures = Signatures::Assumed;
    let outcome = holds(&scenario, 1);
    assert!(outcome.score_worst > 0.9, "{}", outcome.score_worst);
}
