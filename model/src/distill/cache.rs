//! Teachers' answers on disk, so that a second student or a second try does not ask again.
//!
//! An entry is named by a fingerprint of everything the answers depend on (parameters, architecture, tokenizer, inputs):
//! whatever changes, another entry is meant, and an old one can never be taken for it. A file that is not whole is no
//! entry. Nothing is ever deleted here; the folder belongs to whoever named it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::params::checkpoint::replace;
use crate::task::answers::Answers;

const CONTEXT: &str = "starling teacher answers fingerprint v1";
const MAGIC: &[u8; 20] = b"starling-answers-01\n";

/// Largest file read, bytes.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// Collects what answers depend on.
#[derive(Debug, Clone)]
pub struct Fingerprint(blake3::Hasher);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(blake3::Hasher::new_derive_key(CONTEXT))
    }
}

impl Fingerprint {
    /// Adds a part; parts are told apart by their lengths, so that no two lists of parts look alike.
    pub fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds parameters, bit by bit.
    pub fn add_numbers(&mut self, numbers: &[f32]) -> &mut Self {
        self.0.update(&(4 * numbers.len() as u64).to_le_bytes());
        let mut bytes = Vec::with_capacity(1 << 16);
        for numbers in numbers.chunks(1 << 14) {
            bytes.clear();
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            self.0.update(&bytes);
        }
        self
    }

    /// The file of the entry in a folder.
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.answers", self.0.finalize().to_hex()))
    }
}

/// The answers under a fingerprint; nothing where there is no whole entry.
///
/// # Errors
/// The folder cannot be read.
pub fn load(dir: &Path, fingerprint: &Fingerprint) -> Result<Option<Answers>> {
    let path = fingerprint.path(dir);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(decode(&bytes)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("read", &path, source)),
    }
}

/// Keeps answers under a fingerprint; the file appears whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub fn store(dir: &Path, fingerprint: &Fingerprint, answers: &Answers) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|source| Error::io("write", dir, source))?;
    let bytes = encode(answers);
    replace(&fingerprint.path(dir), |out| out.write_all(&bytes))
}

/// Magic, labels (u32), examples (u64), units by example (u32 each), probabilities (f32 each), blake3 of all before.
fn encode(answers: &Answers) -> Vec<u8> {
    let lengths = answers.lengths();
    let mut bytes = MAGIC.to_vec();
    bytes.extend((answers.labels() as u32).to_le_bytes());
    bytes.extend((lengths.len() as u64).to_le_bytes());
    bytes.extend(lengths.iter().flat_map(|length| (*length as u32).to_le_bytes()));
    bytes.extend(answers.values().iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend(blake3::hash(&bytes).as_bytes());
    bytes
}

/// Nothing for bytes that are not exactly what [`encode`] writes.
fn decode(bytes: &[u8]) -> Option<Answers> {
    let (body, hash) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let (labels, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (examples, rest) = rest.split_first_chunk::<8>()?;
    let examples = usize::try_from(u64::from_le_bytes(*examples)).ok()?;
    let (lengths, values) = rest.split_at_checked(examples.checked_mul(4)?)?;
    let lengths: Vec<usize> =
        lengths.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect();
    let (values, odd) = values.as_chunks::<4>();
    if !odd.is_empty() {
        return None;
    }
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Answers::new(u32::from_le_bytes(*labels) as usize, &lengths, values).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Answers::new(2, &[2, 0, 1], vec![1.0, 0.0, 0.5, 0.5, 0.25, 0.75]).unwrap()
    }

    fn fingerprint(parts: &[&str]) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        parts.iter().for_each(|part| {
            fingerprint.add(part.as_bytes());
        });
        fingerprint
    }

    #[test]
    fn answers_are_read_back_under_their_own_fingerprint_only() {
        let dir = tempfile::tempdir().unwrap();
        let own = fingerprint(&["teacher", "data"]);
        assert_eq!(load(dir.path(), &own).unwrap(), None);
        store(dir.path(), &own, &answers()).unwrap();
        assert_eq!(load(dir.path(), &own).unwrap(), Some(answers()));
        for other in
            [fingerprint(&["teacher", "other data"]), fingerprint(&["teacherdata"]), fingerprint(&[])]
        {
            assert_eq!(load(dir.path(), &other).unwrap(), None);
        }
        let mut numbers = Fingerprint::default();
        numbers.add_numbers(&[1.0, 2.0]);
        let mut nearly = Fingerprint::default();
        nearly.add_numbers(&[1.0, f32::from_bits(2.0_f32.to_bits() + 1)]);
        assert_ne!(numbers.path(dir.path()), nearly.path(dir.path()));
    }

    #[test]
    fn a_file_cut_short_or_changed_anywhere_is_no_entry() {
        let whole = encode(&answers());
        assert_eq!(decode(&whole), Some(answers()));
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "{length}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert_eq!(decode(&changed), None, "{place}");
        }
    }

    #[test]
    fn a_file_whose_hash_fits_rubbish_is_no_entry_either() {
        for (labels, examples, rest) in
            [(2_u32, u64::MAX, &[0_u8; 8][..]), (0, 1, &[1, 0, 0, 0]), (2, 0, &[0, 0])]
        {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(labels.to_le_bytes());
            bytes.extend(examples.to_le_bytes());
            bytes.extend(rest);
            bytes.extend(blake3::hash(&bytes).as_bytes());
            assert_eq!(decode(&bytes), None);
        }
    }
}
