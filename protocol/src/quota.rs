//! A token bucket: so much at once, so much a second.

use crate::time::{Span, Time};

/// Tokens that refill with time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    burst: u64,
    per_second: u64,
    level: u64,
    filled: Time,
}

impl Bucket {
    /// A full bucket.
    pub fn new(burst: u64, per_second: u64, now: Time) -> Self {
        Self { burst, per_second, level: burst, filled: now }
    }

    /// Takes `amount` tokens; takes none and answers false when there are too few.
    pub fn take(&mut self, amount: u64, now: Time) -> bool {
        self.refill(now);
        if amount > self.level {
            return false;
        }
        self.level -= amount;
        true
    }

    /// Takes `amount` tokens, or all there are.
    pub fn drain(&mut self, amount: u64, now: Time) {
        self.refill(now);
        self.level = self.level.saturating_sub(amount);
    }

    /// Puts tokens back that were taken for nothing.
    pub fn give_back(&mut self, amount: u64) {
        self.level = self.burst.min(self.level.saturating_add(amount));
    }

    /// Whether no token is left.
    pub fn is_empty(&mut self, now: Time) -> bool {
        self.refill(now);
        self.level == 0
    }

    /// Whether nothing is missing: a new bucket would be the same.
    pub fn is_full(&mut self, now: Time) -> bool {
        self.refill(now);
        self.level == self.burst
    }

    fn refill(&mut self, now: Time) {
        let passed = now.since(self.filled);
        let gained = u128::from(self.per_second) * u128::from(passed.0) / 1_000_000;
        if gained > 0 {
            self.level = self.burst.min(self.level.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)));
            self.filled = now;
        }
    }

    /// How long until `amount` tokens are there; an amount above the burst is answered as the burst.
    pub fn wait_for(&self, amount: u64) -> Span {
        let missing = amount.min(self.burst).saturating_sub(self.level);
        Span(missing.saturating_mul(1_000_000) / self.per_second.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 2, Time(0));
        assert!(bucket.take(10, Time(0)));
        assert!(!bucket.take(1, Time(0)));
        assert_eq!(bucket.wait_for(1), Span::millis(500));
        assert!(!bucket.take(1, Time(400_000)));
        assert!(bucket.take(1, Time(500_000)));
        assert!(bucket.take(10, Time(3_600_000_000)));
        assert!(!bucket.take(1, Time(3_600_000_000)));
    }
}
