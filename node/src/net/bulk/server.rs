//! Answering: streams are let in under caps, requests are charged before any work, bytes are sent piece by piece.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::{Stream, StreamProtocol};
use protocol::id::PeerId;
use protocol::quota::Bucket;
use protocol::time::Time;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::net::bulk::frame::{AnswerFrame, FrameError, RequestFrame};
use crate::net::bulk::stream::{Broken, flush, read_frame, write_pieces};
use crate::net::command::{AnswerBody, InboundTag};
use crate::net::counters::Counters;
use crate::net::event::{
    NetEvent, OffenceKind, REFUSED_MALFORMED, REFUSED_SIZE, REFUSED_TAG, REFUSED_VERSION,
};
use crate::net::limits::{
    ANSWER_WITHIN, BulkLimits, PART_BYTES_MAX, REQUEST_FRAME_BYTES_MAX, STREAMS_REFUSED_MAX, UPLOAD_QUEUE,
    UPLOAD_STALL,
};
use crate::net::translate::from_libp2p;

/// The stream protocol of the bulk plane.
pub(in crate::net) const PROTOCOL: StreamProtocol = StreamProtocol::new("/starling/bulk/1");

/// What the bulk plane tells the swarm task.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Report {
    /// Who did wrong.
    pub(in crate::net) peer: PeerId,
    /// How.
    pub(in crate::net) kind: OffenceKind,
    /// Whether the link is to be cut.
    pub(in crate::net) is_cut: bool,
}

/// What one peer uses of us.
struct Guest {
    streams: usize,
    streams_refused: u32,
    uploads: Arc<Semaphore>,
    requests: Bucket,
    bytes: Bucket,
}

/// What the answering tasks share.
struct Shared {
    limits: BulkLimits,
    guests: Mutex<BTreeMap<PeerId, Guest>>,
    waiting: Mutex<BTreeMap<InboundTag, oneshot::Sender<AnswerBody>>>,
    tags: AtomicU64,
    uploads: Semaphore,
    start: Instant,
    events: mpsc::Sender<NetEvent>,
    reports: mpsc::Sender<Report>,
    counters: Arc<Counters>,
}

/// The answering side of the bulk plane. Its tasks end with it.
pub(in crate::net) struct Server {
    shared: Arc<Shared>,
    /// Holds the accepting task, which holds the others.
    _accepting: JoinSet<()>,
}

impl Server {
    pub(in crate::net) fn start(
        incoming: libp2p_stream::IncomingStreams,
        limits: BulkLimits,
        events: mpsc::Sender<NetEvent>,
        reports: mpsc::Sender<Report>,
        counters: Arc<Counters>,
    ) -> Self {
        let shared = Arc::new(Shared {
            uploads: Semaphore::new(limits.uploads_max.max(1)),
            limits,
            guests: Mutex::new(BTreeMap::new()),
            waiting: Mutex::new(BTreeMap::new()),
            tags: AtomicU64::new(0),
            start: Instant::now(),
            events,
            reports,
            counters,
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(Arc::clone(&shared), incoming));
        Self { shared, _accepting: accepting }
    }

    /// Hands an answer to the stream that waits for it; too late is no error.
    pub(in crate::net) fn answer(&self, inbound: InboundTag, answer: AnswerBody) {
        if let Some(waiting) = self.shared.waiting().remove(&inbound) {
            // The stream may have broken meanwhile.
            let _ = waiting.send(answer);
        }
    }

    /// The last link to a peer is gone. What it has used up is remembered while it holds streams or is in debt.
    pub(in crate::net) fn forget_idle(&self) {
        let now = self.shared.now();
        let limits = &self.shared.limits;
        self.shared.guests().retain(|_, guest| {
            let is_settled = guest.requests.clone().take(limits.requests_burst, now)
                && guest.bytes.clone().take(limits.asked_bytes_burst, now);
            guest.streams > 0 || !is_settled
        });
    }
}

/// Lets streams in. It does nothing else: while it is away, the stream crate drops newcomers.
async fn accept(shared: Arc<Shared>, mut incoming: libp2p_stream::IncomingStreams) {
    let mut tasks = JoinSet::new();
    while let Some((peer, stream)) = incoming.next().await {
        while tasks.try_join_next().is_some() {}
        let Ok(peer) = from_libp2p(&peer) else { continue };
        if tasks.len() >= shared.limits.streams_max {
            continue;
        }
        if let Some(seat) = Seat::take(&shared, peer) {
            tasks.spawn(serve(Arc::clone(&shared), peer, stream, seat));
        }
    }
}

/// A stream's place among those of its peer; given back when dropped.
struct Seat {
    shared: Arc<Shared>,
    peer: PeerId,
}

impl Seat {
    fn take(shared: &Arc<Shared>, peer: PeerId) -> Option<Self> {
        let mut guests = shared.guests();
        let guest = guests.entry(peer).or_insert_with(|| Guest::new(&shared.limits, shared.now()));
        if guest.streams >= shared.limits.streams_per_peer {
            guest.streams_refused += 1;
            if guest.streams_refused >= STREAMS_REFUSED_MAX {
                guest.streams_refused = 0;
                shared.report(peer, OffenceKind::Flood, true);
            }
            return None;
        }
        guest.streams += 1;
        drop(guests);
        Some(Self { shared: Arc::clone(shared), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(guest) = self.shared.guests().get_mut(&self.peer) {
            guest.streams -= 1;
        }
    }
}

impl Guest {
    fn new(limits: &BulkLimits, now: Time) -> Self {
        Self {
            streams: 0,
            streams_refused: 0,
            uploads: Arc::new(Semaphore::new(limits.uploads_per_peer.max(1))),
            requests: Bucket::new(limits.requests_burst, limits.requests_per_second, now),
            bytes: Bucket::new(limits.asked_bytes_burst, limits.asked_bytes_per_second, now),
        }
    }
}

/// What a request is charged.
enum Charge {
    Paid,
    /// Come again after so long.
    Later(Duration),
    /// More at once than anybody gets.
    Never,
    /// Requests do not stop although they are told to come later.
    Flood,
}

impl Shared {
    fn guests(&self) -> MutexGuard<'_, BTreeMap<PeerId, Guest>> {
        // Whole between any two statements, so a panic elsewhere does not spoil it.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<InboundTag, oneshot::Sender<AnswerBody>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn report(&self, peer: PeerId, kind: OffenceKind, is_cut: bool) {
        // A full queue means that offences enough are being told of.
        let _ = self.reports.try_send(Report { peer, kind, is_cut });
    }

    /// Charges a request of so many bytes before anything is done for it.
    fn charge(&self, peer: &PeerId, bytes: u64) -> Charge {
        let now = self.now();
        let mut guests = self.guests();
        let Some(guest) = guests.get_mut(peer) else { return Charge::Flood };
        if !guest.requests.take(1, now) {
            return Charge::Flood;
        }
        if bytes > self.limits.asked_bytes_burst {
            return Charge::Never;
        }
        if guest.bytes.take(bytes, now) {
            return Charge::Paid;
        }
        Charge::Later(Duration::from_micros(guest.bytes.wait_for(bytes).0))
    }

    fn uploads_of(&self, peer: &PeerId) -> Option<Arc<Semaphore>> {
        self.guests().get(peer).map(|guest| Arc::clone(&guest.uploads))
    }
}

/// Answers the requests of one stream, one after the other, until it ends.
async fn serve(shared: Arc<Shared>, peer: PeerId, mut stream: Stream, _seat: Seat) {
    loop {
        let frame = match read_frame(&mut stream, REQUEST_FRAME_BYTES_MAX, shared.limits.stream_idle).await {
            Ok(body) => RequestFrame::parse(&body),
            Err(Broken::Empty) => Err(FrameError::Malformed),
            Err(Broken::TooLong) => return shared.report(peer, OffenceKind::TooLong, true),
            Err(Broken::Slow) => return shared.report(peer, OffenceKind::Malformed, true),
            Err(Broken::Ended | Broken::Silent | Broken::Cut) => return,
        };
        shared.counters.requests.add(1);
        let asked = frame.as_ref().map_or(0, |frame| frame.bytes_max);
        let answer = match shared.charge(&peer, asked) {
            Charge::Flood => return shared.report(peer, OffenceKind::Flood, true),
            Charge::Never => AnswerBody::Refused(REFUSED_SIZE),
            Charge::Later(wait) => busy(&shared, wait),
            Charge::Paid => match frame {
                Ok(frame) => {
                    if send(&shared, peer, &mut stream, frame).await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(error) => {
                    shared.report(peer, OffenceKind::Malformed, false);
                    AnswerBody::Refused(match error {
                        FrameError::Version(_) => REFUSED_VERSION,
                        FrameError::Tag(_) => REFUSED_TAG,
                        FrameError::Malformed => REFUSED_MALFORMED,
                    })
                }
            },
        };
        if write(&shared, &mut stream, answer).await.is_err() {
            return;
        }
    }
}

fn busy(shared: &Shared, wait: Duration) -> AnswerBody {
    shared.counters.requests_busy.add(1);
    AnswerBody::Busy { retry_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1) }
}

/// Gets an answer from the driver and sends it, under the caps on uploads.
async fn send(shared: &Shared, peer: PeerId, stream: &mut Stream, frame: RequestFrame) -> Result<(), Broken> {
    let Some(uploads) = shared.uploads_of(&peer) else { return Err(Broken::Cut) };
    let slots = async {
        // The peer's own slot first: its queue must not hold places in the common one.
        Some((uploads.acquire().await.ok()?, shared.uploads.acquire().await.ok()?))
    };
    let Ok(Some(_slots)) = timeout(UPLOAD_QUEUE, slots).await else {
        return write(shared, stream, busy(shared, UPLOAD_QUEUE / 2)).await;
    };
    let answer = ask_driver(shared, peer, &frame).await;
    let answer = match answer {
        AnswerBody::Parts(parts) if !fits(&parts, &frame) => AnswerBody::Refused(REFUSED_SIZE),
        answer => answer,
    };
    write(shared, stream, answer).await
}

/// Whether the parts are no more than was asked and paid for.
fn fits(parts: &[Arc<[u8]>], frame: &RequestFrame) -> bool {
    parts.len() <= usize::from(frame.parts_max)
        && parts.iter().all(|part| part.len() <= PART_BYTES_MAX as usize)
        && parts.iter().map(|part| part.len() as u64).sum::<u64>() <= frame.bytes_max
}

async fn ask_driver(shared: &Shared, peer: PeerId, frame: &RequestFrame) -> AnswerBody {
    let inbound = InboundTag(shared.tags.fetch_add(1, Ordering::Relaxed));
    let (sender, answer) = oneshot::channel();
    shared.waiting().insert(inbound, sender);
    // Whatever happens, also when this task is dropped in the middle, the place is given back.
    let _place = Place { shared, inbound };
    let asked = NetEvent::Asked { inbound, from: peer, request: frame.request.clone() };
    let answered = async {
        shared.events.send(asked).await.ok()?;
        answer.await.ok()
    };
    match timeout(ANSWER_WITHIN, answered).await {
        Ok(Some(answer)) => answer,
        _ => busy(shared, Duration::from_secs(1)),
    }
}

/// A request's place among those that wait for the driver.
struct Place<'a> {
    shared: &'a Shared,
    inbound: InboundTag,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.inbound);
    }
}

/// Writes the head of an answer and the bytes after it.
async fn write(shared: &Shared, stream: &mut Stream, answer: AnswerBody) -> Result<(), Broken> {
    let (head, parts) = match answer {
        AnswerBody::Parts(parts) => {
            (AnswerFrame::Parts(parts.iter().map(|part| part.len() as u32).collect()), parts)
        }
        AnswerBody::Busy { retry_ms } => (AnswerFrame::Busy(retry_ms), Vec::new()),
        AnswerBody::NotFound => (AnswerFrame::NotFound, Vec::new()),
        AnswerBody::Refused(code) => (AnswerFrame::Refused(code), Vec::new()),
    };
    write_pieces(stream, &head.to_bytes(), UPLOAD_STALL).await?;
    for part in parts {
        write_pieces(stream, &part, UPLOAD_STALL).await?;
        shared.counters.bulk_sent.add(part.len() as u64);
    }
    flush(stream, UPLOAD_STALL).await
}
