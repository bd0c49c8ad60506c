//! Cutting plain text into words, the way annotated corpora are cut.
//!
//! For prediction on text that a person typed: a tagger trained on word-separated files must see its input cut alike.
//! Punctuation stands alone, except inside numbers, abbreviations and hyphenated words; so does every Chinese letter.

use std::ops::Range;

/// Most words taken from one text.
pub const WORDS_MAX: usize = 100_000;

/// The words of a text, as byte ranges, in order.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for (place, letter) in text.char_indices() {
        if letter.is_whitespace() || letter.is_control() {
            if let Some(start) = start.take() {
                cut(text, start..place, &mut found);
            }
        } else if is_ideograph(letter) {
            if let Some(start) = start.take() {
                cut(text, start..place, &mut found);
            }
            found.push(place..place + letter.len_utf8());
        } else if start.is_none() {
            start = Some(place);
        }
        if found.len() >= WORDS_MAX {
            found.truncate(WORDS_MAX);
            return found;
        }
    }
    if let Some(start) = start {
        cut(text, start..text.len(), &mut found);
    }
    found.truncate(WORDS_MAX);
    found
}

/// Cuts one run of printable letters: punctuation off both ends, `'s` off the end, the rest whole.
fn cut(text: &str, run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = run.start;
    let mut end = run.end;
    while let Some(letter) = text[start..end].chars().next().filter(|letter| is_mark(*letter)) {
        found.push(start..start + letter.len_utf8());
        start += letter.len_utf8();
    }
    let mut after = Vec::new();
    while let Some(letter) = text[start..end].chars().next_back().filter(|letter| is_mark(*letter)) {
        let rest = &text[start..end - letter.len_utf8()];
        // The point of `U.N.` or of an initial stays.
        if letter == '.'
            && (rest.contains('.') || (rest.chars().count() == 1 && rest.chars().all(char::is_uppercase)))
        {
            break;
        }
        end -= letter.len_utf8();
        after.push(end..end + letter.len_utf8());
    }
    let word = &text[start..end];
    let tail = ["'s", "’s"].iter().find(|tail| word.len() > tail.len() && word.ends_with(**tail));
    if let Some(tail) = tail {
        found.push(start..end - tail.len());
        found.push(end - tail.len()..end);
    } else if start < end {
        found.push(start..end);
    }
    found.extend(after.into_iter().rev());
}

/// Chinese letters, which are written without spaces between words.
pub fn is_ideograph(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn is_mark(letter: char) -> bool {
    letter.is_ascii_punctuation() && !matches!(letter, '$' | '%' | '#' | '@' | '&' | '+' | '-' | '/' | '_')
        || matches!(
            letter,
            '“' | '”' | '‘' | '’' | '«' | '»' | '…' | '。' | '，' | '、' | '！' | '？' | '：' | '；'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_into(text: &str) -> Vec<&str> {
        words(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn punctuation_stands_alone_except_inside_words() {
        assert_eq!(
            cut_into("J. Haldon's \"U.N.\" team (3-1, $4.2) won, again."),
            [
                "J.", "Haldon", "'s", "\"", "U.N.", "\"", "team", "(", "3-1", ",", "$4.2", ")", "won", ",",
                "again", "."
            ]
        );
        assert_eq!(cut_into("  \t\n "), Vec::<&str>::new());
        assert_eq!(cut_into("..."), [".", ".", "."]);
        assert_eq!(cut_into("東京。abc京"), ["東", "京", "。", "abc", "京"]);
    }

    #[test]
    fn ranges_are_in_order_and_hold_no_space() {
        let text = "a 'b' «c…»  d\u{a0}e ’s '";
        let found = words(text);
        assert!(found.windows(2).all(|two| two[0].end <= two[1].start));
        assert!(found.iter().all(|range| !text[range.clone()].contains(char::is_whitespace)));
    }
}
