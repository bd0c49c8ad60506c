//! Continuing a text, token by token, as they come.

use crate::arch::cache::Cache;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::generate::sample::Sampling;
use crate::seed::Seed;
use crate::task::logits::Continues;

/// Writes up to `tokens` tokens behind the prompt and hands over each new piece of text; stops when `take` says so, or
/// when the model can read no further. Answers the whole continuation.
///
/// # Errors
/// The prompt is empty or longer than the model reads, a setting means nothing, or the model fails.
pub fn continue_text(
    model: &mut impl Continues,
    tokenizer: &Tokenizer,
    prompt: &str,
    tokens: usize,
    sampling: &Sampling,
    seed: &Seed,
    mut take: impl FnMut(&str) -> bool,
) -> Result<String> {
    sampling.validate()?;
    let mut next = tokenizer.encode_plain(prompt)?;
    if next.is_empty() {
        return Err(Error::config("prompt", "expected a text to begin with, found none"));
    }
    let mut rng = seed.fork("generate").rng();
    let mut cache = Cache::default();
    let (mut written, mut shown) = (Vec::new(), String::new());
    for _ in 0..tokens {
        if cache.ids.len() + next.len() > model.tokens_max() && !written.is_empty() {
            break;
        }
        let logits = model.extend(&next, &mut cache)?;
        let Some(token) = sampling.draw(&logits, &mut rng) else {
            return Err(Error::NotFinite {
                what: "every logit".into(),
                remedy: "the parameters are damaged or training diverged: go back to an earlier checkpoint"
                    .into(),
            });
        };
        written.push(token);
        next = vec![token];
        // Half a letter decodes to a replacement sign: it is held back until its other half has come.
        let whole = tokenizer.decode(&written)?;
        if !whole.ends_with('\u{fffd}')
            && let Some(piece) = whole.strip_prefix(shown.as_str())
        {
            let goes_on = take(piece);
            shown = whole;
            if !goes_on {
                break;
            }
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenize::train::{TrainOptions, train_bpe};

    /// Expects the token after the last one it read, and reads at most 40.
    struct Counting {
        labels: usize,
    }

    impl Continues for Counting {
        fn tokens_max(&self) -> usize {
            40
        }

        fn extend(&mut self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>> {
            cache.ids.extend_from_slice(ids);
            let mut logits = vec![0.0; self.labels];
            logits[(*ids.last().unwrap() as usize + 1) % self.labels] = 30.0;
            Ok(logits)
        }
    }

    #[test]
    fn pieces_come_in_order_and_end_with_the_models_room_or_on_request() {
        let tokenizer =
            train_bpe(["abc abd"], &TrainOptions { vocabulary: 261, ..TrainOptions::default() }).unwrap();
        let mut model = Counting { labels: tokenizer.vocabulary() };
        let likeliest = Sampling { temperature: 0.0, ..Sampling::default() };
        let mut write = |tokens: usize, stop: usize| {
            let mut pieces = String::new();
            let mut count = 0;
            let take = |piece: &str| {
                pieces.push_str(piece);
                count += 1;
                count < stop
            };
            let seed = Seed::from_u64(1);
            let whole = continue_text(&mut model, &tokenizer, "a", tokens, &likeliest, &seed, take).unwrap();
            assert_eq!(whole, pieces);
            whole
        };
        assert_eq!(write(3, 99), "bcd");
        assert_eq!(write(30, 2), "bc");
        assert!(write(1000, 9999).chars().count() < 45);
        let seed = Seed::from_u64(1);
        assert!(continue_text(&mut model, &tokenizer, "", 3, &likeliest, &seed, |_| true).is_err());
    }
}
