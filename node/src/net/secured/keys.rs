//! The keys of one direction: derived from both ends' secrets, replaced long before a cipher's limit.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of a secret, and of a key.
pub(super) const SECRET_BYTES: usize = 32;
/// Bytes of the tag behind every record.
pub(super) const TAG_BYTES: usize = MAX_TAG_LEN;
/// Records sealed with one key: 2^36 bytes at the largest size, a quarter of what TLS 1.3 allows AES-GCM.
pub(super) const RECORDS_PER_KEY: u64 = 1 << 20;

/// Contexts of key derivation; a change of the format needs new ones.
const FROM_DIALLER: &str = "starling 2026 link records from the dialler 1";
const FROM_LISTENER: &str = "starling 2026 link records from the listener 1";
const NEXT: &str = "starling 2026 link records next key 1";

/// A record that was not sealed by the other end, or not at this place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forged;

/// Seals or opens the records of one direction, in their order.
pub(super) struct Keys {
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    key: LessSafeKey,
    /// Records of this key so far; the next one's nonce.
    used: u64,
    records_per_key: u64,
}

impl Keys {
    /// The keys of both directions, the dialler's first, from what each end threw in.
    pub(super) fn derive(dialler: &[u8; SECRET_BYTES], listener: &[u8; SECRET_BYTES]) -> (Self, Self) {
        let derive = |context: &str| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(dialler).update(listener);
            Self::new(Zeroizing::new(*hasher.finalize().as_bytes()), RECORDS_PER_KEY)
        };
        (derive(FROM_DIALLER), derive(FROM_LISTENER))
    }

    pub(super) fn new(secret: Zeroizing<[u8; SECRET_BYTES]>, records_per_key: u64) -> Self {
        let key = key(&secret);
        Self { secret, key, used: 0, records_per_key }
    }

    /// Encrypts `plain` in place and answers its tag; `head` is protected with it.
    pub(super) fn seal(&mut self, head: &[u8], plain: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = self.nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(head), plain);
        let tag = tag.expect("a record is far below the cipher's limit of 64 GiB");
        tag.as_ref().try_into().expect("a tag of AES-GCM has its length")
    }

    /// Decrypts `sealed`, whose last bytes are the tag, in place; what comes before the tag is plain then.
    pub(super) fn open(&mut self, head: &[u8], sealed: &mut [u8]) -> Result<(), Forged> {
        let nonce = self.nonce();
        self.key.open_in_place(nonce, Aad::from(head), sealed).map(drop).map_err(|_| Forged)
    }

    /// A number no record of this key had before; steps to the next key when it is time.
    fn nonce(&mut self) -> Nonce {
        if self.used == self.records_per_key {
            self.secret = Zeroizing::new(blake3::derive_key(NEXT, &*self.secret));
            self.key = key(&self.secret);
            self.used = 0;
        }
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.used.to_be_bytes());
        self.used += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

fn key(secret: &[u8; SECRET_BYTES]) -> LessSafeKey {
    // "Less safe" because nonces are the caller's: here they count.
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).expect("a key of AES-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(records_per_key: u64) -> (Keys, Keys) {
        let keys = || Keys::new(Zeroizing::new([7; SECRET_BYTES]), records_per_key);
        (keys(), keys())
    }

    fn sealed(keys: &mut Keys, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        let tag = keys.seal(b"head", &mut bytes);
        bytes.extend_from_slice(&tag);
        bytes
    }

    #[test]
    fn both_ends_derive_the_same_keys_and_directions_differ() {
        let (mut from_dialler, mut from_listener) = Keys::derive(&[1; 32], &[2; 32]);
        let (mut other_end, _) = Keys::derive(&[1; 32], &[2; 32]);
        let one_way = sealed(&mut from_dialler, b"the same words");
        assert_ne!(one_way, sealed(&mut from_listener, b"the same words"));
        let mut read = one_way.clone();
        other_end.open(b"head", &mut read).unwrap();
        assert_eq!(&read[..14], b"the same words");
        let (mut swapped, _) = Keys::derive(&[2; 32], &[1; 32]);
        assert_eq!(swapped.open(b"head", &mut one_way.clone()), Err(Forged));
    }

    #[test]
    fn records_go_on_over_a_change_of_keys() {
        let (mut sealing, mut opening) = pair(3);
        let all: Vec<Vec<u8>> = (0..10u8).map(|i| sealed(&mut sealing, &[i; 5])).collect();
        for (i, record) in (0..10u8).zip(&all) {
            let mut record = record.clone();
            opening.open(b"head", &mut record).unwrap();
            assert_eq!(record[..5], [i; 5]);
        }
        // The fourth record has the first number again, under another key.
        assert_ne!(sealed(&mut pair(3).0, &[3; 5]), all[3]);
    }

    #[test]
    fn a_record_changed_repeated_or_out_of_order_is_forged() {
        let (mut sealing, _) = pair(RECORDS_PER_KEY);
        let (first, second) = (sealed(&mut sealing, b"first"), sealed(&mut sealing, b"second"));
        for place in 0..first.len() {
            let mut changed = first.clone();
            changed[place] ^= 1;
            assert_eq!(pair(RECORDS_PER_KEY).1.open(b"head", &mut changed), Err(Forged));
        }
        assert_eq!(pair(RECORDS_PER_KEY).1.open(b"tail", &mut first.clone()), Err(Forged));
        assert_eq!(pair(RECORDS_PER_KEY).1.open(b"head", &mut second.clone()), Err(Forged));
        let mut opening = pair(RECORDS_PER_KEY).1;
        opening.open(b"head", &mut first.clone()).unwrap();
        assert_eq!(opening.open(b"head", &mut first.clone()), Err(Forged));
    }
}
