//! A secret key under a passphrase: a file that is worth nothing to whoever copies it alone.
//!
//! The passphrase is stretched by PBKDF2 over HMAC-SHA-256, the key sealed by ChaCha20-Poly1305, and everything else in
//! the file is bound to it. Each sealing draws a new salt, so no two share a key, and the nonce may be zero.

use std::io;
use std::num::NonZeroU32;

use protocol::id::PeerId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use zeroize::Zeroizing;

use crate::store::hex::{from_hex, push_hex};

/// First line of the file.
pub(super) const TITLE: &str = "starling-identity 1 ed25519 locked";
/// Rounds of stretching: half a second of one core, for each guess too.
const ROUNDS: u32 = 1_000_000;
/// Rounds a file may ask for: fewer protect too little, more would hold the start up for minutes.
const ROUNDS_BOUNDS: std::ops::RangeInclusive<u32> = 100_000..=50_000_000;
/// Bytes of a sealed key: the key and a tag.
const SEALED_BYTES: usize = 32 + 16;

/// The file's text.
pub(super) fn seal(seed: &[u8; 32], peer: &PeerId, passphrase: &str) -> io::Result<String> {
    seal_with(seed, peer, passphrase, ROUNDS)
}

fn seal_with(seed: &[u8; 32], peer: &PeerId, passphrase: &str, rounds: u32) -> io::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    let mut text = format!("{TITLE}\npeer ");
    push_hex(&mut text, &peer.0);
    text.push_str(&format!("\nrounds {rounds}\nsalt "));
    push_hex(&mut text, &salt);
    text.push_str("\nsealed ");
    let key = stretched(passphrase, &salt, rounds).ok_or_else(|| io::Error::other("no rounds"))?;
    let mut sealed = Zeroizing::new(seed.to_vec());
    key.seal_in_place_append_tag(nonce(), Aad::from(text.as_bytes()), &mut *sealed)
        .map_err(|_| io::Error::other("the key could not be sealed"))?;
    push_hex(&mut text, &sealed);
    text.push('\n');
    Ok(text)
}

/// The key in a file's text, or what is wrong.
pub(super) fn open(text: &str, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let cut = || "it was cut short or changed".to_owned();
    let head = text.rfind("\nsealed ").map(|at| at + "\nsealed ".len()).ok_or_else(cut)?;
    let (head, sealed) = text.split_at_checked(head).ok_or_else(cut)?;
    let lines: Vec<&str> = head.lines().collect();
    let &[TITLE, _, rounds, salt, _] = lines.as_slice() else { return Err(cut()) };
    let rounds = rounds.strip_prefix("rounds ").and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.filter(|rounds| ROUNDS_BOUNDS.contains(rounds)).ok_or_else(cut)?;
    let salt = salt.strip_prefix("salt ").and_then(from_hex::<16>).ok_or_else(cut)?;
    let sealed = sealed.strip_suffix('\n').and_then(from_hex::<SEALED_BYTES>).ok_or_else(cut)?;
    let key = stretched(passphrase, &salt, rounds).ok_or_else(cut)?;
    let mut sealed = Zeroizing::new(sealed);
    let opened = key.open_in_place(nonce(), Aad::from(head.as_bytes()), &mut *sealed);
    let opened = opened.map_err(|_| "the passphrase does not open it, or it was changed".to_owned())?;
    let mut seed = Zeroizing::new([0; 32]);
    if opened.len() != seed.len() {
        return Err(cut());
    }
    seed.copy_from_slice(opened);
    Ok(seed)
}

fn stretched(passphrase: &str, salt: &[u8; 16], rounds: u32) -> Option<LessSafeKey> {
    let mut key = Zeroizing::new([0; 32]);
    derive(PBKDF2_HMAC_SHA256, NonZeroU32::new(rounds)?, salt, passphrase.as_bytes(), &mut *key);
    UnboundKey::new(&CHACHA20_POLY1305, &*key).ok().map(LessSafeKey::new)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: u32 = *ROUNDS_BOUNDS.start();

    #[test]
    fn a_key_opens_with_its_passphrase_and_with_no_other() {
        let (seed, peer) = ([7; 32], PeerId([8; 32]));
        let text = seal_with(&seed, &peer, "correct horse", FEW).unwrap();
        assert_eq!(open(&text, "correct horse").map(|seed| *seed), Ok(seed));
        for wrong in ["", "correct hors", "correct horse "] {
            assert!(open(&text, wrong).unwrap_err().contains("passphrase"), "{wrong:?}");
        }
        assert_ne!(text, seal_with(&seed, &peer, "correct horse", FEW).unwrap(), "a salt of its own");
    }

    #[test]
    fn nothing_in_the_file_can_be_changed_or_left_out() {
        let text = seal_with(&[7; 32], &PeerId([8; 32]), "pass", FEW).unwrap();
        for (at, _) in text.char_indices().step_by(5) {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(open(&changed, "pass").is_err(), "at {at}");
            assert!(open(&text[..at], "pass").is_err(), "cut at {at}");
        }
        for rounds in ["0", "99999", "4294967295", "x"] {
            let changed = text.replace(&format!("rounds {FEW}"), &format!("rounds {rounds}"));
            assert!(open(&changed, "pass").unwrap_err().contains("cut short or changed"), "{rounds}");
        }
    }
}
