//! Counting bytes where they pass, and keeping them to the node's quota: a socket of TCP, a stream of QUIC.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite, IoSlice};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use crate::net::counters::Counters;
use crate::net::pace::{Pace, Turn};

/// What all connections of a node share.
#[derive(Clone)]
pub(super) struct Meter {
    counters: Arc<Counters>,
    /// Quotas for what is received and sent, if there are any.
    quota: Option<(Arc<Pace>, Arc<Pace>)>,
}

impl Meter {
    /// `bytes_per_second`, for each direction, bounds all connections together; `None` for no bound.
    pub(super) fn new(counters: Arc<Counters>, bytes_per_second: Option<u64>) -> Self {
        let pace = |rate| Arc::new(Pace::new(rate));
        Self { counters, quota: bytes_per_second.map(|rate| (pace(rate), pace(rate))) }
    }
}

/// A stream or a multiplexer whose bytes are counted.
pub(super) struct Counted<T> {
    inner: T,
    meter: Meter,
    receiving: Turn,
    sending: Turn,
}

impl<T> Counted<T> {
    pub(super) fn new(inner: T, meter: Meter) -> Self {
        Self { inner, meter, receiving: Turn::default(), sending: Turn::default() }
    }
}

impl<T> Counted<T> {
    fn sent(&self, bytes: usize) {
        self.meter.counters.wire_sent.add(bytes as u64);
        if let Some((_, pace)) = &self.meter.quota {
            pace.charge(bytes);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut buf = buf;
        if let Some((pace, _)) = &this.meter.quota {
            ready!(this.receiving.poll(pace, cx));
            let most = buf.len().min(pace.turn_bytes());
            buf = buf.split_at_mut(most).0;
        }
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        this.meter.counters.wire_received.add(read as u64);
        if let Some((pace, _)) = &this.meter.quota {
            pace.charge(read);
        }
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut buf = buf;
        if let Some((_, pace)) = &this.meter.quota {
            ready!(this.sending.poll(pace, cx));
            buf = buf.split_at(buf.len().min(pace.turn_bytes())).0;
        }
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.meter.quota.is_some() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| &**buf));
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Counted<M>
where
    M::Substream: Unpin,
{
    type Substream = Counted<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(Counted::new(stream, self.meter.clone())))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(Counted::new(stream, self.meter.clone())))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
