//! Keeping to a quota of bytes a second, all connections of a node together, each direction on its own.
//!
//! What passes is charged after it passed, so a direction is in debt for a while and whoever comes next waits until the
//! debt is small. Nothing is thrown away: a socket that waits fills, and its other end slows down.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Debt that nobody waits for: small enough that a second holds what it may, large enough for full packets.
const SLACK: Duration = Duration::from_millis(50);

/// One direction's quota.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When what passed so far is paid off.
    paid: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second, at least one.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Most bytes of one turn, so that many sockets take turns.
    pub(super) fn turn_bytes(&self) -> usize {
        (self.bytes_per_second / 20).clamp(1_024, 256 << 10) as usize
    }

    /// Charges what passed.
    pub(super) fn charge(&self, bytes: usize) {
        self.charge_at(bytes, Instant::now());
    }

    fn charge_at(&self, bytes: usize, now: Instant) {
        let seconds = bytes as f64 / self.bytes_per_second as f64;
        let mut paid = self.lock();
        *paid = (*paid).max(now) + Duration::from_secs_f64(seconds);
    }

    /// When the debt is small enough to go on.
    fn due(&self) -> Instant {
        let paid = *self.lock();
        paid.checked_sub(SLACK).unwrap_or(paid)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.paid.lock().expect("nobody panics while holding a moment")
    }
}

/// One socket's wait for its turn.
#[derive(Debug, Default)]
pub(super) struct Turn(Option<Pin<Box<Sleep>>>);

impl Turn {
    /// Ready when the socket may move bytes.
    pub(super) fn poll(&mut self, pace: &Pace, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(sleep) = &mut self.0 {
                ready!(sleep.as_mut().poll(cx));
                self.0 = None;
            }
            let due = pace.due();
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.0 = Some(Box::pin(sleep_until(due)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_pass_in_a_second_whoever_moves_them() {
        let (pace, began) = (Pace::new(1_000_000), Instant::now());
        let (mut passed, mut now) = (0, began);
        while passed < 5_000_000 {
            // Whoever comes next waits until the debt is small, and moves a turn's worth.
            now = now.max(pace.due());
            pace.charge_at(pace.turn_bytes(), now);
            passed += pace.turn_bytes();
        }
        let rate = passed as f64 / (now - began).as_secs_f64();
        assert!((1_000_000.0..1_050_000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn nothing_is_saved_up_in_quiet_times() {
        let (pace, later) = (Pace::new(1_000), Instant::now() + Duration::from_secs(3_600));
        pace.charge_at(1_000, later);
        assert_eq!(pace.due(), later + Duration::from_secs(1) - SLACK);
    }
}
