//! Asking: one task for each question, streams kept for the next one, memory taken before bytes are asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::Stream;
use protocol::id::{AskId, PeerId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::net::bulk::frame::{AnswerFrame, FrameError, RequestFrame};
use crate::net::bulk::server::{PROTOCOL, Report};
use crate::net::bulk::stream::{Broken, Progress, flush, read_frame, write_pieces};
use crate::net::command::PartSpec;
use crate::net::counters::Counters;
use crate::net::event::{FailReason, NetEvent, OffenceKind};
use crate::net::limits::{
    ANSWER_FRAME_BYTES_MAX, ATTEMPTS_MAX, BulkLimits, OPEN_WITHIN, PART_BYTES_MAX, PARTS_MAX,
    STREAM_IDLE_CLIENT,
};
use crate::net::translate::to_libp2p;

/// A question to a peer.
#[derive(Clone, Debug)]
pub(in crate::net) struct Ask {
    pub(in crate::net) id: AskId,
    pub(in crate::net) peer: PeerId,
    pub(in crate::net) request: Vec<u8>,
    pub(in crate::net) parts: Vec<PartSpec>,
    pub(in crate::net) first_byte_timeout: Duration,
}

impl Ask {
    /// Whether the question keeps to the caps of the wire; the driver's own mistakes end here, not at the other end.
    pub(in crate::net) fn is_askable(&self) -> bool {
        (1..=PARTS_MAX).contains(&self.parts.len())
            && (1..=protocol::limits::REQUEST_BYTES_MAX).contains(&self.request.len())
            && self.parts.iter().all(|part| part.bytes_max <= PART_BYTES_MAX)
    }

    fn bytes_max(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.bytes_exact.unwrap_or(part.bytes_max))).sum()
    }
}

/// What the asking tasks share.
struct Shared {
    control: libp2p_stream::Control,
    limits: BulkLimits,
    /// Questions under way; taken after a slot at the peer, so that a slow peer's queue holds none.
    downloads: Semaphore,
    /// Bytes of parts being read.
    memory: Arc<Semaphore>,
    peers: Mutex<BTreeMap<PeerId, Peer>>,
    events: mpsc::Sender<NetEvent>,
    reports: mpsc::Sender<Report>,
    counters: Arc<Counters>,
}

/// Streams to one peer.
struct Peer {
    slots: Arc<Semaphore>,
    idle: Vec<(Stream, Instant)>,
}

/// The asking side of the bulk plane.
pub(in crate::net) struct Client {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    running: BTreeMap<AskId, AbortHandle>,
}

/// How an exchange ended that did not bring everything.
enum Failed {
    /// The stream was dead before the answer began: worth another stream.
    Stale,
    /// For good.
    Because(FailReason),
}

impl Client {
    pub(in crate::net) fn new(
        control: libp2p_stream::Control,
        limits: BulkLimits,
        events: mpsc::Sender<NetEvent>,
        reports: mpsc::Sender<Report>,
        counters: Arc<Counters>,
    ) -> Self {
        let memory = limits.in_flight_bytes_max.clamp(PART_BYTES_MAX as usize, Semaphore::MAX_PERMITS);
        let shared = Shared {
            control,
            downloads: Semaphore::new(limits.downloads_max.max(1)),
            memory: Arc::new(Semaphore::new(memory)),
            limits,
            peers: Mutex::new(BTreeMap::new()),
            events,
            reports,
            counters,
        };
        Self { shared: Arc::new(shared), tasks: JoinSet::new(), running: BTreeMap::new() }
    }

    /// Asks. The peer should be linked; if its link breaks meanwhile the question fails.
    pub(in crate::net) fn ask(&mut self, ask: Ask) {
        self.shared.counters.asks.add(1);
        let name = ask.id;
        let shared = Arc::clone(&self.shared);
        let task = self.tasks.spawn(async move { shared.run(ask).await });
        // The same name again replaces the question under it.
        if let Some(old) = self.running.insert(name, task) {
            old.abort();
        }
    }

    /// Forgets a question.
    pub(in crate::net) fn cancel(&mut self, ask: AskId) {
        if let Some(task) = self.running.remove(&ask) {
            task.abort();
        }
    }

    /// The last link to a peer is gone: its streams are dead, and questions that wait for one fail.
    pub(in crate::net) fn forget(&self, peer: &PeerId) {
        if let Some(gone) = self.shared.peers().remove(peer) {
            gone.slots.close();
        }
    }

    /// Drops the names of tasks that ended; answers questions whose task broke down, which is a mistake of ours.
    pub(in crate::net) fn reap(&mut self) -> Vec<AskId> {
        let mut broken = Vec::new();
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let (id, has_panicked) = match ended {
                Ok((id, ())) => (id, false),
                Err(error) => (error.id(), error.is_panic()),
            };
            let name = self.running.iter().find(|(_, task)| task.id() == id).map(|(name, _)| *name);
            if let Some(name) = name {
                self.running.remove(&name);
                if has_panicked {
                    broken.push(name);
                }
            }
        }
        broken
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<PeerId, Peer>> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, ask: Ask) {
        let mut received = 0;
        let event = match self.answer_of(&ask, &mut received).await {
            Ok(()) => NetEvent::Done { ask: ask.id, bytes: received },
            Err(reason) => {
                self.counters.asks_failed.add(1);
                let kind = match reason {
                    FailReason::Corrupt { .. } | FailReason::TooLarge => Some(OffenceKind::Corrupt),
                    _ => None,
                };
                if let Some(kind) = kind {
                    let report = Report { peer: ask.peer, kind, is_cut: false };
                    // A full queue means that offences enough are being told of.
                    let _ = self.reports.try_send(report);
                }
                NetEvent::Failed { ask: ask.id, reason, received }
            }
        };
        // Nobody listens any more: the node is stopping.
        let _ = self.events.send(event).await;
    }

    async fn answer_of(&self, ask: &Ask, received: &mut u64) -> Result<(), FailReason> {
        let stopping = FailReason::Disconnected;
        let slots = {
            let mut peers = self.peers();
            let new = || Peer {
                slots: Arc::new(Semaphore::new(self.limits.downloads_per_peer.max(1))),
                idle: Vec::new(),
            };
            Arc::clone(&peers.entry(ask.peer).or_insert_with(new).slots)
        };
        let _slot = slots.acquire().await.map_err(|_| stopping)?;
        let _download = self.downloads.acquire().await.map_err(|_| stopping)?;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                // A burst of streams is dropped at the other end; come back a little apart.
                let spread = 1 + ask.id.0 % 7;
                tokio::time::sleep(Duration::from_millis((20 * spread) << attempt)).await;
            }
            // The last try never relies on a kept stream.
            let kept = if attempt + 1 < ATTEMPTS_MAX { self.kept(&ask.peer) } else { None };
            let mut stream = match kept {
                Some(stream) => stream,
                None => match self.open(&ask.peer).await {
                    Some(stream) => stream,
                    None => continue,
                },
            };
            match self.exchange(&mut stream, ask, received).await {
                Ok(()) => {
                    self.keep(ask.peer, stream);
                    return Ok(());
                }
                Err(Failed::Stale) => {}
                Err(Failed::Because(reason)) => {
                    // After these the stream stands between two requests and can be used again.
                    if let FailReason::Busy { .. } | FailReason::NotFound | FailReason::Refused(_) = reason {
                        self.keep(ask.peer, stream);
                    }
                    return Err(reason);
                }
            }
        }
        Err(FailReason::Disconnected)
    }

    /// A stream to the peer that was used before.
    fn kept(&self, peer: &PeerId) -> Option<Stream> {
        let mut peers = self.peers();
        let idle = &mut peers.get_mut(peer)?.idle;
        idle.retain(|(_, since)| since.elapsed() < STREAM_IDLE_CLIENT);
        idle.pop().map(|(stream, _)| stream)
    }

    fn keep(&self, peer: PeerId, stream: Stream) {
        if let Some(entry) = self.peers().get_mut(&peer)
            && entry.idle.len() < self.limits.downloads_per_peer
        {
            entry.idle.push((stream, Instant::now()));
        }
    }

    async fn open(&self, peer: &PeerId) -> Option<Stream> {
        let name = to_libp2p(peer).ok()?;
        let mut control = self.control.clone();
        match timeout(OPEN_WITHIN, control.open_stream(name, PROTOCOL)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer.short(), %error, "no stream");
                None
            }
            Err(_) => {
                tracing::debug!(peer = %peer.short(), "no stream in time");
                None
            }
        }
    }

    /// One request and its answer on one stream.
    async fn exchange(&self, stream: &mut Stream, ask: &Ask, received: &mut u64) -> Result<(), Failed> {
        let frame = RequestFrame {
            parts_max: ask.parts.len() as u16,
            bytes_max: ask.bytes_max(),
            request: ask.request.clone(),
        };
        // Memory for the first part comes before the request, so that what is sent for can be taken.
        let mut memory = Some(self.memory_for(&ask.parts[0]).await?);
        write_pieces(stream, &frame.to_bytes(), self.limits.stall).await.map_err(|_| Failed::Stale)?;
        flush(stream, self.limits.stall).await.map_err(|_| Failed::Stale)?;
        let sizes = self.sizes(stream, ask).await?;
        let mut progress = Progress::new(self.limits.stall, self.limits.rate_min, self.limits.rate_window);
        for (index, (size, spec)) in sizes.into_iter().zip(&ask.parts).enumerate() {
            let index = index as u32;
            let permit = match memory.take() {
                Some(first) => first,
                None => self.memory_for(spec).await?,
            };
            let mut bytes: Arc<[u8]> = std::iter::repeat_n(0u8, size as usize).collect();
            let buffer = Arc::get_mut(&mut bytes).expect("nobody else holds a buffer made just now");
            let mut hasher = blake3::Hasher::new();
            let see = |piece: &[u8]| {
                if spec.hash.is_some() {
                    hasher.update(piece);
                }
            };
            let (came, result) = progress.fill(stream, buffer, see).await;
            self.counters.bulk_received.add(came);
            result.map_err(|broken| {
                Failed::Because(match broken {
                    Broken::Slow => FailReason::Stalled,
                    _ => FailReason::Disconnected,
                })
            })?;
            if spec.hash.is_some_and(|hash| hash.0 != *hasher.finalize().as_bytes()) {
                return Err(Failed::Because(FailReason::Corrupt { index }));
            }
            *received += u64::from(size);
            let part = NetEvent::Part { ask: ask.id, index, bytes };
            let is_heard = self.events.send(part).await.is_ok();
            drop(permit);
            if !is_heard {
                return Err(Failed::Because(FailReason::Disconnected));
            }
        }
        Ok(())
    }

    async fn memory_for(&self, spec: &PartSpec) -> Result<tokio::sync::OwnedSemaphorePermit, Failed> {
        let memory = Arc::clone(&self.memory);
        let permits = memory.acquire_many_owned(spec.bytes_exact.unwrap_or(spec.bytes_max)).await;
        permits.map_err(|_| Failed::Because(FailReason::Disconnected))
    }

    /// Reads the head of the answer; answers sizes that are as asked for.
    async fn sizes(&self, stream: &mut Stream, ask: &Ask) -> Result<Vec<u32>, Failed> {
        let head = read_frame(stream, ANSWER_FRAME_BYTES_MAX, ask.first_byte_timeout).await;
        let head = head.map_err(|broken| match broken {
            Broken::Ended => Failed::Stale,
            Broken::Silent => Failed::Because(FailReason::Timeout),
            Broken::Slow => Failed::Because(FailReason::Stalled),
            Broken::Cut => Failed::Because(FailReason::Disconnected),
            Broken::Empty | Broken::TooLong => Failed::Because(FailReason::Corrupt { index: 0 }),
        })?;
        let sizes = match AnswerFrame::parse(&head) {
            Ok(AnswerFrame::Parts(sizes)) => sizes,
            Ok(AnswerFrame::Busy(retry_ms)) => return Err(Failed::Because(FailReason::Busy { retry_ms })),
            Ok(AnswerFrame::NotFound) => return Err(Failed::Because(FailReason::NotFound)),
            Ok(AnswerFrame::Refused(code)) => return Err(Failed::Because(FailReason::Refused(code))),
            Err(FrameError::Version(_)) => {
                return Err(Failed::Because(FailReason::Refused(crate::net::event::REFUSED_VERSION)));
            }
            Err(FrameError::Tag(_) | FrameError::Malformed) => {
                return Err(Failed::Because(FailReason::Corrupt { index: 0 }));
            }
        };
        if sizes.len() != ask.parts.len() {
            let index = sizes.len().min(ask.parts.len()) as u32;
            return Err(Failed::Because(FailReason::Corrupt { index }));
        }
        for (index, (size, spec)) in sizes.iter().zip(&ask.parts).enumerate() {
            if *size > spec.bytes_max {
                return Err(Failed::Because(FailReason::TooLarge));
            }
            if !spec.allows(*size) {
                return Err(Failed::Because(FailReason::Corrupt { index: index as u32 }));
            }
        }
        Ok(sizes)
    }
}
