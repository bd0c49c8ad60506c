//! What goes wrong in networks and machines.

use protocol::sim::fault::Fault;
use protocol::wire::choice::Codec;

use crate::setting::{holds, quadratic, run};

#[test]
fn lost_doubled_and_reordered_messages_slow_the_swarm_but_do_not_stop_it() {
    for seed in 0..3 {
        let mut scenario = quadratic(5);
        scenario.network.loss = 0.2;
        scenario.network.duplicate = 0.2;
        scenario.network.reorder = 0.2;
        let outcome = holds(&scenario, seed);
        assert!(outcome.consensus_distance_relative < 0.02, "{}", outcome.consensus_distance_relative);
    }
}

#[test]
fn a_crash_at_any_moment_never_makes_a_node_sign_one_step_twice() {
    // The checkers of the world see it at every announcement, over all lives of a key.
    for seed in 0..12 {
        let mut scenario = quadratic(4);
        scenario.faults = vec![
            Fault::Crash { at: 0.0, until: 0.9, rate: 0.4, down_s: [0.01, 3.0] },
            Fault::Lossy { share: 0.5 },
        ];
        holds(&scenario, seed);
    }
}

#[test]
fn peers_that_die_or_come_late_while_they_train_ahead_end_where_the_others_do() {
    let mut joins = 0;
    for seed in 0..4 {
        let mut scenario = quadratic(6);
        scenario.run.overlap = true;
        scenario.run.outer_steps = 40;
        scenario.run.staleness_max = 4;
        scenario.faults = vec![
            Fault::Crash { at: 0.0, until: 0.9, rate: 0.1, down_s: [0.01, 3.0] },
            Fault::Late { at: 0.4, share: 0.17, eclipsed: false },
        ];
        let outcome = holds(&scenario, seed);
        assert!(outcome.score_worst > 0.9, "{}", outcome.score_worst);
        joins += outcome.joins;
    }
    assert!(joins >= 1, "somebody came too late to just mix");
}

#[test]
fn peers_that_die_and_come_back_go_on_from_what_they_said_under_a_sparse_codec() {
    for seed in 0..4 {
        let mut scenario = quadratic(6);
        scenario.run.codec = Codec::Topk;
        scenario.run.outer_steps = 24;
        scenario.faults = vec![
            Fault::Crash { at: 0.0, until: 0.9, rate: 0.4, down_s: [0.01, 3.0] },
            Fault::Lossy { share: 0.5 },
        ];
        let outcome = holds(&scenario, seed);
        assert!(outcome.score_worst > 0.9, "{}", outcome.score_worst);
    }
}

#[test]
fn a_late_peer_takes_over_the_others_state() {
    let mut scenario = quadratic(6);
    scenario.run.outer_steps = 30;
    scenario.run.staleness_max = 4;
    scenario.faults = vec![Fault::Late { at: 0.4, share: 0.17, eclipsed: false }];
    let outcome = holds(&scenario, 11);
    assert_eq!(outcome.joins, 1);
    assert!(outcome.score_worst > 0.9, "{}", outcome.score_worst);
}

#[test]
fn a_late_peer_takes_over_the_others_state_under_a_codec_read_next_to_ones_own() {
    for (seed, codec) in (0..3).flat_map(|seed| [(seed, Codec::Lattice4), (seed, Codec::Topk)]) {
        let mut scenario = quadratic(6);
        scenario.run.codec = codec;
        scenario.run.outer_steps = 40;
        scenario.run.staleness_max = 4;
        scenario.faults = vec![Fault::Late { at: 0.4, share: 0.17, eclipsed: false }];
        let outcome = holds(&scenario, seed);
        assert!(outcome.joins >= 1 && outcome.score_worst > 0.9, "{} {}", outcome.joins, outcome.score_worst);
    }
}

#[test]
fn both_halves_of_a_partition_go_on_and_agree_after_it_heals() {
    for (one_way, bridge) in [(false, false), (true, false), (false, true)] {
        let mut scenario = quadratic(6);
        scenario.run.outer_steps = 24;
        scenario.faults = vec![Fault::Partition { at: 0.2, until: 0.6, groups: 2, one_way, bridge }];
        let outcome = holds(&scenario, 3);
        assert!(outcome.consensus_distance_relative < 0.01, "{}", outcome.consensus_distance_relative);
        assert!(outcome.score_worst > 0.9, "{}", outcome.score_worst);
    }
}

#[test]
fn peers_that_hear_nobody_train_alone_to_the_end() {
    let mut scenario = quadratic(2);
    scenario.check.consensus_max = 10.0;
    scenario.faults = vec![Fault::Late { at: 1.0, share: 0.5, eclipsed: false }];
    holds(&scenario, 1);
}

#[test]
fn frozen_machines_wrong_clocks_and_full_disks_are_survived() {
    for seed in 0..3 {
        let mut scenario = quadratic(8);
        scenario.run.outer_steps = 24;
        scenario.faults = vec![
            Fault::Freeze { at: 0.1, until: 0.8, rate: 0.1, span_s: [1.0, 8.0] },
            Fault::Clock { share: 0.5, drift_ppm: 20_000, days: 4_000.0 },
            Fault::Leap { at: 0.3, share: 0.3, by_s: 3_600.0 },
            Fault::Full { at: 0.2, until: 0.6, share: 0.3 },
        ];
        holds(&scenario, seed);
    }
}

#[test]
fn clogged_links_and_changed_bytes_shut_nobody_out() {
    for seed in 0..3 {
        let mut scenario = quadratic(8);
        scenario.run.outer_steps = 24;
        scenario.network.corrupt = 0.05;
        scenario.faults = vec![Fault::Clog { at: 0.1, until: 0.8, share: 0.2 }];
        holds(&scenario, seed);
    }
}

#[test]
fn members_may_leave_or_be_revoked_without_harm_to_the_rest() {
    let mut scenario = quadratic(10);
    scenario.run.outer_steps = 24;
    scenario.faults = vec![Fault::Leave { at: 0.3, share: 0.2 }, Fault::Revoke { at: 0.5, share: 0.2 }];
    let outcome = holds(&scenario, 5);
    assert!(outcome.score_worst > 0.5, "{}", outcome.score_worst);
}

#[test]
fn a_swarm_that_cannot_agree_is_told_of_and_not_hidden() {
    let mut scenario = quadratic(4);
    scenario.run.settle_steps = 0;
    scenario.check.consensus_max = 1e-9;
    let outcome = run(&scenario, 1);
    assert_eq!(outcome.violations.len(), 1);
    assert_eq!(outcome.violations[0].invariant, "I8");
}
