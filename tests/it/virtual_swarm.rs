//! The protocol under virtual time: agreement, faults, late joiners, crashes.

use protocol::peer::event::Event;
use protocol::time::Span;
use starling_tests::charters::{charter, signed};
use starling_tests::swarm::{Swarm, World};

const HOUR: Span = Span::seconds(3_600);

fn swarm(n: usize, world: World) -> Swarm {
    Swarm::new(n, signed(&charter(n, 2_000)), world)
}

fn started(n: usize, world: World) -> Swarm {
    let mut swarm = swarm(n, world);
    (0..n).for_each(|i| swarm.start(i));
    swarm
}

/// The value every node would reach if all averaged exactly: near the mean of the targets.
fn distance_to_mean_target(swarm: &Swarm) -> f64 {
    let n = swarm.nodes.len() as f64;
    let len = swarm.nodes[0].target.len();
    let mut square = 0.0;
    for k in 0..len {
        let mean = swarm.nodes.iter().map(|x| f64::from(x.target[k])).sum::<f64>() / n;
        square += (f64::from(swarm.nodes[0].agreed[k]) - mean).powi(2);
    }
    (square / len as f64).sqrt()
}

#[test]
fn five_peers_agree_on_the_mean_of_what_they_learned() {
    let mut swarm = started(5, World::default());
    assert!(
        swarm.run(HOUR, Swarm::is_through),
        "steps: {:?}",
        (0..5).map(|i| swarm.step(i)).collect::<Vec<_>>()
    );
    assert!(swarm.consensus_relative() < 0.01, "consensus {}", swarm.consensus_relative());
    assert!(distance_to_mean_target(&swarm) < 0.1, "distance {}", distance_to_mean_target(&swarm));
    for node in &swarm.nodes {
        assert!(node.events.iter().any(|e| matches!(e, Event::Evaluated { .. })));
    }
}

#[test]
fn one_seed_gives_one_history() {
    let run = |seed| {
        let mut swarm = started(5, World { seed, loss: 0.05, ..World::default() });
        assert!(swarm.run(HOUR, Swarm::is_through));
        (swarm.nodes[2].agreed.clone(), swarm.nodes[2].events.clone())
    };
    assert!(run(4) == run(4));
    assert!(run(4).0 != run(5).0);
}

#[test]
fn lost_messages_slow_the_swarm_but_do_not_stop_it() {
    for seed in 0..10 {
        let mut swarm = started(5, World { seed, loss: 0.2, ..World::default() });
        assert!(swarm.run(HOUR, Swarm::is_through), "seed {seed}");
        assert!(swarm.consensus_relative() < 0.1, "seed {seed}: consensus {}", swarm.consensus_relative());
    }
}

#[test]
fn any_node_may_die_and_come_back() {
    for victim in 0..5 {
        let mut swarm = started(5, World { seed: victim as u64, ..World::default() });
        assert!(swarm.run(HOUR, |s| s.step(victim) >= 4));
        swarm.kill(victim);
        let others = |s: &Swarm| (0..5).filter(|&i| i != victim).map(|i| s.step(i)).min();
        assert!(swarm.run(HOUR, |s| others(s) >= Some(7)), "the others go on");
        swarm.start(victim);
        assert!(swarm.run(HOUR, Swarm::is_through), "victim {victim} at {}", swarm.step(victim));
        assert!(swarm.consensus_relative() < 0.01, "consensus {}", swarm.consensus_relative());
    }
}

#[test]
fn a_crash_at_any_moment_never_makes_a_node_sign_one_step_twice() {
    // The swarm asserts it at every announcement.
    for moment in 0..60u64 {
        let mut swarm = started(3, World { seed: moment, ..World::default() });
        swarm.run(Span::millis(400 + 97 * moment), |_| false);
        swarm.kill(1);
        swarm.run(Span::millis(50), |_| false);
        swarm.start(1);
        assert!(swarm.run(HOUR, Swarm::is_through), "moment {moment}");
    }
}

#[test]
fn a_late_sixth_node_reaches_the_others_step_in_three() {
    let mut swarm = swarm(6, World { seed: 11, ..World::default() });
    (0..5).for_each(|i| swarm.start(i));
    assert!(swarm.run(HOUR, |s| s.step(0) >= 10));
    swarm.start(5);
    assert!(swarm.run(HOUR, |s| s.step(5) >= s.step(0).saturating_sub(1) && s.step(5) > 0));
    let joined = swarm.nodes[5].events.iter().filter(|e| matches!(e, Event::Joined { .. })).count();
    let mixed = swarm.nodes[5].events.iter().filter(|e| matches!(e, Event::Mixed { .. })).count();
    assert_eq!(joined, 1);
    assert!(mixed <= 3, "{mixed} outer steps to catch up");
    assert!(swarm.run(HOUR, Swarm::is_through));
}

#[test]
fn both_halves_of_a_partition_go_on_and_agree_after_it_heals() {
    let mut swarm = started(6, World { seed: 3, ..World::default() });
    assert!(swarm.run(HOUR, |s| s.step(0) >= 3));
    let across: Vec<(usize, usize)> = (0..3).flat_map(|a| (3..6).map(move |b| (a, b))).collect();
    across.iter().for_each(|&(a, b)| swarm.cut(a, b));
    assert!(swarm.run(HOUR, |s| (0..6).all(|i| s.step(i) >= 7)), "both halves go on");
    across.iter().for_each(|&(a, b)| swarm.link(a, b));
    assert!(swarm.run(HOUR, Swarm::is_through));
    assert!(swarm.consensus_relative() < 0.01, "consensus {}", swarm.consensus_relative());
}

#[test]
fn a_node_without_peers_trains_alone_to_the_end() {
    let mut swarm = swarm(5, World::default());
    swarm.start(0);
    assert!(swarm.run(HOUR, Swarm::is_through));
    assert!(swarm.nodes[0].events.iter().any(|e| matches!(e, Event::Alone { .. })));
}

#[test]
fn a_synchronous_run_mixes_exactly_the_same_step_of_everybody() {
    let mut terms = charter(5, 2_000);
    terms.schedule.synchronous = true;
    terms.schedule.patience_ms = 60_000;
    let mut swarm = Swarm::new(5, signed(&terms), World { seed: 8, ..World::default() });
    (0..5).for_each(|i| swarm.start(i));
    assert!(swarm.run(HOUR, Swarm::is_through));
    for node in &swarm.nodes {
        let pulled: Vec<u32> = node
            .events
            .iter()
            .filter_map(|e| if let Event::Pulled { staleness, .. } = e { Some(*staleness) } else { None })
            .collect();
        assert_eq!(pulled.len(), 4 * 18, "every other node in every step");
        assert!(pulled.iter().all(|s| *s == 0));
    }
}
