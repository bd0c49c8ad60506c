//! Learning word pieces from word counts by joining the most frequent pair, again and again (Sennrich et al. 2016).
//!
//! The tokenizer library's own trainer numbers some tokens in the order of a hash map, so two processes can learn
//! different vocabularies from one corpus; this one gives equal output for equal input everywhere: ties are broken by
//! the text of the pair.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use crate::data::words::is_ideograph;

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// Single letters, sorted, then joined pieces in the order they were learned.
    pub tokens: Vec<String>,
    /// The pairs that were joined, in order.
    pub merges: Vec<(String, String)>,
}

/// How to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learning {
    /// Tokens to stop at.
    pub tokens_max: usize,
    /// A pair met less often is not joined.
    pub count_min: u64,
    /// Letters beyond this many are left out, the rarest first.
    pub letters_max: usize,
    /// What marks a piece that does not begin a word: `##`, or nothing.
    pub prefix: &'static str,
}

/// Learns pieces from words and how often each occurs; `letters` are taken in even if no word has them.
pub fn learn(words: &BTreeMap<String, u64>, letters: &[char], how: &Learning) -> Pieces {
    let mut learner = Learner::new(words, letters, how);
    learner.run(how);
    Pieces { tokens: learner.tokens, merges: learner.merges }
}

type Pair = (u32, u32);

/// A pair to join, ordered by count, then by text (smaller first).
#[derive(PartialEq, Eq)]
struct Candidate {
    count: u64,
    text: (String, String),
    pair: Pair,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.count.cmp(&other.count).then_with(|| other.text.cmp(&self.text))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Learner {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
    merges: Vec<(String, String)>,
    words: Vec<(Vec<u32>, u64)>,
    // Only looked up, never walked through: the order of a hash map must not reach the result.
    counts: HashMap<Pair, u64>,
    places: HashMap<Pair, Vec<u32>>,
    heap: BinaryHeap<Candidate>,
}

impl Learner {
    fn new(words: &BTreeMap<String, u64>, letters: &[char], how: &Learning) -> Self {
        let mut frequency: BTreeMap<char, u64> = letters.iter().map(|letter| (*letter, u64::MAX)).collect();
        for (word, count) in words {
            for letter in word.chars() {
                let entry = frequency.entry(letter).or_default();
                *entry = entry.saturating_add(*count);
            }
        }
        let mut kept: Vec<(char, u64)> = frequency.into_iter().collect();
        kept.sort_by_key(|(letter, count)| (std::cmp::Reverse(*count), *letter));
        kept.truncate(how.letters_max);
        let mut tokens: Vec<String> = kept
            .iter()
            .flat_map(|(letter, _)| {
                // Chinese letters are cut apart before: one of them never goes on a word.
                let inside = (!is_ideograph(*letter)).then(|| format!("{}{letter}", how.prefix));
                [Some(letter.to_string()), inside]
            })
            .flatten()
            .collect();
        tokens.sort();
        tokens.dedup();
        let ids: HashMap<String, u32> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
        let words = words
            .iter()
            .filter_map(|(word, count)| {
                let pieces: Option<Vec<u32>> = word
                    .chars()
                    .enumerate()
                    .map(|(place, letter)| {
                        let prefix = if place == 0 { "" } else { how.prefix };
                        ids.get(&format!("{prefix}{letter}")).copied()
                    })
                    .collect();
                pieces.map(|pieces| (pieces, *count))
            })
            .collect();
        Self {
            tokens,
            ids,
            merges: Vec::new(),
            words,
            counts: HashMap::new(),
            places: HashMap::new(),
            heap: BinaryHeap::new(),
        }
    }

    fn run(&mut self, how: &Learning) {
        let mut met = Vec::new();
        for (number, (pieces, count)) in self.words.iter().enumerate() {
            for pair in pieces.windows(2) {
                let pair = (pair[0], pair[1]);
                *self.counts.entry(pair).or_default() += count;
                let places = self.places.entry(pair).or_default();
                if places.last() != Some(&(number as u32)) {
                    places.push(number as u32);
                }
                met.push(pair);
            }
        }
        met.sort_unstable();
        met.dedup();
        for pair in met {
            self.offer(pair);
        }
        while self.tokens.len() < how.tokens_max {
            let Some(best) = self.heap.pop() else { break };
            // Counts only fall between being offered and being popped; a stale entry is offered again.
            let now = self.counts.get(&best.pair).copied().unwrap_or(0);
            if now != best.count {
                self.offer(best.pair);
                continue;
            }
            if now < how.count_min.max(1) {
                break;
            }
            self.join(best, how.prefix);
        }
    }

    fn offer(&mut self, pair: Pair) {
        let count = self.counts.get(&pair).copied().unwrap_or(0);
        if count > 0 {
            let text = (self.tokens[pair.0 as usize].clone(), self.tokens[pair.1 as usize].clone());
            self.heap.push(Candidate { count, text, pair });
        }
    }

    fn join(&mut self, best: Candidate, prefix: &str) {
        let pair = best.pair;
        let joined = format!("{}{}", best.text.0, best.text.1.strip_prefix(prefix).unwrap_or(&best.text.1));
        let next = self.tokens.len() as u32;
        let id = *self.ids.entry(joined.clone()).or_insert(next);
        if id == next {
            self.tokens.push(joined);
        }
        self.merges.push(best.text);
        let mut changed = Vec::new();
        for number in self.places.remove(&pair).unwrap_or_default() {
            let (pieces, count) = &mut self.words[number as usize];
            if !pieces.windows(2).any(|two| (two[0], two[1]) == pair) {
                continue; // an earlier join took the pair apart
            }
            for two in pieces.windows(2) {
                if let Some(total) = self.counts.get_mut(&(two[0], two[1])) {
                    *total -= *count;
                }
            }
            let mut read = 0;
            let mut written = Vec::with_capacity(pieces.len());
            while read < pieces.len() {
                if read + 1 < pieces.len() && (pieces[read], pieces[read + 1]) == pair {
                    written.push(id);
                    read += 2;
                } else {
                    written.push(pieces[read]);
                    read += 1;
                }
            }
            *pieces = written;
            for two in pieces.windows(2) {
                let two = (two[0], two[1]);
                *self.counts.entry(two).or_default() += *count;
                if two.0 == id || two.1 == id {
                    let places = self.places.entry(two).or_default();
                    if places.last() != Some(&number) {
                        places.push(number);
                    }
                    changed.push(two);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for two in changed {
            self.offer(two);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(tokens_max: usize, prefix: &'static str) -> Learning {
        Learning { tokens_max, count_min: 2, letters_max: 1000, prefix }
    }

    fn words(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
        list.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    #[test]
    fn the_most_frequent_pair_is_joined_first_and_ties_by_text() {
        let pieces =
            learn(&words(&[("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)]), &[], &how(100, ""));
        let joined: Vec<String> =
            pieces.merges.iter().take(4).map(|(left, right)| format!("{left}+{right}")).collect();
        // e-s and s-t occur 9 times each: e-s comes first by text.
        assert_eq!(joined, ["e+s", "es+t", "l+o", "lo+w"]);
        assert!(pieces.tokens.contains(&"est".to_owned()));
    }

    #[test]
    fn continuing_pieces_carry_the_prefix_and_rare_pairs_are_left() {
        let pieces = learn(&words(&[("abab", 3), ("xy", 1)]), &[], &how(100, "##"));
        assert!(pieces.tokens.contains(&"##b".to_owned()));
        assert!(pieces.tokens.contains(&"abab".to_owned()));
        assert!(!pieces.tokens.contains(&"xy".to_owned()));
    }

    #[test]
    fn the_vocabulary_stops_at_its_limit_and_leaves_rare_letters_out() {
        let many = words(&[("abcdefgh", 9), ("hgfedcba", 8), ("z", 1)]);
        assert_eq!(learn(&many, &[], &how(20, "##")).tokens.len(), 20);
        let pieces = learn(&many, &['q'], &Learning { letters_max: 9, ..how(100, "##") });
        assert!(pieces.tokens.contains(&"q".to_owned()) && !pieces.tokens.contains(&"z".to_owned()));
    }

    #[test]
    fn joining_counts_stay_those_of_a_recount() {
        // A run of one letter makes overlapping pairs, where book-keeping goes wrong most easily.
        let list = words(&[("aaaaaaa", 5), ("aaab", 4), ("baaa", 3)]);
        let mut learner = Learner::new(&list, &[], &how(100, ""));
        learner.run(&how(6, ""));
        let mut recount: BTreeMap<Pair, u64> = BTreeMap::new();
        for (pieces, count) in &learner.words {
            for two in pieces.windows(2) {
                *recount.entry((two[0], two[1])).or_default() += count;
            }
        }
        for (pair, count) in &learner.counts {
            assert_eq!(recount.get(pair).copied().unwrap_or(0), *count, "{pair:?}");
        }
    }
}
