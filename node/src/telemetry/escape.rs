//! Makes text that somebody else chose safe to print on one line.
//!
//! A peer's name, an address or an error from afar may hold line feeds, terminal escapes or right-to-left marks. Printed
//! as it is, such text forges log lines or repaints a terminal (row B7 139 of the fault catalogue).

use std::fmt;

/// Longest remote text shown, characters; the rest is counted, not shown.
pub const SHOWN_MAX: usize = 256;

/// Displays a remote text on one line: control and formatting characters escaped, length capped.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a>(pub &'a str);

/// Whether a character could start a new line, move the cursor or reorder what is read.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every unsafe character written as `\u{..}`; a backslash stays as it is.
pub fn line(text: &str) -> String {
    Remote(text).to_string()
}

/// The same for a text of many lines, of any length: line feeds stay.
pub fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_unsafe(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

impl fmt::Display for Remote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for (shown, c) in self.0.chars().enumerate() {
            if shown == SHOWN_MAX {
                return write!(f, "... ({} bytes)", self.0.len());
            }
            if is_unsafe(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_name_cannot_forge_a_line_or_paint_the_terminal() {
        for (text, shown) in [
            ("ada", "ada"),
            ("Zoë 雪", "Zoë 雪"),
            ("a\nWARN forged", "a\\nWARN forged"),
            ("\u{1b}[2J\u{1b}[31mred", "\\u{1b}[2J\\u{1b}[31mred"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\r\tb\0", "a\\r\\tb\\u{0}"),
            ("abc\u{202e}gpj", "abc\\u{202e}gpj"),
            ("line\u{2028}two", "line\\u{2028}two"),
        ] {
            assert_eq!(line(text), shown);
        }
    }

    #[test]
    fn a_text_of_many_lines_keeps_them_and_paints_nothing() {
        let long = format!("a\nb\u{1b}[2J{}", "x".repeat(2 * SHOWN_MAX));
        let shown = lines(&long);
        assert!(shown.starts_with("a\nb\\u{1b}[2J") && shown.ends_with("xx"));
        assert!(shown.len() > 2 * SHOWN_MAX);
    }

    #[test]
    fn a_remote_text_is_capped() {
        let shown = line(&"x".repeat(1_000_000));
        assert!(shown.len() < SHOWN_MAX + 40 && shown.ends_with("(1000000 bytes)"));
    }
}
