//! A node's own clock: it starts with the process, drifts, and may leap ahead.
//!
//! Peers see this time and no other. It never runs backwards, as the monotonic clock of a machine never does; dates may
//! be wrong.

use crate::time::{Span, Time};

/// Longest drift either way, parts per million.
const MILLION: i128 = 1_000_000;

/// The clock of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    began: Time,
    drift_ppm: i32,
    ahead: Span,
}

impl Clock {
    /// A clock that shows zero now.
    pub(super) fn starting(now: Time, drift_ppm: i32) -> Self {
        Self { began: now, drift_ppm, ahead: Span::ZERO }
    }

    /// What it shows at a moment of the world.
    pub(super) fn shows(&self, world: Time) -> Time {
        let passed = i128::from(world.since(self.began).0);
        Time((passed + passed * i128::from(self.drift_ppm) / MILLION) as u64) + self.ahead
    }

    /// The first moment of the world at which it shows `local` or more.
    pub(super) fn world(&self, local: Time) -> Time {
        let wanted = i128::from(local.since(Time(self.ahead.0)).0);
        let rate = MILLION + i128::from(self.drift_ppm);
        self.began + Span(((wanted * MILLION).div_euclid(rate) + 1) as u64)
    }

    /// Leaps ahead.
    pub(super) fn leap(&mut self, by: Span) {
        self.ahead = Span(self.ahead.0.saturating_add(by.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_reaches_what_was_asked_at_the_moment_it_says() {
        for drift in [-50_000, -37, 0, 1, 50_000] {
            let mut clock = Clock::starting(Time(5_000_000), drift);
            clock.leap(Span::seconds(7));
            for local in [7_000_000, 7_000_001, 8_123_457, 99_999_999_999] {
                let world = clock.world(Time(local));
                assert!(clock.shows(world) >= Time(local), "{drift} {local}");
                assert!(clock.shows(Time(world.0 - 3)) <= Time(local), "{drift} {local}");
            }
        }
    }
}
