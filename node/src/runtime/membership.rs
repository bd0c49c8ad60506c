//! What makes a node a member besides the charter's list, on its disk: its credential, and the revocation list.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use protocol::codec::{Decode, Encode, decode_manifest, encode};
use protocol::id::RunId;
use protocol::limits::FILE_PIECE_BYTES;
use protocol::wire::credential::Credential;
use protocol::wire::sealed::CoSigned;
use thiserror::Error;

use crate::store::atomic::{Durability, replace};
use crate::store::disk::{RealDisk, read_capped};

/// Largest of these files, bytes.
const BYTES_MAX: u64 = 64 << 10;

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum MembershipError {
    /// The system refused.
    #[error("could not {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("{path} does not decode; restore it from a backup, or ask for a new invitation", path = .0.display())]
    Contents(PathBuf),
}

/// Where the credential of a node for a run is.
pub fn credential_path(dir: &Path, run: RunId) -> PathBuf {
    dir.join(format!("membership-{}", run.short()))
}

/// Where the newest revocation list that an operator gave is.
pub fn revocation_path(dir: &Path, run: RunId) -> PathBuf {
    dir.join(format!("revocation-{}", run.short()))
}

/// Reads the credential; `None` where there is none.
pub fn credential(dir: &Path, run: RunId) -> Result<Option<Credential>, MembershipError> {
    read(credential_path(dir, run))
}

/// Reads the revocation list; `None` where there is none.
pub fn revocation(dir: &Path, run: RunId) -> Result<Option<CoSigned>, MembershipError> {
    read(revocation_path(dir, run))
}

/// Writes one of these files whole.
pub fn write(path: &Path, value: &impl Encode) -> Result<(), MembershipError> {
    replace(&RealDisk, path, &encode(value), Durability::Machine).map_err(|source| MembershipError::Io {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

fn read<T: Encode + Decode<()>>(path: PathBuf) -> Result<Option<T>, MembershipError> {
    match read_capped(&RealDisk, &path, BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MembershipError::Io { what: "read", path, source }),
        Ok(bytes) => decode_manifest(&bytes).map(Some).map_err(|_| MembershipError::Contents(path)),
    }
}

/// The bytes behind hexadecimal digits.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// Hexadecimal digits of bytes.
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes what is written");
    }
    text
}

/// A piece of a file; empty behind its end.
pub fn read_piece(path: &Path, piece: u32) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let from = u64::from(piece) * FILE_PIECE_BYTES as u64;
    // A file system may refuse to go as far as a stranger can count.
    if from >= file.metadata()?.len() {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(FILE_PIECE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_file_make_up_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..FILE_PIECE_BYTES * 2 + 10).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let pieces: Vec<Vec<u8>> = (0..4).map(|piece| read_piece(&path, piece).unwrap()).collect();
        assert_eq!(pieces.concat(), bytes);
        assert!(pieces[3].is_empty() && read_piece(&path, u32::MAX).unwrap().is_empty());
    }

    #[test]
    fn hexadecimal_digits_read_back() {
        assert_eq!(from_hex(&to_hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        for bad in ["0", "zz", "é0", "+1"] {
            assert!(from_hex(bad).is_none(), "{bad}");
        }
    }
}
