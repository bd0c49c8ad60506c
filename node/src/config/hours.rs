//! Hours of the day in which a node trains.

use protocol::time::UnixSeconds;

const DAY_MINUTES: u32 = 24 * 60;

/// From one time of day to another, over midnight if the second comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minutes after midnight UTC, the first that counts.
    from: u32,
    /// Minutes after midnight UTC, the first that no longer counts.
    to: u32,
}

impl Hours {
    /// Reads `22:00-06:00`, in UTC, or `22:00-06:00 +01:00`, in a zone that far ahead of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("expected hours such as \"22:00-06:00\" in UTC or \"22:00-06:00 +01:00\", found {text:?}")
        };
        let (hours, zone) = match text.trim().split_once(' ') {
            None => (text.trim(), 0),
            Some((hours, zone)) => (hours, zone_minutes(zone.trim()).ok_or_else(wrong)?),
        };
        let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
        if from == to {
            return Err("expected two different times; leave the setting empty to train at all hours".into());
        }
        let utc = |local: u32| (local as i32 - zone).rem_euclid(DAY_MINUTES as i32) as u32;
        Ok(Self { from: utc(from), to: utc(to) })
    }

    /// Whether the node trains now.
    pub fn contain(&self, now: UnixSeconds) -> bool {
        let minute = (now.0 / 60 % u64::from(DAY_MINUTES)) as u32;
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// Minutes after midnight of `HH:MM`.
fn minutes(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str, below: u32| {
        let is_two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|n| is_two && *n < below)
    };
    Some(two(hour, 24)? * 60 + two(minute, 60)?)
}

fn zone_minutes(text: &str) -> Option<i32> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    Some(sign * minutes(text.get(1..)?)? as i32)
}

/// Whether a text is empty or names hours.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { Hours::parse(text).map(drop) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trains(text: &str, hour: u64, minute: u64) -> bool {
        // A day in 2026.
        let midnight = 1_795_651_200 / 86_400 * 86_400;
        let now = UnixSeconds(midnight + hour * 3_600 + minute * 60);
        Hours::parse(text).unwrap().contain(now)
    }

    #[test]
    fn hours_may_run_over_midnight_and_lie_in_another_zone() {
        for (text, inside, outside) in [
            ("09:00-17:00", vec![(9, 0), (16, 59)], vec![(8, 59), (17, 0), (0, 0)]),
            ("22:00-06:00", vec![(22, 0), (0, 0), (5, 59)], vec![(6, 0), (21, 59)]),
            ("22:00-06:00 +01:00", vec![(21, 0), (4, 59)], vec![(5, 0), (20, 59)]),
            ("22:00-06:00 -05:30", vec![(3, 30), (11, 29)], vec![(11, 30), (3, 29)]),
        ] {
            assert!(inside.iter().all(|(hour, minute)| trains(text, *hour, *minute)), "{text}");
            assert!(outside.iter().all(|(hour, minute)| !trains(text, *hour, *minute)), "{text}");
        }
    }

    #[test]
    fn what_names_no_hours_is_refused_with_an_example() {
        for text in
            ["22:00", "22-06", "24:00-06:00", "2:00-06:00", "22:00-06:60", "22:00-06:00 CET", "+1:-0:00"]
        {
            assert!(Hours::parse(text).unwrap_err().contains("22:00-06:00"), "{text}");
        }
        assert!(Hours::parse("06:00-06:00").unwrap_err().contains("leave the setting empty"));
        assert_eq!(check(""), Ok(()));
    }
}
