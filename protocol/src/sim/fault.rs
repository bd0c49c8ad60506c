//! Faults of a scenario, and their timetable: which peer is hit by what, when, until when.
//!
//! It exists so that chance decides once, before the first event: the same seed gives the same timetable whatever the
//! peers do. It does not carry faults out; the world does.

use serde::{Deserialize, Serialize};

use crate::rng::{Rng, Seed};
use crate::sim::bounds::{ScenarioError, need, share};
use crate::time::{Span, Time};

/// Something that goes wrong. `at` and `until` are fractions of the planned run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The swarm falls into groups that cannot hear each other.
    Partition {
        /// From when.
        at: f64,
        /// Until when.
        until: f64,
        /// Number of groups.
        #[serde(default = "two")]
        groups: u32,
        /// Whether only the first group is deaf to the others.
        #[serde(default)]
        one_way: bool,
        /// Whether one peer goes on hearing and being heard by everybody.
        #[serde(default)]
        bridge: bool,
    },
    /// Links are clogged one by one and released in random order.
    Clog {
        /// From when.
        at: f64,
        /// Until when.
        until: f64,
        /// Share of directed links clogged at a time.
        share: f64,
    },
    /// Processes die as under kill -9 and come back.
    Crash {
        /// From when.
        at: f64,
        /// Until when.
        until: f64,
        /// Share of the peers that die in an outer step's time.
        rate: f64,
        /// Shortest and longest time a dead one stays down, seconds.
        #[serde(default = "down")]
        down_s: [f64; 2],
    },
    /// Peers that are not there from the start.
    Late {
        /// When the first of them comes; the others follow within a twentieth of the run.
        at: f64,
        /// Share of the peers.
        share: f64,
        /// Whether liars alone are pointed out to them, beside one honest peer.
        #[serde(default)]
        eclipsed: bool,
    },
    /// Peers that say farewell and go for good.
    Leave {
        /// When.
        at: f64,
        /// Share of the peers.
        share: f64,
    },
    /// Whole machines stand still and then go on, as a suspended laptop does.
    Freeze {
        /// From when.
        at: f64,
        /// Until when.
        until: f64,
        /// Share of the peers that freeze in an outer step's time.
        rate: f64,
        /// Shortest and longest freeze, seconds.
        span_s: [f64; 2],
    },
    /// Clocks that run wrong from the start.
    Clock {
        /// Share of the peers.
        share: f64,
        /// Largest drift either way, parts per million.
        drift_ppm: u32,
        /// Dates are wrong by up to so many days either way.
        #[serde(default)]
        days: f64,
    },
    /// Clocks that leap ahead.
    Leap {
        /// When.
        at: f64,
        /// Share of the peers.
        share: f64,
        /// How far, seconds.
        by_s: f64,
    },
    /// Disks that take nothing for a while.
    Full {
        /// From when.
        at: f64,
        /// Until when.
        until: f64,
        /// Share of the peers.
        share: f64,
    },
    /// Disks that lose, when the machine dies, the newest checkpoint they acknowledged and tear the ledger's end.
    Lossy {
        /// Share of the peers.
        share: f64,
    },
    /// Founders revoke members.
    Revoke {
        /// When.
        at: f64,
        /// Share of the peers.
        share: f64,
    },
}

fn two() -> u32 {
    2
}

fn down() -> [f64; 2] {
    [1.0, 20.0]
}

/// One entry of the timetable.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Blow {
    /// Peers fall into groups, by peer; `None` hears everybody.
    Part { groups: Vec<Option<u32>>, one_way: bool },
    /// The partition ends.
    Heal,
    /// A directed link is clogged.
    Clog { from: u32, to: u32 },
    /// It is released.
    Unclog { from: u32, to: u32 },
    /// A process dies.
    Kill(u32),
    /// It starts, for the first time or again.
    Start(u32),
    /// It says farewell.
    Leave(u32),
    /// It stands still.
    Freeze(u32, Span),
    /// Its clock leaps ahead.
    Leap(u32, Span),
    /// Its disk is full, or no longer.
    Full(u32, bool),
    /// These are revoked.
    Revoke(Vec<u32>),
}

/// All that will go wrong, in order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Timetable {
    /// When and what.
    pub(super) blows: Vec<(Time, Blow)>,
    /// Peers that start late; `true` for eclipsed ones.
    pub(super) late: Vec<(u32, bool)>,
    /// Drift in parts per million and error of the date in seconds, by peer.
    pub(super) clocks: Vec<(u32, i32, i64)>,
    /// Peers with a lossy disk.
    pub(super) lossy: Vec<u32>,
    /// When the last fault is over.
    pub(super) over: Time,
}

/// What a timetable is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Honest peers; they come first in the numbering.
    pub(super) honest: u32,
    /// All peers.
    pub(super) peers: u32,
    /// Length of the planned run in seconds.
    pub(super) seconds: f64,
    /// Length of an outer step in seconds.
    pub(super) step_seconds: f64,
}

impl Fault {
    /// Checks the fields.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let window = |at: f64, until: f64| {
            share("fault.at", at)?;
            share("fault.until", until)?;
            need(at < until, "fault.until", "after fault.at", until)
        };
        let spans = |field, [low, high]: [f64; 2]| {
            need(
                low >= 0.0 && low <= high && high <= 1e6,
                field,
                "two rising numbers of seconds",
                format!("{low}, {high}"),
            )
        };
        match self {
            Self::Partition { at, until, groups, .. } => {
                need((2..=64).contains(groups), "fault.groups", "2 to 64", groups)?;
                window(*at, *until)
            }
            Self::Clog { at, until, share: part } | Self::Full { at, until, share: part } => {
                share("fault.share", *part)?;
                window(*at, *until)
            }
            Self::Crash { at, until, rate, down_s } => {
                share("fault.rate", *rate)?;
                spans("fault.down_s", *down_s)?;
                window(*at, *until)
            }
            Self::Freeze { at, until, rate, span_s } => {
                share("fault.rate", *rate)?;
                spans("fault.span_s", *span_s)?;
                window(*at, *until)
            }
            Self::Late { at, share: part, .. }
            | Self::Leave { at, share: part }
            | Self::Revoke { at, share: part } => {
                share("fault.share", *part)?;
                share("fault.at", *at)
            }
            Self::Clock { share: part, drift_ppm, days } => {
                need(*drift_ppm <= 100_000, "fault.drift_ppm", "at most 100000", drift_ppm)?;
                need((0.0..=36_500.0).contains(days), "fault.days", "0 to 36500", days)?;
                share("fault.share", *part)
            }
            Self::Leap { at, share: part, by_s } => {
                need((0.0..=1e8).contains(by_s), "fault.by_s", "0 to 100000000", by_s)?;
                share("fault.share", *part)?;
                share("fault.at", *at)
            }
            Self::Lossy { share: part } => share("fault.share", *part),
        }
    }
}

impl Timetable {
    /// Draws the timetable. Only honest peers crash, freeze and leave: what liars do is their own.
    pub(super) fn draw(faults: &[Fault], plan: Plan, seed: &Seed) -> Self {
        let mut table = Self::default();
        for (index, fault) in faults.iter().enumerate() {
            table.add(fault, plan, &mut seed.fork_index(index as u64).rng());
        }
        table.blows.sort_by_key(|(at, _)| *at);
        let last = table.blows.last().map_or(Time(0), |(at, _)| *at);
        table.over = table.over.max(last);
        table
    }

    fn add(&mut self, fault: &Fault, plan: Plan, rng: &mut Rng) {
        let moment = |fraction: f64| Time((fraction * plan.seconds * 1e6) as u64);
        match fault {
            Fault::Partition { at, until, groups, one_way, bridge } => {
                let mut order: Vec<u32> = (0..plan.peers).collect();
                rng.shuffle(&mut order);
                let mut of = vec![None; plan.peers as usize];
                for (place, peer) in order.iter().enumerate() {
                    of[*peer as usize] = Some(place as u32 % groups);
                }
                if *bridge {
                    of[rng.below(plan.honest.into()) as usize] = None;
                }
                self.blows.push((moment(*at), Blow::Part { groups: of, one_way: *one_way }));
                self.blows.push((moment(*until), Blow::Heal));
            }
            Fault::Clog { at, until, share } => self.clog(moment(*at), moment(*until), *share, plan, rng),
            Fault::Crash { at, until, rate, down_s } => {
                self.poisson(moment(*at), moment(*until), *rate, plan, rng, |table, peer, at, rng| {
                    let back = at + between(*down_s, rng);
                    table.blows.push((at, Blow::Kill(peer)));
                    table.blows.push((back, Blow::Start(peer)));
                });
            }
            Fault::Freeze { at, until, rate, span_s } => {
                self.poisson(moment(*at), moment(*until), *rate, plan, rng, |table, peer, at, rng| {
                    let span = between(*span_s, rng);
                    table.blows.push((at, Blow::Freeze(peer, span)));
                    table.over = table.over.max(at + span);
                });
            }
            Fault::Late { at, share, eclipsed } => {
                for peer in chosen(*share, plan.honest, rng) {
                    let later = Span((rng.unit_f64() * plan.seconds * 5e4) as u64);
                    self.late.push((peer, *eclipsed));
                    self.blows.push((moment(*at) + later, Blow::Start(peer)));
                }
            }
            Fault::Leave { at, share } => {
                let leavers = chosen(*share, plan.honest, rng);
                self.blows.extend(leavers.into_iter().map(|peer| (moment(*at), Blow::Leave(peer))));
            }
            Fault::Clock { share, drift_ppm, days } => {
                for peer in chosen(*share, plan.peers, rng) {
                    let either_way = |most: f64, rng: &mut Rng| (2.0 * rng.unit_f64() - 1.0) * most;
                    let drift = either_way(f64::from(*drift_ppm), rng) as i32;
                    self.clocks.push((peer, drift, either_way(days * 86_400.0, rng) as i64));
                }
            }
            Fault::Leap { at, share, by_s } => {
                let by = Span((by_s * 1e6) as u64);
                let leaping = chosen(*share, plan.honest, rng);
                self.blows.extend(leaping.into_iter().map(|peer| (moment(*at), Blow::Leap(peer, by))));
            }
            Fault::Full { at, until, share } => {
                for peer in chosen(*share, plan.honest, rng) {
                    self.blows.push((moment(*at), Blow::Full(peer, true)));
                    self.blows.push((moment(*until), Blow::Full(peer, false)));
                }
            }
            Fault::Lossy { share } => self.lossy.extend(chosen(*share, plan.peers, rng)),
            Fault::Revoke { at, share } => {
                let revoked = chosen(*share, plan.honest, rng);
                if !revoked.is_empty() {
                    self.blows.push((moment(*at), Blow::Revoke(revoked)));
                }
            }
        }
    }

    /// Links are drawn in waves of one outer step; each of a wave is released at a moment of its own.
    fn clog(&mut self, at: Time, until: Time, share: f64, plan: Plan, rng: &mut Rng) {
        let wave = Span((plan.step_seconds * 1e6) as u64).0.max(1);
        let pairs = u64::from(plan.peers) * u64::from(plan.peers - 1);
        let count = (share * pairs as f64).round() as u64;
        let mut begin = at;
        while begin < until {
            for _ in 0..count {
                let from = rng.below(plan.peers.into()) as u32;
                let to = (from + 1 + rng.below(u64::from(plan.peers) - 1) as u32) % plan.peers;
                let end = (begin + Span(rng.below(wave * 2) + 1)).min(until);
                self.blows.push((begin, Blow::Clog { from, to }));
                self.blows.push((end, Blow::Unclog { from, to }));
            }
            begin = begin + Span(wave);
        }
    }

    /// Hits each honest peer `rate` times an outer step on average, one blow after the other.
    fn poisson(
        &mut self,
        at: Time,
        until: Time,
        rate: f64,
        plan: Plan,
        rng: &mut Rng,
        mut hit: impl FnMut(&mut Self, u32, Time, &mut Rng),
    ) {
        // Ten tries an outer step, each with a tenth of the rate: close to a Poisson process, without a logarithm.
        let slice = Span(((plan.step_seconds * 1e5) as u64).max(1));
        for peer in 0..plan.honest {
            let mut now = at;
            while now < until {
                if rng.unit_f64() < rate / 10.0 {
                    let moment = now + Span(rng.below(slice.0));
                    let before = self.blows.len();
                    hit(self, peer, moment, rng);
                    // The next blow comes after this one is over.
                    let over = self.blows[before..].iter().map(|(at, _)| *at).max().unwrap_or(moment);
                    now = now.max(over);
                }
                now = now + slice;
            }
        }
    }
}

fn chosen(share: f64, of: u32, rng: &mut Rng) -> Vec<u32> {
    let all: Vec<u32> = (0..of).collect();
    rng.draw(&all, (share * f64::from(of)).round() as usize)
}

fn between([low, high]: [f64; 2], rng: &mut Rng) -> Span {
    Span(((low + rng.unit_f64() * (high - low)) * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { honest: 20, peers: 24, seconds: 100.0, step_seconds: 1.0 };

    fn table(faults: &[Fault], seed: u64) -> Timetable {
        Timetable::draw(faults, PLAN, &Seed::from_u64(seed))
    }

    #[test]
    fn one_seed_gives_one_timetable_in_order_of_time() {
        let faults = [
            Fault::Crash { at: 0.1, until: 0.6, rate: 0.3, down_s: [1.0, 5.0] },
            Fault::Clog { at: 0.2, until: 0.4, share: 0.1 },
            Fault::Partition { at: 0.3, until: 0.5, groups: 2, one_way: false, bridge: true },
        ];
        let (a, b) = (table(&faults, 4), table(&faults, 4));
        assert_eq!(a.blows, b.blows);
        assert!(a.blows.is_sorted_by_key(|(at, _)| *at));
        assert_ne!(a.blows, table(&faults, 5).blows);
        let over = a.blows.last().unwrap().0;
        assert_eq!(a.over, over);
    }

    #[test]
    fn peers_die_at_the_stated_rate_and_always_come_back() {
        let table = table(&[Fault::Crash { at: 0.0, until: 1.0, rate: 0.1, down_s: [0.1, 0.2] }], 1);
        let kills = table.blows.iter().filter(|(_, b)| matches!(b, Blow::Kill(_))).count();
        // 20 peers, 100 steps, .1 a step: 200 expected, 14 the standard deviation.
        assert!((150..250).contains(&kills), "{kills}");
        for peer in 0..20 {
            let of_peer =
                table.blows.iter().filter(|(_, b)| matches!(b, Blow::Kill(p) | Blow::Start(p) if *p == peer));
            let kinds: Vec<bool> = of_peer.map(|(_, b)| matches!(b, Blow::Kill(_))).collect();
            assert!(kinds.chunks(2).all(|pair| pair == [true, false]), "{kinds:?}");
        }
    }

    #[test]
    fn windows_that_end_before_they_begin_are_refused() {
        let wrong = Fault::Clog { at: 0.5, until: 0.5, share: 0.1 };
        assert_eq!(wrong.check().unwrap_err().field, "fault.until");
    }
}
