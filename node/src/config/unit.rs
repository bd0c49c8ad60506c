//! Sizes and times with units: `8 MiB`, `30 s`.
//!
//! A number without its unit is refused, because a reader cannot know whether 30 means seconds or milliseconds.

use std::time::Duration;

const TIMES: [(&str, u64); 10] = [
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("seconds", 1_000),
    ("min", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("days", 86_400_000),
];
const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a time such as `500 ms`, `1.5 min`, `2 h`.
pub fn time(text: &str) -> Result<Duration, String> {
    amount(text, &TIMES, "a time such as \"30 s\" (units ms, s, min, h, d)").map(Duration::from_millis)
}

/// Reads a size in bytes such as `8 MiB`, `1.5 GB`.
pub fn size(text: &str) -> Result<u64, String> {
    amount(text, &SIZES, "a size such as \"8 MiB\" (units B, kB, MB, GB, KiB, MiB, GiB, TiB)")
}

/// Writes a time with the largest unit that gives a whole number.
pub fn show_time(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
    show(ms, &units)
}

/// Writes a size with the largest binary unit that gives a whole number.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)])
}

/// Writes a size for people, three digits and a decimal unit: `6.10 MB`.
pub fn approximate_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            let digits = if unit == "B" || value >= 99.95 { 0 } else { usize::from(value < 9.995) + 1 };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes every size")
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, scale)| amount > 0 && amount.is_multiple_of(*scale));
    let (unit, scale) = fits.or(units.last()).expect("a list of units is not empty");
    format!("{} {unit}", amount / scale)
}

fn amount(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let shown: String = text.chars().take(40).collect();
    let wrong = || format!("expected {expected}, found {shown:?}");
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
    if text.starts_with('-') {
        return Err(format!("{}: it is negative", wrong()));
    }
    if unit.is_empty() {
        return Err(format!("{}: the unit is missing", wrong()));
    }
    let named = |exact: bool| {
        units.iter().find(|(name, _)| if exact { *name == unit } else { name.eq_ignore_ascii_case(unit) })
    };
    let &(_, scale) = named(true).or_else(|| named(false)).ok_or_else(wrong)?;
    let too_large = || format!("{}: it is too large", wrong());
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(too_large);
    }
    let is_decimal = number.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    let value = number.parse::<f64>().ok().filter(|_| is_decimal);
    let Some(value) = value else {
        let is_whole = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        return Err(if is_whole { too_large() } else { wrong() });
    };
    let scaled = (value * scale as f64).round();
    if scaled < 1e18 { Ok(scaled as u64) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        for (text, ms) in [
            ("30 s", 30_000),
            ("500ms", 500),
            ("1.5 min", 90_000),
            ("2 h", 7_200_000),
            ("1_000 ms", 1_000),
            ("0 s", 0),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, bytes) in
            [("8 MiB", 8 << 20), ("8MB", 8_000_000), ("1.5 kB", 1_500), ("0 B", 0), ("3 gib", 3 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_wrong_time_or_size_is_refused_with_an_example() {
        for text in [
            "",
            "30",
            "s",
            "-1 s",
            "1..5 s",
            ".5 s",
            "5. s",
            "30 parsecs",
            "18446744073709551615 s",
            "99999999999999999999 ms",
            "9e9 s",
            "NaN s",
            "1 s s",
        ] {
            let error = time(text).unwrap_err();
            assert!(error.contains("expected a time such as"), "{text}: {error}");
        }
        for text in ["", "8", "8 MBit", "-8 MiB", "99999999999 TiB", "99999999999.5 TiB"] {
            assert!(size(text).unwrap_err().contains("expected a size such as"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for ms in [0, 1, 999, 1_000, 90_000, 3_600_000, 86_400_000 * 3] {
            let time_shown = show_time(Duration::from_millis(ms));
            assert_eq!(time(&time_shown), Ok(Duration::from_millis(ms)), "{time_shown}");
        }
        for bytes in [0, 1, 1_000, 1 << 10, 3 << 20, (5 << 30) + 1] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (6_100_000, "6.10 MB"),
            (61_000_000, "61.0 MB"),
            (999_999, "1.00 MB"),
            (612_345, "612 kB"),
        ] {
            assert_eq!(approximate_size(bytes), text);
        }
    }
}
