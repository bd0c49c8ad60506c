//! Many streams on one link: Yamux, with frames large enough that a shard is not cut into a hundred pieces.
//!
//! libp2p's own wrapper of the same crate fixes frames at 16 KiB; each costs an allocation, a record, a system call and
//! two wake-ups at either end. On the wire it is the same protocol.

use std::collections::VecDeque;
use std::future::{Future as _, Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use tokio::time::{Sleep, sleep};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use crate::net::limits::{CLOSE_WITHIN, STREAM_FRAME_BYTES, STREAMS_PER_CONNECTION_MAX, STREAMS_WAITING_MAX};

/// Sets up multiplexers.
#[derive(Clone)]
pub(super) struct Muxing(Config);

impl Muxing {
    pub(super) fn new() -> Self {
        let mut config = Config::default();
        config.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
        config.set_split_send_size(STREAM_FRAME_BYTES);
        Self(config)
    }

    fn over<C>(self, socket: C, mode: Mode) -> Ready<io::Result<Muxer<C>>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let connection = Connection::new(socket, self.0, mode);
        ready(Ok(Muxer { connection, arrived: VecDeque::new(), waiting: None, closing: None }))
    }
}

impl UpgradeInfo for Muxing {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Muxing {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        self.over(socket, Mode::Server)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Muxing {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        self.over(socket, Mode::Client)
    }
}

/// A multiplexed connection.
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    /// Streams of the other end that came while the connection was driven for another reason.
    arrived: VecDeque<Stream>,
    /// Whoever waits for such a stream.
    waiting: Option<Waker>,
    /// When closing is given up.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// Drives the connection until the other end opens a stream.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let arrival = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(arrival.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let arrival = self.poll_arrival(cx);
        if arrival.is_pending() {
            self.waiting = Some(cx.waker().clone());
        }
        arrival
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        if let Poll::Ready(closed) = self.connection.poll_close(cx) {
            return Poll::Ready(closed);
        }
        // A dead socket takes no more bytes: the connection would stay for ever, and its peer could not be dialled anew.
        let closing = self.closing.get_or_insert_with(|| Box::pin(sleep(CLOSE_WITHIN)));
        closing.as_mut().poll(cx).map(Ok)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready!(self.poll_arrival(cx))?;
        // Beyond the cap the stream is dropped, which resets it: the other end opens more than it may have open.
        if self.arrived.len() < STREAMS_WAITING_MAX {
            self.arrived.push_back(stream);
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
        // There may be more; others get their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
