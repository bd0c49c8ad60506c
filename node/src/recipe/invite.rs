//! The code that invites an organization: addresses, the signed invitation and its secret, as one word to send.
//!
//! Who has the code can use it, once: it is a secret until it is used.

use protocol::codec::{CodecError, decode_control, encode};
use protocol::crypto::hash::content_hash;
use protocol::wire::certificate::Invitation;
use protocol::wire::sealed::CoSigned;
use thiserror::Error;

/// What a code begins with.
const PREFIX: &str = "starling1";
/// Bytes of the check at the end.
const CHECK: usize = 4;
/// Letters and digits that are not taken for one another (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Longest code that is read.
const CODE_BYTES_MAX: usize = 64 << 10;

/// An invitation to hand over.
#[derive(Clone, Debug, PartialEq)]
pub struct Code {
    /// Where the issuer is reached.
    pub addresses: Vec<String>,
    /// What the founders signed, by all of them or some.
    pub invitation: CoSigned,
    /// Whose hash is in the invitation.
    pub secret: [u8; 32],
}

/// A word that is no code.
#[derive(Debug, Error, PartialEq)]
pub enum CodeError {
    /// It does not look like one.
    #[error("expected a code that begins with {PREFIX}, found {0:?}")]
    Prefix(String),
    /// A character that no code has.
    #[error("expected letters and digits, found {0:?}")]
    Character(char),
    /// It was cut or changed on its way.
    #[error("its check does not match: it was cut short or mistyped")]
    Check,
    /// It decodes to nothing sensible.
    #[error("it does not decode: {0}")]
    Codec(#[from] CodecError),
}

impl Code {
    /// The word to send.
    pub fn to_text(&self) -> String {
        let mut bytes = encode(&(self.addresses.clone(), self.secret, self.invitation.clone()));
        let check = content_hash(&bytes);
        bytes.extend_from_slice(&check.0[..CHECK]);
        PREFIX.to_owned() + &digits(&bytes)
    }

    /// Reads a word; spaces, hyphens and line ends in it do not count.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let text: String = text
            .chars()
            .take(CODE_BYTES_MAX)
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let Some(word) = text.strip_prefix(PREFIX) else {
            return Err(CodeError::Prefix(text.chars().take(20).collect()));
        };
        let bytes = bytes(word)?;
        let (body, check) =
            bytes.split_at_checked(bytes.len().saturating_sub(CHECK)).ok_or(CodeError::Check)?;
        if content_hash(body).0[..CHECK] != *check {
            return Err(CodeError::Check);
        }
        let (addresses, secret, invitation) = decode_control(body)?;
        Ok(Self { addresses, invitation, secret })
    }

    /// What it says, before any signature was checked.
    pub fn claim(&self) -> Result<Invitation, CodeError> {
        Ok(decode_control(&self.invitation.body)?)
    }
}

fn digits(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(DIGITS[(held >> bits & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(DIGITS[(held << (5 - bits) & 31) as usize]));
    }
    text
}

fn bytes(digits: &str) -> Result<Vec<u8>, CodeError> {
    let mut bytes = Vec::with_capacity(digits.len() * 5 / 8);
    let (mut held, mut bits) = (0u32, 0);
    for digit in digits.chars() {
        // As people read them.
        let meant = match digit {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        let value = DIGITS.iter().position(|d| char::from(*d) == meant).ok_or(CodeError::Character(digit))?;
        held = held << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use protocol::crypto::keys::Keypair;
    use protocol::crypto::signed::Domain;
    use protocol::id::{Hash, RunId};
    use protocol::time::UnixSeconds;

    use super::*;

    fn code() -> Code {
        let keys = Keypair::from_secret([5; 32]);
        let mut invitation = CoSigned::unsigned(&Invitation {
            run: RunId(Hash([1; 32])),
            issuer: keys.peer(),
            token: Invitation::token_of(&[9; 32]),
            organization: "Bela Wire".to_owned(),
            redeem_until: UnixSeconds(1_800_000_000),
            not_after: UnixSeconds(1_900_000_000),
        });
        invitation.sign(&keys, Domain::Invitation);
        Code { addresses: vec!["/ip4/192.0.2.7/tcp/7171".to_owned()], invitation, secret: [9; 32] }
    }

    #[test]
    fn a_code_reads_back_however_it_was_broken_into_lines() {
        let text = code().to_text();
        assert_eq!(Code::parse(&text), Ok(code()));
        assert!(text.len() < 600, "{} characters", text.len());
        let typed: String = text
            .to_uppercase()
            .chars()
            .enumerate()
            .flat_map(|(i, c)| if i % 7 == 6 { vec![c, '-', '\n'] } else { vec![c] })
            .collect();
        assert_eq!(Code::parse(&typed), Ok(code()));
    }

    #[test]
    fn a_cut_or_mistyped_code_is_told_from_a_good_one() {
        let text = code().to_text();
        for length in 0..text.len() {
            assert!(Code::parse(&text[..length]).is_err(), "{length} characters");
        }
        for at in PREFIX.len()..text.len() - 1 {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'z' { b'y' } else { b'z' };
            assert!(Code::parse(&String::from_utf8(changed).unwrap()).is_err(), "character {at}");
        }
        assert!(matches!(Code::parse("hello"), Err(CodeError::Prefix(_))));
        assert!(matches!(Code::parse("starling1é"), Err(CodeError::Character('é'))));
    }
}
