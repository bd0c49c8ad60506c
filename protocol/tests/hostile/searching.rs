//! A search for settings that members make together.

use protocol::id::PeerId;
use protocol::limits::TRIALS_MAX;
use protocol::peer::input::{Command, Input};
use protocol::peer::output::Output;
use protocol::time::Span;
use protocol::wire::message::Body;
use protocol::wire::trials::Trials;

use crate::bench::Bench;
use crate::fixture::{keys, trials};

fn heard(bench: &Bench) -> Vec<(PeerId, usize)> {
    bench.peer.trials(bench.now).map(|(peer, trials)| (*peer, trials.made.len())).collect()
}

#[test]
fn the_newest_word_of_each_member_is_kept_until_it_is_none_any_more() {
    let mut bench = Bench::at(0);
    let all = trials();
    let first = bench.says(5, Body::Trials(Trials { made: all.made[..1].to_vec(), ..all.clone() }));
    let second = bench.says(5, Body::Trials(all.clone()));
    let other = bench.says(6, Body::Trials(Trials { made: Vec::new(), ..all }));
    bench.hears(&first, 5);
    assert_eq!(heard(&bench), [(keys(5).peer(), 1)]);
    bench.hears(&second, 7);
    bench.hears(&other, 5);
    let mut both = [(keys(5).peer(), 2), (keys(6).peer(), 0)];
    both.sort_unstable();
    assert_eq!(heard(&bench), both);
    // A replay changes nothing.
    bench.hears(&first, 7);
    assert_eq!(heard(&bench), both);
    bench.feed(Input::Command(Command::Ban(keys(5).peer())));
    assert_eq!(heard(&bench), [(keys(6).peer(), 0)]);
}

#[test]
fn own_trials_are_told_to_all_unless_they_break_the_caps() {
    let mut bench = Bench::at(0);
    let published = |bench: &Bench| bench.outputs.iter().filter(|o| matches!(o, Output::Publish(_))).count();
    let before = published(&bench);
    bench.feed(Input::Tried(trials()));
    assert_eq!(published(&bench), before + 1);
    let made = vec![trials().made[0]; TRIALS_MAX + 1];
    bench.feed(Input::Tried(Trials { made, ..trials() }));
    assert_eq!(published(&bench), before + 1);
    assert!(heard(&bench).is_empty(), "own words are the caller's to keep");
    // Somebody who links later hears them too, once.
    let told = |bench: &mut Bench| {
        let before = published(bench);
        bench.now = bench.now + Span::seconds(3_600);
        bench.feed(Input::Wake);
        published(bench) - before
    };
    assert!(told(&mut bench) > 1, "members have linked since the last hello");
    let hello = told(&mut bench);
    bench.feed(Input::LinkUp(keys(5).peer()));
    assert_eq!(told(&mut bench), hello + 1);
    assert_eq!(told(&mut bench), hello);
}
