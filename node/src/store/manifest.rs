//! The list of what a generation of saved state holds: every file with its length and hash.
//!
//! It exists so that a generation is trusted whole or not at all. It deliberately does not know what the files mean.

use std::collections::BTreeMap;

use protocol::id::{Hash, RunId};

use crate::store::sealed::{self, Broken};

/// Files in one generation at most; a node writes about five.
pub const BLOBS_MAX: usize = 64;
/// Longest name of a file in a generation, bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Name of the manifest inside a generation's folder.
pub const MANIFEST: &str = "MANIFEST";
const TITLE: &str = "starling-generation 1";

/// Length and hash of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Length, bytes.
    pub bytes: u64,
    /// blake3 of all bytes.
    pub hash: Hash,
}

/// What a generation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The run the state belongs to.
    pub run: RunId,
    /// Number of the generation, from 1.
    pub generation: u64,
    /// Files by name.
    pub blobs: BTreeMap<String, Contents>,
}

impl Manifest {
    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut lines = vec![format!("run {}", self.run), format!("generation {}", self.generation)];
        lines.extend(self.blobs.iter().map(|(name, c)| format!("blob {name} {} {}", c.bytes, c.hash)));
        sealed::seal(TITLE, &lines)
    }

    /// Reads the file; refuses anything this program would not have written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Broken> {
        let lines = sealed::unseal(TITLE, bytes)?;
        let word = |at: usize, name: &str| {
            lines.get(at).and_then(|l| l.strip_prefix(name)).ok_or(Broken::Line(at + 2))
        };
        let run = word(0, "run ")?.parse().map_err(|_| Broken::Line(2))?;
        let generation = word(1, "generation ")?.parse().map_err(|_| Broken::Line(3))?;
        let mut blobs = BTreeMap::new();
        for at in 2..lines.len() {
            let wrong = || Broken::Line(at + 2);
            let words: Vec<_> = word(at, "blob ")?.split(' ').collect();
            let &[name, length, hash] = words.as_slice() else { return Err(wrong()) };
            let contents = Contents {
                bytes: length.parse().map_err(|_| wrong())?,
                hash: hash.parse().map_err(|_| wrong())?,
            };
            if !is_blob_name(name)
                || blobs.len() == BLOBS_MAX
                || blobs.insert(name.to_string(), contents).is_some()
            {
                return Err(wrong());
            }
        }
        Ok(Self { run, generation, blobs })
    }
}

/// Whether a name may be a file of a generation: lower-case letters, digits, `-`, `_`, `.`, a letter or digit first.
pub fn is_blob_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(good)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_refuses_names_that_leave_the_folder() {
        let contents = Contents { bytes: 7, hash: Hash([3; 32]) };
        let mut manifest = Manifest {
            run: RunId(Hash([9; 32])),
            generation: 12,
            blobs: BTreeMap::from([("state.bin".into(), contents)]),
        };
        assert_eq!(Manifest::from_bytes(manifest.to_text().as_bytes()), Ok(manifest.clone()));
        for name in ["../key", "", ".hidden", "a/b", "MANIFEST", "a b", "é"] {
            assert!(!is_blob_name(name), "{name}");
            manifest.blobs = BTreeMap::from([(name.to_string(), contents)]);
            assert!(Manifest::from_bytes(manifest.to_text().as_bytes()).is_err(), "{name}");
        }
    }
}
