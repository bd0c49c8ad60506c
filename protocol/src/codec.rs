//! How a value becomes bytes: bincode 2, one fixed configuration, byte limits, exact consumption, canonical form.
//!
//! It is the only file that names the encoding crate for values on the wire, so that the crate can be replaced here
//! (`docs/decisions/0001-bincode.md`); golden bytes in `tests/golden/` hold the format. Payloads never pass through it.

use bincode::config;
use thiserror::Error;

pub use bincode::{Decode, Encode};

/// Most bytes of a control message: announcements, requests, hellos, cards.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a manifest or a charter.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Bytes that are not the canonical encoding of a value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CodecError {
    /// More bytes than this class of message may have.
    #[error("expected at most {max} bytes, found {found}")]
    TooLong {
        /// Cap of the class.
        max: usize,
        /// Bytes that came.
        found: usize,
    },
    /// The bytes do not decode.
    #[error("the bytes do not decode: {0}")]
    Malformed(String),
    /// Bytes were left over.
    #[error("expected {used} bytes, found {found}")]
    Trailing {
        /// Bytes that the value took.
        used: usize,
        /// Bytes that came.
        found: usize,
    },
    /// The value has a shorter or different encoding; a second form of one value is refused.
    #[error("the bytes are not the canonical encoding of their value")]
    NotCanonical,
}

/// Encodes a value.
///
/// Wire types hold no value that cannot be encoded, so a failure here is our own mistake.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config::standard()).expect("wire types encode")
}

/// Decodes a small value (at most [`CONTROL_BYTES_MAX`] bytes).
pub fn decode_control<T: Encode + Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    decode::<T, { CONTROL_BYTES_MAX * 4 }>(bytes, CONTROL_BYTES_MAX)
}

/// Decodes a manifest-sized value (at most [`MANIFEST_BYTES_MAX`] bytes).
pub fn decode_manifest<T: Encode + Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    decode::<T, { MANIFEST_BYTES_MAX * 4 }>(bytes, MANIFEST_BYTES_MAX)
}

/// `CLAIM` bounds what the bytes may claim for collections, in-memory sizes included, before anything is allocated.
fn decode<T: Encode + Decode<()>, const CLAIM: usize>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong { max, found: bytes.len() });
    }
    let (value, used): (T, usize) =
        bincode::decode_from_slice(bytes, config::standard().with_limit::<CLAIM>())
            .map_err(|e| CodecError::Malformed(e.to_string()))?;
    if used != bytes.len() {
        return Err(CodecError::Trailing { used, found: bytes.len() });
    }
    // bincode accepts longer forms of small numbers; hashes and signatures are over bytes, so one value has one form.
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_form() {
        let bytes = encode(&(5u64, "text".to_owned()));
        assert_eq!(decode_control::<(u64, String)>(&bytes), Ok((5, "text".to_owned())));
        assert_eq!(decode_control::<u64>(&[251, 5, 0]), Err(CodecError::NotCanonical));
        assert!(matches!(decode_control::<u64>(&[5, 0]), Err(CodecError::Trailing { used: 1, found: 2 })));
    }

    #[test]
    fn a_length_that_lies_is_refused_before_it_is_believed() {
        let lie = [253, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(matches!(decode_control::<Vec<u8>>(&lie), Err(CodecError::Malformed(_))));
        assert!(matches!(
            decode_control::<Vec<u8>>(&vec![0; CONTROL_BYTES_MAX + 1]),
            Err(CodecError::TooLong { .. })
        ));
    }
}
