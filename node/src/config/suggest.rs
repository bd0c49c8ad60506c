//! Finds the word somebody probably meant.

/// The closest of some words, when it is close enough to be meant.
pub fn closest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let short: String = found.chars().take(64).collect();
    let near = known.into_iter().map(|word| (distance(&short, word), word));
    let (distance, word) = near.min_by_key(|&(d, word)| (d, word.len()))?;
    (distance <= 1 + short.chars().count().min(word.chars().count()) / 4).then_some(word)
}

/// Letters inserted, left out, replaced or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let known = ["listen", "bootstrap", "links_max", "quic", "mdns"];
        for (found, meant) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("bootstraps", Some("bootstrap")),
            ("link_max", Some("links_max")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(found, known), meant, "{found}");
        }
        assert_eq!(closest(&"x".repeat(1_000_000), known), None);
        assert_eq!(closest("a", []), None);
    }
}
