//! A socket lent to the Noise handshake: it comes back when the handshake is dropped, with nothing read ahead.
//!
//! Noise messages have their length before them, two bytes, big endian. Reading never goes beyond one of them, so the
//! records behind the last message are still in the socket when it comes back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::channel::oneshot;
use futures::io::{AsyncRead, AsyncWrite};

/// Bytes of a length.
const LENGTH: usize = 2;

/// The socket while it is lent.
pub(super) struct Lent<C> {
    socket: Option<C>,
    back: Option<oneshot::Sender<C>>,
    /// What of the length of the next message was seen.
    length: Vec<u8>,
    /// Bytes of the message under way that are still to come.
    left: usize,
}

impl<C> Lent<C> {
    /// Lends a socket; the receiver gets it back.
    pub(super) fn new(socket: C) -> (Self, oneshot::Receiver<C>) {
        let (back, returned) = oneshot::channel();
        let length = Vec::with_capacity(LENGTH);
        (Self { socket: Some(socket), back: Some(back), length, left: 0 }, returned)
    }

    /// Notes what was read; it was no more than [`Lent::wanted`].
    fn note(&mut self, read: &[u8]) {
        if self.left > 0 {
            self.left -= read.len();
            return;
        }
        self.length.extend_from_slice(read);
        if let [high, low] = self.length[..] {
            self.left = usize::from(u16::from_be_bytes([high, low]));
            self.length.clear();
        }
    }

    /// Most bytes that may be read now.
    fn wanted(&self) -> usize {
        if self.left > 0 { self.left } else { LENGTH - self.length.len() }
    }
}

impl<C> Drop for Lent<C> {
    fn drop(&mut self) {
        if let (Some(socket), Some(back)) = (self.socket.take(), self.back.take()) {
            // Nobody waits for it when the upgrade was given up.
            let _ = back.send(socket);
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the socket was given back while in use; this is a mistake in the program")
}

impl<C: Unpin> Lent<C> {
    fn socket(&mut self) -> io::Result<Pin<&mut C>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(gone)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Lent<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = self.wanted().min(buf.len());
        let buf = &mut buf[..most];
        let read = ready!(self.socket()?.poll_read(cx, buf))?;
        self.note(&buf[..read]);
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Lent<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::{AsyncReadExt as _, Cursor};

    #[test]
    fn reading_stops_at_the_end_of_each_message_and_the_rest_comes_back() {
        let bytes = [0, 3, 10, 11, 12, 0, 1, 20, 99, 98];
        let (mut lent, returned) = Lent::new(Cursor::new(bytes));
        let mut room = [0; 64];
        let mut pieces = Vec::new();
        for _ in 0..4 {
            let read = block_on(lent.read(&mut room)).unwrap();
            pieces.push(room[..read].to_vec());
        }
        assert_eq!(pieces, [vec![0, 3], vec![10, 11, 12], vec![0, 1], vec![20]]);
        drop(lent);
        let mut rest = Vec::new();
        block_on(block_on(returned).unwrap().read_to_end(&mut rest)).unwrap();
        assert_eq!(rest, [99, 98]);
    }

    #[test]
    fn an_empty_message_is_no_end_and_a_split_length_is_put_together() {
        let (mut lent, _returned) = Lent::new(Cursor::new([0, 0, 0, 2, 7, 8]));
        let mut room = [0; 1];
        let read: Vec<u8> = (0..6)
            .map(|_| {
                assert_eq!(block_on(lent.read(&mut room)).unwrap(), 1);
                room[0]
            })
            .collect();
        assert_eq!(read, [0, 0, 0, 2, 7, 8]);
        assert_eq!(lent.wanted(), LENGTH);
    }
}
