//! Small text files that notice any change to a byte: a title line, lines of words, a check line.
//!
//! It exists because `MANIFEST`, `CURRENT` and `sequence` decide which bytes a node trusts after a crash. It deliberately
//! protects against accidents only: who can write the file can also write the check.

use thiserror::Error;

use protocol::id::Hash;

/// Largest sealed file, bytes: a manifest of 64 long lines takes about 10 KiB.
pub const SEALED_BYTES_MAX: u64 = 64 * 1024;

/// What is wrong with a sealed file.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Broken {
    /// It holds nothing, as after a crash between creation and the first sync.
    #[error("it is empty")]
    Empty,
    /// It is no file of this kind, or of a version this program does not know.
    #[error("expected the first line {expected:?}, found {found:?}")]
    Title {
        /// The title line asked for.
        expected: String,
        /// Its beginning.
        found: String,
    },
    /// The check line is missing, or does not match what stands above it.
    #[error("its check does not match: it was cut short or changed")]
    Check,
    /// The check matches but a line is not what this program writes.
    #[error("line {0} is not understood")]
    Line(usize),
}

/// Seals lines under a title. Neither may hold a line feed.
pub fn seal(title: &str, lines: &[String]) -> String {
    let mut text = format!("{title}\n");
    for line in lines {
        assert!(!line.contains('\n'), "a line of a sealed file holds no line feed");
        text.push_str(line);
        text.push('\n');
    }
    let check = Hash(*blake3::hash(text.as_bytes()).as_bytes());
    text + &format!("check {check}\n")
}

/// The lines of a sealed file, when every byte is as it was written.
pub fn unseal<'a>(title: &str, bytes: &'a [u8]) -> Result<Vec<&'a str>, Broken> {
    if bytes.is_empty() {
        return Err(Broken::Empty);
    }
    let wrong_title = || Broken::Title {
        expected: title.into(),
        found: String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().chars().take(60).collect(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| Broken::Check)?;
    let body = text.strip_prefix(title).and_then(|rest| rest.strip_prefix('\n')).ok_or_else(wrong_title)?;
    let without_end = text.strip_suffix('\n').ok_or(Broken::Check)?;
    let check_at = without_end.rfind('\n').ok_or(Broken::Check)? + 1;
    let check = Hash(*blake3::hash(&bytes[..check_at]).as_bytes());
    if without_end[check_at..] != format!("check {check}") {
        return Err(Broken::Check);
    }
    let lines = &body[..check_at - (text.len() - body.len())];
    Ok(lines.lines().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_reads_back_and_notices_every_changed_byte_and_every_length() {
        let lines = vec!["next 128".to_string(), "blob a.bin 7 00".to_string()];
        let text = seal("starling-test 1", &lines);
        assert_eq!(unseal("starling-test 1", text.as_bytes()).unwrap(), lines);
        for at in 0..text.len() {
            assert!(unseal("starling-test 1", &text.as_bytes()[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                assert!(unseal("starling-test 1", &bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
        let longer = format!("{text}x");
        assert!(unseal("starling-test 1", longer.as_bytes()).is_err());
        assert!(unseal("starling-test 2", text.as_bytes()).is_err());
        assert_eq!(unseal("starling-test 1", seal("starling-test 1", &[]).as_bytes()).unwrap().len(), 0);
    }
}
