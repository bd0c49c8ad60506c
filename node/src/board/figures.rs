//! Numbers as people read them.

/// Bytes with a unit, three digits.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            let decimals = if unit == "B" || value >= 99.95 { 0 } else { usize::from(value < 99.95) };
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes everything")
}

/// A fraction as a percentage, with more digits the smaller it is.
pub fn percent(share: f64) -> String {
    let value = 100.0 * share;
    match value.abs() {
        v if !v.is_finite() => "-".to_owned(),
        v if v >= 100.0 => format!("{value:.0} %"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.1} %"),
        v if v >= 0.01 => format!("{value:.2} %"),
        v if v >= 0.000_1 => format!("{value:.4} %"),
        // Models that settled are this alike; zeros would hide it.
        _ => format!("{value:.1e} %"),
    }
}

/// A score or loss, three decimals.
pub fn score(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "-".to_owned() }
}

/// A span of time in its two largest units.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

/// Time of day in UTC of seconds since 1970.
pub fn time_of_day(t: f64) -> String {
    let s = t.max(0.0) as u64 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

/// The first eight digits of a key.
pub fn short(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}

/// A number with thousands apart.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A running mean in which what is newer counts more: the newest three tenths; the first value stands as it is.
pub fn running_mean(before: Option<f64>, newest: f64) -> f64 {
    before.map_or(newest, |before| before + 0.3 * (newest - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_size_and_lose_their_tail() {
        for (n, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB"), (99_970, "100 kB")]
        {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(bytes(u64::MAX), "18446744 TB");
        assert_eq!(
            (percent(0.0042), percent(0.5), percent(f64::NAN)),
            ("0.42 %".into(), "50.0 %".into(), "-".into())
        );
        assert_eq!(percent(4.8e-7), "4.8e-5 %");
        assert_eq!((percent(0.000_012_3), percent(0.0)), ("0.0012 %".into(), "0.0 %".into()));
        assert_eq!((duration(59.9), duration(3_700.0)), ("59 s".into(), "1 h 1 min".into()));
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(time_of_day(86_399.0), "23:59:59");
    }
}
