//! A search for settings that several members make: who tries what, and what all tries come to.
//!
//! Every member works it out alone from what was told so far, so nobody leads. Whoever draws a trial is told by a hash of
//! search, trial, rung and key (highest random weight, Thaler and Ravishankar 1998): the work is shared out evenly, and
//! when somebody leaves only what was his moves. Members that have heard different things may try the same twice; that
//! costs time and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::seed::Seed;
use protocol::crypto::hash::blake3_of;
use protocol::id::{Hash, PeerId};
use protocol::wire::charter::TrainTerms;
use protocol::wire::trials::TrialMade;

use crate::trainer::search::{Plan, Settings, Trial};

/// What one member says of one trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Who.
    pub by: PeerId,
    /// What.
    pub made: TrialMade,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Make this trial of this rung.
    Try(usize, usize),
    /// Others have these trials of this rung to make.
    Wait(usize, Vec<usize>),
    /// The search is over.
    Over,
}

/// A search and the member that takes part.
#[derive(Debug)]
pub struct Together<'a> {
    /// What is searched: its hash in the words of members.
    pub search: Hash,
    /// How it goes.
    pub plan: Plan,
    /// Members that try each trial, at least 1; all of them where there are fewer.
    pub reports: usize,
    /// The charter's settings, around which others are drawn.
    pub terms: &'a TrainTerms,
    /// Seed of the draws.
    pub seed: Seed,
    /// This member.
    pub me: PeerId,
}

impl Together<'_> {
    /// What is to be done by this member, when these take part (itself among them) and this was said.
    pub fn next(&self, present: &BTreeSet<PeerId>, said: &[Said]) -> Next {
        let Some((rung, open)) = self.plan.open(&self.through(present, said)) else { return Next::Over };
        let is_mine = |trial: &usize| {
            !said.iter().any(|s| s.by == self.me && is_of(s, *trial, rung))
                && self.drawn(*trial, rung, present).contains(&self.me)
        };
        match open.iter().copied().find(is_mine) {
            Some(trial) => Next::Try(trial, rung),
            None => Next::Wait(rung, open),
        }
    }

    /// The trials that as many members as need be have made: median of their scores and losses.
    pub fn through(&self, present: &BTreeSet<PeerId>, said: &[Said]) -> Vec<Trial> {
        let needed = self.reports.min(present.len()).max(1);
        let mut made = Vec::new();
        for rung in 0..self.plan.rungs() {
            for trial in 0..self.plan.trials {
                // One word for each member, however often it says it.
                let of: BTreeMap<PeerId, &Said> =
                    said.iter().filter(|s| is_of(s, trial, rung)).map(|s| (s.by, s)).collect();
                if of.len() < needed {
                    continue;
                }
                made.push(Trial {
                    trial,
                    rung,
                    rows: self.plan.rows_of(rung),
                    settings: Settings::drawn(self.terms, trial, &self.seed),
                    score: median(of.values().map(|s| f64::from(s.made.score)).collect()),
                    loss: median(of.values().map(|s| f64::from(s.made.loss)).collect()),
                    samples: of.values().map(|s| s.made.samples).sum(),
                    seconds: 0.0,
                });
            }
        }
        made
    }

    /// The members that are to make a trial.
    fn drawn(&self, trial: usize, rung: usize, present: &BTreeSet<PeerId>) -> Vec<PeerId> {
        let weight = |peer: &PeerId| {
            let place = [trial as u64, rung as u64].map(u64::to_le_bytes).concat();
            blake3_of("starling search", &[&self.search.0, &place, &peer.0])
        };
        let mut all: Vec<(Hash, PeerId)> = present.iter().map(|peer| (weight(peer), *peer)).collect();
        all.sort_unstable();
        all.into_iter().take(self.reports.max(1)).map(|(_, peer)| peer).collect()
    }
}

fn is_of(said: &Said, trial: usize, rung: usize) -> bool {
    (said.made.trial as usize, said.made.rung as usize) == (trial, rung)
}

/// The middle of some numbers, at least one; of an even number the mean of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::search::tests::terms;

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    /// Every member in turn does what it is to do, all hear all, and one leaves after some turns.
    fn search(members: u8, reports: usize, leaves_after: usize) -> (Vec<Said>, Vec<Trial>) {
        let (terms, plan) = (terms(), Plan { trials: 9, rows: 900, keep_one_in: 3 });
        let mut present: BTreeSet<PeerId> = (1..=members).map(peer).collect();
        let mut said = Vec::new();
        for turn in 0.. {
            if turn == leaves_after {
                present.remove(&peer(members));
            }
            let mut is_over = true;
            for &me in &present {
                let seed = Seed::from_u64(1);
                let together = Together { search: Hash([3; 32]), plan, reports, terms: &terms, seed, me };
                match together.next(&present, &said) {
                    Next::Try(trial, rung) => {
                        let (score, loss) = (trial as f32 / 10.0 + f32::from(me.0[0]) / 1_000.0, 1.0);
                        let (trial, rung) = (trial as u32, rung as u32);
                        said.push(Said { by: me, made: TrialMade { trial, rung, score, loss, samples: 10 } });
                        is_over = false;
                    }
                    Next::Wait(..) => is_over = false,
                    Next::Over => {}
                }
            }
            if is_over {
                let seed = Seed::from_u64(1);
                let me = peer(1);
                let all = Together { search: Hash([3; 32]), plan, reports, terms: &terms, seed, me };
                return (said.clone(), all.through(&present, &said));
            }
        }
        unreachable!("a search ends");
    }

    #[test]
    fn members_share_a_search_out_and_each_trial_is_made_once() {
        let (said, made) = search(4, 1, usize::MAX);
        assert_eq!((said.len(), made.len()), (13, 13));
        let best = Plan { trials: 9, rows: 900, keep_one_in: 3 }.best(&made).unwrap().trial;
        assert_eq!(best, 8);
        let by: BTreeSet<PeerId> = said.iter().map(|s| s.by).collect();
        assert!(by.len() >= 3, "{by:?}");
    }

    #[test]
    fn a_trial_of_somebody_who_left_is_made_by_another_and_nothing_else_moves() {
        let (said, made) = search(4, 1, 1);
        assert_eq!((said.len(), made.len()), (13, 13));
        let of_the_gone = said.iter().filter(|s| s.by == peer(4)).count();
        assert!(of_the_gone <= 1, "{of_the_gone}");
    }

    #[test]
    fn several_members_try_each_trial_where_that_is_asked_for_and_a_lie_of_one_does_not_count() {
        let (said, made) = search(5, 3, usize::MAX);
        assert_eq!((said.len(), made.len()), (39, 13));
        let terms = terms();
        let plan = Plan { trials: 1, rows: 9, keep_one_in: 1 };
        let seed = Seed::from_u64(1);
        let together = Together { search: Hash([3; 32]), plan, reports: 3, terms: &terms, seed, me: peer(1) };
        let say = |by: u8, score: f32| Said {
            by: peer(by),
            made: TrialMade { trial: 0, rung: 0, score, loss: 1.0, samples: 1 },
        };
        let present: BTreeSet<PeerId> = (1..=3).map(peer).collect();
        let said = [say(1, 0.5), say(2, 1e30), say(3, 0.25)];
        assert_eq!(together.through(&present, &said[..2]), []);
        assert!((together.through(&present, &said)[0].score - 0.5).abs() < 1e-9);
        // Where fewer are left than are asked for, fewer suffice.
        assert_eq!(together.through(&present.iter().take(2).copied().collect(), &said[..2]).len(), 1);
    }
}
