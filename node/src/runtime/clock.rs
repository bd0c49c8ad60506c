//! The only room that reads a clock for the protocol.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::time::{Time, UnixSeconds};

/// The driver's time scale: microseconds since it was made, on a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A scale that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// Time left until a moment; zero when it has passed.
    pub fn until(&self, moment: Time) -> Duration {
        Duration::from_micros(moment.since(self.now()).0)
    }
}

/// Today's date, as the system's clock has it; 1970 when it is set before that.
pub fn today() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// The date with fractions, for records that people read.
pub fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
