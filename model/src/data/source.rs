//! Lines of a text file that may be anything.
//!
//! Opens only regular files (a pipe would block, a device would never end), accepts UTF-8 with or without byte order
//! mark and with any line ends, caps the length of a line, and turns what is wrong with one line into a bad row instead
//! of an end. It knows no format.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use crate::data::report::DataReport;
use crate::error::{Error, Result};

/// Longest line that is read, in bytes; a longer one is skipped as a bad row without being kept in memory.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 8 << 30;

/// One line, or why it is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Its number from 1, and its text without the line end.
    Text(u64, String),
    /// Its number and what is wrong with it.
    Bad(u64, String),
}

/// Reads line after line.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    name: String,
    number: u64,
}

/// Opens a file for reading by line.
///
/// # Errors
/// The path leads nowhere or in a circle, is not a regular file, is too large, or holds UTF-16.
pub fn open(path: &Path) -> Result<Lines<BufReader<File>>> {
    check_regular(path)?;
    let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    Lines::new(BufReader::with_capacity(1 << 16, file), path.display().to_string())
}

/// Refuses what is not a regular file of a bearable size; follows symbolic links.
pub fn check_regular(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(|source| {
        // ELOOP has no stable kind of its own in this Rust.
        if source.kind() != ErrorKind::NotFound && source.to_string().contains("symbolic link") {
            return Error::file(path, "symbolic links lead in a circle; point the path at the file itself");
        }
        Error::io("open", path, source)
    })?;
    if metadata.is_dir() {
        return Err(Error::file(path, "expected a file, found a folder"));
    }
    if !metadata.is_file() {
        return Err(Error::file(
            path,
            "expected a regular file, found a pipe, socket or device; copy the data into a file",
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Error::file(
            path,
            format!("expected at most {FILE_BYTES_MAX} bytes, found {}; split the file", metadata.len()),
        ));
    }
    Ok(())
}

impl<R: BufRead> Lines<R> {
    /// Reads from any source; `name` is used in messages.
    ///
    /// # Errors
    /// The source fails, or holds UTF-16 (by its byte order mark, or by many NUL bytes at its beginning).
    pub fn new(mut reader: R, name: String) -> Result<Self> {
        let failed = |source| Error::Io { action: "read", path: name.clone().into(), source };
        let start = reader.fill_buf().map_err(failed)?;
        let nul = start.iter().take(512).filter(|byte| **byte == 0).count();
        let sampled = start.len().min(512);
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) || nul * 5 > sampled.max(1) {
            return Err(Error::Data {
                file: name,
                line: 0,
                reason: "expected UTF-8 text, found UTF-16 or binary data; save the file as UTF-8".into(),
            });
        }
        if start.starts_with(&[0xef, 0xbb, 0xbf]) {
            reader.consume(3);
        }
        Ok(Self { reader, name, number: 0 })
    }

    /// The name used in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number and text of the next line that is not blank, or nothing at the end; lines that are none are skipped and go
    /// into the report.
    ///
    /// # Errors
    /// The source fails while reading.
    pub fn next_row(&mut self, report: &mut DataReport) -> Result<Option<(u64, String)>> {
        while let Some(line) = self.next_line()? {
            match line {
                Line::Text(number, text) if !text.trim().is_empty() => return Ok(Some((number, text))),
                Line::Text(..) => {}
                Line::Bad(number, reason) => report.skip(number, reason),
            }
        }
        Ok(None)
    }

    /// The next line, or nothing at the end.
    ///
    /// # Errors
    /// The source fails while reading.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut overlong = 0_u64;
        let mut any = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(source) if source.kind() == ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(Error::Io { action: "read", path: self.name.clone().into(), source });
                }
            };
            if chunk.is_empty() {
                break;
            }
            any = true;
            let (part, used, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&chunk[..end], end + 1, true),
                None => (chunk, chunk.len(), false),
            };
            if overlong > 0 || bytes.len() + part.len() > LINE_BYTES_MAX {
                overlong += (bytes.len() + part.len()) as u64;
                bytes.clear();
            } else {
                bytes.extend_from_slice(part);
            }
            self.reader.consume(used);
            if ended {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(self.judge(bytes, overlong)))
    }

    fn judge(&self, mut bytes: Vec<u8>, overlong: u64) -> Line {
        if overlong > 0 {
            return Line::Bad(
                self.number,
                format!("expected at most {LINE_BYTES_MAX} bytes in a line, found {overlong}"),
            );
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
            return Line::Bad(self.number, format!("expected text, found a NUL byte at byte {}", place + 1));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Line::Text(self.number, text),
            Err(error) => Line::Bad(
                self.number,
                format!(
                    "expected UTF-8, found another encoding at byte {} (Latin-1?); save the file as UTF-8",
                    error.utf8_error().valid_up_to() + 1
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes, "test".into()).unwrap();
        let mut out = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            out.push(line);
        }
        out
    }

    fn text(number: u64, text: &str) -> Line {
        Line::Text(number, text.into())
    }

    #[test]
    fn byte_order_mark_and_any_line_ends_are_accepted() {
        assert_eq!(read(b"\xef\xbb\xbfa\r\nb\n\nc"), [text(1, "a"), text(2, "b"), text(3, ""), text(4, "c")]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_nul_byte_or_another_encoding_spoils_one_line_only() {
        let lines = read(b"good line before\nb\0d\ncaf\xe9\nafter");
        assert!(matches!(&lines[1], Line::Bad(2, reason) if reason.contains("NUL byte at byte 2")));
        assert!(matches!(&lines[2], Line::Bad(3, reason) if reason.contains("at byte 4 (Latin-1?)")));
        assert_eq!(lines[3], text(4, "after"));
    }

    #[test]
    fn sixteen_bit_text_is_refused_with_a_remedy() {
        for bytes in [&b"\xff\xfea\0b\0"[..], b"\xfe\xff\0a\0b", b"a\0b\0c\0d\0"] {
            let error = Lines::new(bytes, "test".into()).unwrap_err().to_string();
            assert!(error.contains("save the file as UTF-8"), "{error}");
        }
    }

    #[test]
    fn a_line_of_ten_megabytes_is_skipped_and_the_next_is_read() {
        let mut bytes = vec![b'x'; 10_000_000];
        bytes.extend_from_slice(b"\nshort\n");
        let lines = read(&bytes);
        assert!(matches!(&lines[0], Line::Bad(1, reason) if reason.contains("found 10000000")));
        assert_eq!(lines[1], text(2, "short"));
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        bytes.push(b'\n');
        assert!(matches!(&read(&bytes)[0], Line::Text(1, text) if text.len() == LINE_BYTES_MAX));
    }

    #[test]
    fn folders_and_devices_are_refused_without_reading_them() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path()).unwrap_err().to_string().contains("found a folder"));
        assert!(matches!(open(&folder.path().join("absent")).unwrap_err(), Error::Io { .. }));
        #[cfg(unix)]
        {
            let zero = Path::new("/dev/zero");
            assert!(open(zero).unwrap_err().to_string().contains("pipe, socket or device"));
            let circle = folder.path().join("circle");
            std::os::unix::fs::symlink(&circle, &circle).unwrap();
            assert!(open(&circle).unwrap_err().to_string().contains("circle"));
            // A pipe nobody writes to: opening it for reading would block for ever.
            let pipe = folder.path().join("pipe");
            if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
                assert!(open(&pipe).unwrap_err().to_string().contains("pipe, socket or device"));
            }
        }
    }
}
