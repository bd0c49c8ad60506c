//! Plain text for language models: passages with blank lines between them.
//!
//! A passage is what stays together when examples are shared or held out. Lines keep their breaks inside it.

use std::io::{BufRead, Write};
use std::path::Path;

use crate::data::example::Passage;
use crate::data::report::DataReport;
use crate::data::schema::Schema;
use crate::data::source::{self, Line, Lines};
use crate::error::{Error, Result};

/// Longest passage, bytes; a longer one is cut between lines.
pub const PASSAGE_BYTES_MAX: usize = 1 << 16;

/// Reads a file.
///
/// # Errors
/// The file cannot be read as text, or more lines are bad than the schema allows.
pub fn load(path: &Path, schema: &Schema) -> Result<(Vec<Passage>, DataReport)> {
    let (passages, report) = read(source::open(path)?, schema)?;
    match &report.refused {
        Some(reason) => Err(Error::file(path, reason.clone())),
        None => Ok((passages, report)),
    }
}

/// Reads passages without judging the file.
///
/// # Errors
/// The source fails.
pub fn read<R: BufRead>(mut lines: Lines<R>, schema: &Schema) -> Result<(Vec<Passage>, DataReport)> {
    let mut report = DataReport::new(lines.name(), "text");
    let mut passages = Vec::new();
    let mut open = String::new();
    let mut close = |open: &mut String| {
        if !open.is_empty() {
            passages.push(Passage { text: std::mem::take(open), topic: None });
        }
    };
    while let Some(line) = lines.next_line()? {
        let text = match line {
            Line::Text(_, text) => text,
            Line::Bad(number, reason) => {
                report.skip(number, reason);
                continue;
            }
        };
        let text = text.trim_end();
        if text.trim().is_empty() {
            close(&mut open);
            continue;
        }
        if open.len() + text.len() > PASSAGE_BYTES_MAX {
            close(&mut open);
        }
        if !open.is_empty() {
            open.push('\n');
        }
        open.push_str(text);
        report.rows += 1;
        report.good += 1;
        report.words += text.split_whitespace().count() as u64;
    }
    close(&mut open);
    report.documents = passages.len() as u64;
    report.settle_plain(schema.bad_share_max);
    Ok((passages, report))
}

/// Writes passages so that [`read`] gives them back; their topics are not written.
///
/// # Errors
/// The writer fails.
pub fn write(out: &mut impl Write, passages: &[Passage]) -> std::io::Result<()> {
    for (number, passage) in passages.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", passage.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::schema::TaskKind;

    fn passages(text: &[u8]) -> (Vec<Passage>, DataReport) {
        read(Lines::new(text, "t.txt".into()).unwrap(), &Schema::new(TaskKind::Language)).unwrap()
    }

    #[test]
    fn blank_lines_part_passages_and_line_breaks_stay() {
        let (read, report) = passages(b"\nFirst:\nHear me.\n \n\nAll:\nSpeak.\n");
        assert_eq!(
            read.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(),
            ["First:\nHear me.", "All:\nSpeak."]
        );
        assert_eq!((report.good, report.words, report.documents), (4, 5, 2));
        let mut written = Vec::new();
        write(&mut written, &read).unwrap();
        assert_eq!(passages(&written).0, read);
    }

    #[test]
    fn a_file_that_is_not_text_is_refused_and_a_long_passage_is_cut() {
        let (read, report) = passages(b"\x80\x81\nfine\n");
        assert_eq!(read.len(), 1);
        assert!(report.refused.is_some(), "{report}");
        let long = format!("{}\n", "word word word\n".repeat(10_000));
        let (read, _) = passages(long.as_bytes());
        assert!(read.len() == 3 && read.iter().all(|p| p.text.len() <= PASSAGE_BYTES_MAX));
    }
}
