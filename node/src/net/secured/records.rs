//! Records on a socket: what is written is collected, sealed in place and sent; what comes is opened in place.
//!
//! ```text
//! u32      length of the rest, little endian, 16 + 1 ..= 16 + 65536; protected by the tag
//! bytes    AES-256-GCM ciphertext
//! bytes    its tag, 16
//! ```
//!
//! The number of a record is its nonce and is not sent, so records cannot be left out, repeated or moved.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use crate::net::secured::keys::{Keys, TAG_BYTES};

/// Bytes of a length.
const HEAD: usize = 4;
/// Most plain bytes of a record: a few frames of the multiplexer, and still in the second-level cache.
const PLAIN_MAX: usize = 64 << 10;
/// Most bytes of a record on the wire.
const RECORD_MAX: usize = HEAD + PLAIN_MAX + TAG_BYTES;
/// Sealed bytes that wait for the socket, from which on no new record is begun.
const WAITING_MAX: usize = 64 << 10;
/// First size of the buffer for incoming bytes: what an idle link needs.
const INCOMING_FIRST: usize = 4 << 10;
/// Largest size of it: one record whole and most of another, so that few bytes are ever moved.
const INCOMING_MAX: usize = 2 * RECORD_MAX;

/// A socket whose bytes are sealed.
pub struct Records<C> {
    socket: C,
    sealing: Keys,
    opening: Keys,
    outgoing: Outgoing,
    incoming: Incoming,
}

/// Sealed records, and behind them the one that is being filled.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Bytes the socket took.
    sent: usize,
    /// Where the record that is being filled begins.
    filling: Option<usize>,
}

/// Bytes that came: opened, not yet read; then not yet opened.
struct Incoming {
    bytes: Vec<u8>,
    /// Plain bytes that wait for a reader.
    plain: std::ops::Range<usize>,
    /// Bytes behind them that are not opened.
    sealed: std::ops::Range<usize>,
}

impl<C> Records<C> {
    pub(super) fn new(socket: C, sealing: Keys, opening: Keys) -> Self {
        let incoming = Incoming { bytes: Vec::new(), plain: 0..0, sealed: 0..0 };
        Self { socket, sealing, opening, outgoing: Outgoing::default(), incoming }
    }
}

impl Outgoing {
    /// Takes what fits into the record being filled; answers how much.
    fn take(&mut self, plain: &[u8]) -> usize {
        let start = *self.filling.get_or_insert(self.bytes.len());
        if start == self.bytes.len() {
            self.bytes.extend_from_slice(&[0; HEAD]);
        }
        let room = PLAIN_MAX - (self.bytes.len() - start - HEAD);
        let taken = room.min(plain.len());
        self.bytes.extend_from_slice(&plain[..taken]);
        taken
    }

    fn is_full(&self) -> bool {
        self.filling.is_some_and(|start| self.bytes.len() - start == HEAD + PLAIN_MAX)
    }

    /// Seals the record being filled, if there is one.
    fn seal(&mut self, keys: &mut Keys) {
        let Some(start) = self.filling.take() else { return };
        let (head, plain) = self.bytes[start..].split_at_mut(HEAD);
        head.copy_from_slice(&((plain.len() + TAG_BYTES) as u32).to_le_bytes());
        let tag = keys.seal(head, plain);
        self.bytes.extend_from_slice(&tag);
    }

    /// Hands sealed records to the socket until all are gone.
    fn poll_send(
        &mut self,
        mut socket: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let sealed = self.filling.unwrap_or(self.bytes.len());
        while self.sent < sealed {
            let written = ready!(socket.as_mut().poll_write(cx, &self.bytes[self.sent..sealed]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        // What is being filled, if anything, moves to the front.
        self.bytes.drain(..self.sent);
        self.filling = self.filling.map(|start| start - self.sent);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl Incoming {
    /// Opens the next record if it is there whole.
    fn open_next(&mut self, keys: &mut Keys) -> io::Result<bool> {
        let Some(length) = self.length()? else { return Ok(false) };
        if self.sealed.len() < HEAD + length {
            return Ok(false);
        }
        let (head, rest) = self.bytes[self.sealed.clone()].split_at_mut(HEAD);
        keys.open(head, &mut rest[..length])
            .map_err(|_| malformed("a record was not sealed by the other end"))?;
        let start = self.sealed.start + HEAD;
        self.plain = start..start + length - TAG_BYTES;
        self.sealed.start = start + length;
        Ok(true)
    }

    /// Length of what follows the head of the next record, if it came.
    fn length(&self) -> io::Result<Option<usize>> {
        let Some(head) = self.bytes[self.sealed.clone()].first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length <= TAG_BYTES || length > PLAIN_MAX + TAG_BYTES {
            return Err(malformed("a record is empty or longer than 64 KiB"));
        }
        Ok(Some(length))
    }

    /// Makes room for more of the next record; nothing plain waits.
    fn make_room(&mut self) -> io::Result<()> {
        let record = HEAD + self.length()?.unwrap_or(0);
        if self.sealed.is_empty() {
            self.sealed = 0..0;
        } else if self.sealed.start + record > self.bytes.len() || self.sealed.end == self.bytes.len() {
            self.bytes.copy_within(self.sealed.clone(), 0);
            self.sealed = 0..self.sealed.len();
        }
        // Grows while reads fill it: links that carry little keep a little buffer.
        let wanted = record.max(INCOMING_FIRST);
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        Ok(())
    }

    /// Reads from the socket once; answers how much.
    fn poll_fill(
        &mut self,
        socket: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room()?;
        let read = ready!(socket.poll_read(cx, &mut self.bytes[self.sealed.end..]))?;
        self.sealed.end += read;
        if self.sealed.end == self.bytes.len() && self.bytes.len() < INCOMING_MAX {
            self.bytes.resize((self.bytes.len() * 4).min(INCOMING_MAX), 0);
        }
        Poll::Ready(Ok(read))
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<C: AsyncRead + Unpin> AsyncRead for Records<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { socket, opening, incoming, .. } = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while incoming.plain.is_empty() {
            if !incoming.open_next(opening)? && ready!(incoming.poll_fill(Pin::new(&mut *socket), cx))? == 0 {
                let is_whole = incoming.sealed.is_empty();
                return Poll::Ready(if is_whole { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            }
        }
        let taken = incoming.plain.len().min(buf.len());
        buf[..taken].copy_from_slice(&incoming.bytes[incoming.plain.start..][..taken]);
        incoming.plain.start += taken;
        Poll::Ready(Ok(taken))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Records<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, sealing, outgoing, .. } = self.get_mut();
        if outgoing.filling.is_none() && outgoing.bytes.len() >= WAITING_MAX {
            ready!(outgoing.poll_send(Pin::new(socket), cx))?;
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let taken = outgoing.take(buf);
        if outgoing.is_full() {
            outgoing.seal(sealing);
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, sealing, outgoing, .. } = self.get_mut();
        outgoing.seal(sealing);
        ready!(outgoing.poll_send(Pin::new(&mut *socket), cx))?;
        Pin::new(socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.get_mut().socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use futures::executor::block_on;
    use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::net::secured::keys::SECRET_BYTES;

    /// What one end wrote and the other has not read. Takes and gives a few bytes at a time; an empty wire has ended.
    #[derive(Clone)]
    struct Wire {
        bytes: Rc<RefCell<VecDeque<u8>>>,
        piece: usize,
    }

    impl AsyncRead for Wire {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut bytes = self.bytes.borrow_mut();
            let count = bytes.len().min(buf.len()).min(self.piece);
            buf.iter_mut().zip(bytes.drain(..count)).for_each(|(to, from)| *to = from);
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Wire {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.piece);
            self.bytes.borrow_mut().extend(&buf[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn wire(piece: usize) -> Wire {
        Wire { bytes: Rc::default(), piece }
    }

    /// An end whose outgoing and incoming records share one wire.
    fn end(wire: &Wire) -> Records<Wire> {
        let keys = || Keys::new(Zeroizing::new([3; SECRET_BYTES]), 5);
        Records::new(wire.clone(), keys(), keys())
    }

    fn read_all(wire: &Wire) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        block_on(end(wire).read_to_end(&mut read)).map(|_| read)
    }

    /// The bytes on the wire for some texts, each flushed.
    fn sealed(texts: &[&[u8]]) -> Vec<u8> {
        let wire = wire(usize::MAX);
        let mut sending = end(&wire);
        for text in texts {
            block_on(sending.write_all(text)).unwrap();
            block_on(sending.flush()).unwrap();
        }
        wire.bytes.take().into()
    }

    fn read_of(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let wire = wire(usize::MAX);
        wire.bytes.borrow_mut().extend(bytes);
        read_all(&wire)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            texts in prop::collection::vec((0usize..200_000, any::<bool>()), 1..6),
            piece in 1usize..300_000,
        ) {
            // Small pieces of long texts take long and show nothing that short ones do not.
            let piece = piece.max(texts.iter().map(|(length, _)| length / 500).sum());
            let wire = wire(piece);
            let mut sending = end(&wire);
            let mut expected = Vec::new();
            for (number, (length, flushes)) in texts.into_iter().enumerate() {
                let text: Vec<u8> = (0..length).map(|i| (i * 7 + number) as u8).collect();
                block_on(sending.write_all(&text)).unwrap();
                if flushes {
                    block_on(sending.flush()).unwrap();
                }
                expected.extend(text);
            }
            block_on(sending.close()).unwrap();
            prop_assert_eq!(sending.outgoing.bytes.len(), 0);
            prop_assert!(sending.outgoing.bytes.capacity() <= 4 * RECORD_MAX);
            prop_assert_eq!(read_all(&wire).unwrap(), expected);
        }
    }

    #[test]
    fn a_record_costs_twenty_bytes() {
        assert_eq!(sealed(&[&[1; 1000]]).len(), 1000 + HEAD + TAG_BYTES);
        assert_eq!(sealed(&[&vec![1; PLAIN_MAX + 1]]).len(), PLAIN_MAX + 1 + 2 * (HEAD + TAG_BYTES));
        assert_eq!(sealed(&[b"", b""]).len(), 0);
    }

    #[test]
    fn a_wire_cut_inside_a_record_is_no_end() {
        let bytes = sealed(&[b"one", b"two"]);
        assert_eq!(read_of(&bytes).unwrap(), b"onetwo");
        let first = HEAD + 3 + TAG_BYTES;
        for cut in 1..bytes.len() {
            match read_of(&bytes[..cut]) {
                Ok(read) => assert_eq!((cut, read.as_slice()), (first, &b"one"[..])),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            }
        }
    }

    #[test]
    fn every_changed_byte_is_noticed_before_anything_of_its_record_is_read() {
        let bytes = sealed(&[b"word"]);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            assert!(read_of(&changed).is_err(), "{place}");
        }
    }

    #[test]
    fn lengths_no_end_writes_are_refused_before_memory_is_taken_for_them() {
        for length in [0, TAG_BYTES, PLAIN_MAX + TAG_BYTES + 1, u32::MAX as usize] {
            let mut bytes = (length as u32).to_le_bytes().to_vec();
            bytes.extend([0; 64]);
            assert_eq!(read_of(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData, "{length}");
        }
    }

    #[test]
    fn the_buffer_for_what_comes_stays_small_while_little_comes() {
        let wire = wire(usize::MAX);
        let mut sending = end(&wire);
        let mut receiving = end(&wire);
        let mut room = [0; 100];
        for _ in 0..1_000 {
            block_on(sending.write_all(&[7; 100])).unwrap();
            block_on(sending.flush()).unwrap();
            block_on(receiving.read_exact(&mut room)).unwrap();
        }
        assert_eq!(receiving.incoming.bytes.len(), INCOMING_FIRST);
    }
}
