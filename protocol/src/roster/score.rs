//! The behaviour score: 100 is a clean record, offences take points, time gives them back.

use crate::time::Time;
use crate::wire::offence::Offence;

/// Points gained back per second: from 0 to eligible again in about eight minutes.
const REGAIN_PER_SECOND: f32 = 0.1;
/// A clean record.
const FULL: f32 = 100.0;
/// Below this a peer is not drawn.
const ELIGIBLE: f32 = 50.0;

/// How a peer behaved lately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    points: f32,
    at: Time,
}

impl Score {
    /// A clean record.
    pub fn new(now: Time) -> Self {
        Self { points: FULL, at: now }
    }

    /// Points at this time.
    pub fn points(&self, now: Time) -> f32 {
        (self.points + REGAIN_PER_SECOND * now.since(self.at).as_seconds() as f32).min(FULL)
    }

    /// Takes off what the offence costs, so many times.
    pub fn offend(&mut self, offence: Offence, times: u32, now: Time) {
        self.points = (self.points(now) - offence.cost() * times as f32).max(0.0);
        self.at = now;
    }

    /// Whether the peer may be drawn.
    pub fn is_eligible(&self, now: Time) -> bool {
        self.points(now) >= ELIGIBLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn offences_cost_eligibility_and_time_gives_it_back() {
        let mut score = Score::new(Time(0));
        for _ in 0..6 {
            score.offend(Offence::WrongContent, 1, Time(0));
        }
        assert!(!score.is_eligible(Time(0)));
        assert!(score.is_eligible(Time(0) + Span::seconds(120)));
        assert_eq!(score.points(Time(0) + Span::seconds(100_000)), 100.0);
    }
}
