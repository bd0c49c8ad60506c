//! The bytes of the bulk plane.
//!
//! All numbers are little endian. A request, from the end that opened the stream:
//!
//! ```text
//! u32      length of the rest, 12 + 1 ..= 12 + 4096
//! u8       version, 1
//! u8       tag, 1
//! u16      parts the asker takes at most, 1 ..= 256
//! u64      bytes of all parts the asker takes at most
//! bytes    the request itself, opaque here
//! ```
//!
//! An answer, from the other end, before the next request may be read:
//!
//! ```text
//! u32      length of the rest
//! u8       version, 1
//! u8       status: 0 parts, 1 busy, 2 not found, 3 refused
//! status 0: u16 count, then count times u32 size of a part; after the frame the bytes of all parts, without gaps
//! status 1: u32 milliseconds to wait
//! status 3: u16 code
//! ```
//!
//! Every field is fixed, the length must be used up exactly, and no length is believed before it is compared with its cap.

use thiserror::Error;

use crate::net::limits::{ANSWER_FRAME_BYTES_MAX, PARTS_MAX, REQUEST_FRAME_BYTES_MAX};

/// The only version so far.
pub(in crate::net) const VERSION: u8 = 1;
/// Tag of a request for parts.
const TAG_ASK: u8 = 1;

const STATUS_PARTS: u8 = 0;
const STATUS_BUSY: u8 = 1;
const STATUS_NOT_FOUND: u8 = 2;
const STATUS_REFUSED: u8 = 3;

/// A request as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct RequestFrame {
    /// Parts the asker takes at most.
    pub(in crate::net) parts_max: u16,
    /// Bytes of all parts the asker takes at most.
    pub(in crate::net) bytes_max: u64,
    /// Opaque here.
    pub(in crate::net) request: Vec<u8>,
}

/// The head of an answer as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) enum AnswerFrame {
    /// Sizes of the parts that follow.
    Parts(Vec<u32>),
    /// Ask again after so many milliseconds.
    Busy(u32),
    /// Not here.
    NotFound,
    /// Refused with a code.
    Refused(u16),
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(in crate::net) enum FrameError {
    /// Another version than ours.
    #[error("expected version {VERSION}, found {0}")]
    Version(u8),
    /// A tag or status nobody knows.
    #[error("unknown tag {0}")]
    Tag(u8),
    /// The fields do not use up the length, or hold what they may not.
    #[error("the fields of a frame do not add up")]
    Malformed,
}

/// Takes fixed fields off the front of a frame.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn end(self) -> Result<(), FrameError> {
        if self.0.is_empty() { Ok(()) } else { Err(FrameError::Malformed) }
    }

    fn version(&mut self) -> Result<(), FrameError> {
        let [version] = self.take()?;
        if version == VERSION { Ok(()) } else { Err(FrameError::Version(version)) }
    }
}

/// Prepends the length.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

impl RequestFrame {
    /// The bytes that travel, length included.
    pub(in crate::net) fn to_bytes(&self) -> Vec<u8> {
        let mut body = vec![VERSION, TAG_ASK];
        body.extend_from_slice(&self.parts_max.to_le_bytes());
        body.extend_from_slice(&self.bytes_max.to_le_bytes());
        body.extend_from_slice(&self.request);
        with_length(&body)
    }

    /// Reads what follows the length.
    pub(in crate::net) fn parse(body: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(body);
        fields.version()?;
        let [tag] = fields.take()?;
        if tag != TAG_ASK {
            return Err(FrameError::Tag(tag));
        }
        let parts_max = u16::from_le_bytes(fields.take()?);
        let bytes_max = u64::from_le_bytes(fields.take()?);
        let request = fields.rest().to_vec();
        let is_sensible = (1..=PARTS_MAX).contains(&usize::from(parts_max)) && !request.is_empty();
        if is_sensible && body.len() <= REQUEST_FRAME_BYTES_MAX {
            Ok(Self { parts_max, bytes_max, request })
        } else {
            Err(FrameError::Malformed)
        }
    }
}

impl AnswerFrame {
    /// The bytes that travel, length included.
    pub(in crate::net) fn to_bytes(&self) -> Vec<u8> {
        let mut body = vec![VERSION];
        match self {
            Self::Parts(sizes) => {
                body.push(STATUS_PARTS);
                body.extend_from_slice(&(sizes.len() as u16).to_le_bytes());
                body.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
            }
            Self::Busy(retry_ms) => {
                body.push(STATUS_BUSY);
                body.extend_from_slice(&retry_ms.to_le_bytes());
            }
            Self::NotFound => body.push(STATUS_NOT_FOUND),
            Self::Refused(code) => {
                body.push(STATUS_REFUSED);
                body.extend_from_slice(&code.to_le_bytes());
            }
        }
        with_length(&body)
    }

    /// Reads what follows the length.
    pub(in crate::net) fn parse(body: &[u8]) -> Result<Self, FrameError> {
        if body.len() > ANSWER_FRAME_BYTES_MAX {
            return Err(FrameError::Malformed);
        }
        let mut fields = Fields(body);
        fields.version()?;
        let [status] = fields.take()?;
        let answer = match status {
            STATUS_PARTS => {
                let count = usize::from(u16::from_le_bytes(fields.take()?));
                let sizes = fields.rest();
                if sizes.len() != 4 * count {
                    return Err(FrameError::Malformed);
                }
                let size = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
                Self::Parts(sizes.as_chunks::<4>().0.iter().map(size).collect())
            }
            STATUS_BUSY => Self::Busy(u32::from_le_bytes(fields.take()?)),
            STATUS_NOT_FOUND => Self::NotFound,
            STATUS_REFUSED => Self::Refused(u16::from_le_bytes(fields.take()?)),
            other => return Err(FrameError::Tag(other)),
        };
        fields.end()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_has_exactly_these_bytes() {
        let frame = RequestFrame { parts_max: 3, bytes_max: 0x0102_0304, request: b"abc".to_vec() };
        let bytes = [15, 0, 0, 0, 1, 1, 3, 0, 4, 3, 2, 1, 0, 0, 0, 0, b'a', b'b', b'c'];
        assert_eq!(frame.to_bytes(), bytes);
        assert_eq!(RequestFrame::parse(&bytes[4..]), Ok(frame));
    }

    #[test]
    fn an_answer_has_exactly_these_bytes() {
        for (frame, bytes) in [
            (AnswerFrame::Parts(vec![1, 256]), &[12, 0, 0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0, 0][..]),
            (AnswerFrame::Parts(Vec::new()), &[4, 0, 0, 0, 1, 0, 0, 0]),
            (AnswerFrame::Busy(250), &[6, 0, 0, 0, 1, 1, 250, 0, 0, 0]),
            (AnswerFrame::NotFound, &[2, 0, 0, 0, 1, 2]),
            (AnswerFrame::Refused(0xff01), &[4, 0, 0, 0, 1, 3, 1, 0xff]),
        ] {
            assert_eq!(frame.to_bytes(), bytes);
            assert_eq!(AnswerFrame::parse(&bytes[4..]), Ok(frame));
        }
    }

    #[test]
    fn frames_that_do_not_add_up_are_refused() {
        for (bytes, error) in [
            (&[][..], FrameError::Malformed),
            (&[0, 1], FrameError::Version(0)),
            (&[2, 1], FrameError::Version(2)),
            (&[1, 9], FrameError::Tag(9)),
            (&[1, 1, 1, 0], FrameError::Malformed),
            // No request after the fields.
            (&[1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], FrameError::Malformed),
            // No parts, and more than there may be.
            (&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], FrameError::Malformed),
            (&[1, 1, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 7], FrameError::Malformed),
        ] {
            assert_eq!(RequestFrame::parse(bytes), Err(error), "{bytes:?}");
        }
        for (bytes, error) in [
            (&[][..], FrameError::Malformed),
            (&[3, 0], FrameError::Version(3)),
            (&[1, 4], FrameError::Tag(4)),
            (&[1, 0, 2, 0, 1, 0, 0, 0], FrameError::Malformed),
            (&[1, 0, 0, 0, 1], FrameError::Malformed),
            (&[1, 2, 0], FrameError::Malformed),
            (&[1, 1, 1, 0, 0], FrameError::Malformed),
            (&[1, 3, 1, 0, 0], FrameError::Malformed),
        ] {
            assert_eq!(AnswerFrame::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_one_frame_has_one_form(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(frame) = RequestFrame::parse(&bytes) {
                prop_assert_eq!(&frame.to_bytes()[4..], &bytes[..]);
            }
            if let Ok(frame) = AnswerFrame::parse(&bytes) {
                prop_assert_eq!(&frame.to_bytes()[4..], &bytes[..]);
            }
        }
    }
}
