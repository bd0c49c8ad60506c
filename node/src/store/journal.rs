//! A file of frames: the journal of a node's inputs, written while it runs and read when it is replayed.
//!
//! It deliberately survives only what it must: a crash costs the frames of the last moment, and a full disk ends the
//! journal, never the node. The length of the file is bounded; when it is reached, what follows is not recorded.
//!
//! File: 21 bytes `starling-journal-01\r\n`, then per frame `length: u32 LE` and `length` bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::store::disk::private_file_options;

const MAGIC: &[u8; 21] = b"starling-journal-01\r\n";
/// Longest frame: a manifest with room for what is around it.
const FRAME_BYTES_MAX: usize = 8 << 20;
/// Ending of the journal that a newer one takes the place of.
const OLDER: &str = "old";

/// A journal being written.
pub struct JournalFile {
    to: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
}

/// A journal being read.
pub struct Frames {
    from: BufReader<File>,
    /// Whether the last frame was cut short.
    pub is_torn: bool,
}

impl JournalFile {
    /// Starts a journal of at most `bytes_max` bytes; one that stands there already becomes `FILE.old`.
    pub fn create(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if path.exists() {
            std::fs::rename(path, older(path))?;
        }
        let file = private_file_options().write(true).create_new(true).open(path)?;
        let mut to = BufWriter::with_capacity(64 << 10, file);
        to.write_all(MAGIC)?;
        Ok(Self { to, bytes: MAGIC.len() as u64, bytes_max })
    }

    /// Whether a frame of this many bytes, and a last one, still fit.
    pub fn has_room(&self, bytes: usize, last: usize) -> bool {
        self.bytes + (bytes + last + 8) as u64 <= self.bytes_max
    }

    /// Adds a frame.
    pub fn put(&mut self, frame: &[u8]) -> io::Result<()> {
        assert!(frame.len() <= FRAME_BYTES_MAX, "inputs are far smaller than a frame may be");
        self.to.write_all(&(frame.len() as u32).to_le_bytes())?;
        self.to.write_all(frame)?;
        self.bytes += frame.len() as u64 + 4;
        Ok(())
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Frames {
    /// Opens a journal.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut from = BufReader::with_capacity(64 << 10, File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if &magic == MAGIC => Ok(Self { from, is_torn: false }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a journal of this program")),
        }
    }
}

impl Iterator for Frames {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut length = Vec::with_capacity(4);
        if let Err(error) = (&mut self.from).take(4).read_to_end(&mut length) {
            return Some(Err(error));
        }
        let Ok(length) = <[u8; 4]>::try_from(length.as_slice()) else {
            self.is_torn = !length.is_empty();
            return None;
        };
        let length = u32::from_le_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            let why = format!("expected a frame of at most {FRAME_BYTES_MAX} bytes, found {length}");
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let mut frame = Vec::new();
        match (&mut self.from).take(length as u64).read_to_end(&mut frame) {
            Err(error) => Some(Err(error)),
            Ok(read) if read < length => {
                self.is_torn = true;
                None
            }
            Ok(_) => Some(Ok(frame)),
        }
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(OLDER);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (Vec<Vec<u8>>, bool) {
        let mut frames = Frames::open(path).unwrap();
        let all = frames.by_ref().map(Result::unwrap).collect();
        (all, frames.is_torn)
    }

    #[test]
    fn frames_read_back_up_to_where_the_file_was_cut_and_an_older_journal_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let frames: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; 10 * n as usize]).collect();
        let mut journal = JournalFile::create(&path, 1_000).unwrap();
        frames.iter().for_each(|frame| journal.put(frame).unwrap());
        journal.flush().unwrap();
        assert_eq!(read(&path), (frames.clone(), false));
        let bytes = std::fs::read(&path).unwrap();
        let whole = |length: usize| {
            let mut end = MAGIC.len();
            frames
                .iter()
                .take_while(|f| {
                    end += 4 + f.len();
                    end <= length
                })
                .count()
        };
        for length in MAGIC.len()..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let (found, is_torn) = read(&path);
            assert_eq!(found, frames[..whole(length)], "cut at {length}");
            let end: usize = MAGIC.len() + found.iter().map(|f| 4 + f.len()).sum::<usize>();
            assert_eq!(is_torn, end != length, "cut at {length}");
        }
        std::fs::write(&path, &bytes[..5]).unwrap();
        assert!(Frames::open(&path).is_err());
        let mut second = JournalFile::create(&path, 1_000).unwrap();
        second.put(b"new").unwrap();
        second.flush().unwrap();
        assert_eq!(read(&path), (vec![b"new".to_vec()], false));
        assert_eq!(std::fs::read(older(&path)).unwrap(), bytes[..5]);
    }

    #[test]
    fn a_frame_that_claims_to_be_larger_than_any_is_refused_without_memory_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, [&MAGIC[..], &u32::MAX.to_le_bytes(), b"x"].concat()).unwrap();
        assert!(Frames::open(&path).unwrap().next().unwrap().is_err());
    }

    #[test]
    fn a_journal_tells_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::create(&dir.path().join("journal"), 100).unwrap();
        let mut written = 0;
        while journal.has_room(10, 5) {
            journal.put(&[0; 10]).unwrap();
            written += 1;
        }
        journal.put(&[0; 5]).unwrap();
        journal.flush().unwrap();
        assert_eq!(written, 5);
        assert!(std::fs::metadata(dir.path().join("journal")).unwrap().len() <= 100);
    }
}
