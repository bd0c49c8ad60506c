//! The chain: each entry names the hash of the one before, and is signed.

use bincode::{Decode, Encode};
use thiserror::Error;

use crate::codec::{decode_control, encode};
use crate::crypto::hash::content_hash;
use crate::crypto::keys::Keypair;
use crate::crypto::signed::Domain;
use crate::id::{Hash, PeerId};
use crate::ledger::record::Record;
use crate::limits::LEDGER_RECORD_BYTES_MAX;
use crate::wire::sealed::Sealed;

/// One entry of a ledger.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Entry {
    /// Counts up from 0.
    pub index: u64,
    /// Hash of the sealed entry before; zero for the first.
    pub previous: Hash,
    /// What happened.
    pub record: Record,
}

/// The end of a ledger, from which it grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Entries so far.
    pub length: u64,
    /// Hash of the last sealed entry.
    pub hash: Hash,
}

/// A ledger that was tampered with or torn.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LedgerError {
    /// The bytes do not decode.
    #[error("entry {0} does not decode")]
    Malformed(u64),
    /// An entry is missing, doubled or moved.
    #[error("entry {found} stands where entry {expected} belongs")]
    OutOfPlace {
        /// Index that belongs here.
        expected: u64,
        /// Index found.
        found: u64,
    },
    /// The chain is broken: something before was changed.
    #[error("entry {0} does not continue the one before it")]
    Broken(u64),
    /// Not signed by the node.
    #[error("entry {0} is not signed by {1}")]
    BadSignature(u64, PeerId),
}

impl Head {
    /// Signs the next entry and moves on; the answer is what goes to disk.
    pub fn append(&mut self, record: Record, keys: &Keypair) -> Vec<u8> {
        let entry = Entry { index: self.length, previous: self.hash, record };
        let bytes = encode(&Sealed::new(keys, Domain::Ledger, &entry));
        debug_assert!(bytes.len() <= LEDGER_RECORD_BYTES_MAX, "records name the peers of one step");
        *self = Self { length: self.length + 1, hash: content_hash(&bytes) };
        bytes
    }

    /// Checks the next sealed entry of `owner` and moves on.
    pub fn check(&mut self, bytes: &[u8], owner: &PeerId) -> Result<Record, LedgerError> {
        let malformed = |_| LedgerError::Malformed(self.length);
        let sealed: Sealed = decode_control(bytes).map_err(malformed)?;
        let entry: Entry = decode_control(&sealed.body).map_err(malformed)?;
        if entry.index != self.length {
            return Err(LedgerError::OutOfPlace { expected: self.length, found: entry.index });
        }
        if entry.previous != self.hash {
            return Err(LedgerError::Broken(entry.index));
        }
        if sealed.signer != *owner || sealed.verify(Domain::Ledger).is_err() {
            return Err(LedgerError::BadSignature(entry.index, *owner));
        }
        *self = Self { length: self.length + 1, hash: content_hash(bytes) };
        Ok(entry.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OuterStep;

    #[test]
    fn a_changed_dropped_or_moved_entry_breaks_the_chain() {
        let keys = Keypair::from_secret([3; 32]);
        let mut head = Head::default();
        let entries: Vec<Vec<u8>> = (1..6)
            .map(|i| {
                head.append(Record::Published { step: OuterStep(i), manifest: Hash([i as u8; 32]) }, &keys)
            })
            .collect();
        let verify = |entries: &[Vec<u8>]| {
            let mut head = Head::default();
            entries.iter().try_for_each(|e| head.check(e, &keys.peer()).map(drop)).map(|()| head)
        };
        assert_eq!(verify(&entries), Ok(head));
        let mut dropped = entries.clone();
        dropped.remove(2);
        assert_eq!(verify(&dropped), Err(LedgerError::OutOfPlace { expected: 2, found: 3 }));
        let mut forged = entries.clone();
        let mut other = Head { length: 2, hash: content_hash(&entries[1]) };
        forged[2] = other.append(Record::Published { step: OuterStep(9), manifest: Hash([9; 32]) }, &keys);
        assert_eq!(verify(&forged), Err(LedgerError::Broken(3)), "a rewritten past shows in the next entry");
        for byte in 0..entries[0].len() {
            let mut flipped = entries.clone();
            flipped[0][byte] ^= 1;
            assert!(verify(&flipped).is_err(), "byte {byte}");
        }
    }
}
