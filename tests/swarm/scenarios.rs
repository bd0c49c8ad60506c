//! Every built-in scenario at its small size: nothing may be violated.

use protocol::sim::scenario::Signatures;
use protocol::sim::start::simulate;
use starling_node::sim::file::load;

/// Runs a scenario with one seed. Signatures are made and checked where the scenario is about them; elsewhere they would
/// take nine tenths of the time and are assumed.
fn holds(name: &str, signatures: Signatures) {
    let mut scenario = load(name).expect("a built-in scenario").at_small_size();
    scenario.signatures = signatures;
    let outcome = simulate(scenario, 7).expect("a built-in scenario holds");
    assert!(
        outcome.violations.is_empty(),
        "{:#?}\nreplay: starling sim {name} --small --seed 7",
        outcome.violations
    );
}

/// 660: frozen while its first answers came, a peer then gave a lost question minutes.
#[test]
fn a_seed_that_once_stood_still_goes_on() {
    let mut scenario = load("mixed").expect("a built-in scenario");
    scenario.signatures = Signatures::Assumed;
    let outcome = simulate(scenario, 660).expect("a built-in scenario holds");
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}

macro_rules! scenarios {
    ($($test:ident: $name:literal, $signatures:ident;)*) => {
        $(#[test]
        fn $test() {
            holds($name, Signatures::$signatures);
        })*

        #[test]
        fn every_built_in_scenario_is_run() {
            let run = [$($name),*];
            let missing: Vec<_> =
                starling_node::sim::file::BUILT_IN.iter().filter(|(name, _)| !run.contains(name)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

scenarios! {
    a_calm_swarm_agrees: "calm", Verified;
    churn_is_survived: "churn", Assumed;
    partitions_heal: "partition", Assumed;
    slow_peers_hold_nobody_up: "slow", Assumed;
    lost_messages_are_survived: "lossy", Assumed;
    crashes_are_survived: "crash", Assumed;
    bad_disks_are_survived: "disk", Assumed;
    wrong_clocks_are_survived: "clock", Assumed;
    clogged_links_are_survived: "clogged", Assumed;
    members_come_and_go: "members", Assumed;
    a_revocation_reaches_those_who_were_cut_off: "revoked", Verified;
    a_fifth_of_liars_is_borne: "byzantine", Assumed;
    two_stories_are_proven: "equivocation", Verified;
    floods_are_borne: "flood", Assumed;
    many_keys_of_one_organization_weigh_as_one: "sybil", Assumed;
    a_newcomer_among_liars_is_safe: "eclipse", Assumed;
    all_faults_at_once_are_survived: "mixed", Verified;
    a_hundredth_of_ten_thousand_agrees: "ten_thousand", Assumed;
}
