//! Reading from and writing to one stream: frames under a cap, payload under a watch for progress.

use std::time::{Duration, Instant};

use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Stream;
use tokio::time::timeout;

use crate::net::limits::{FRAME_WITHIN, PIECE_BYTES};

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The stream ended before the first byte.
    Ended,
    /// No first byte in time.
    Silent,
    /// The stream ended, or the link broke, in the middle.
    Cut,
    /// The middle came too slowly.
    Slow,
    /// The length is zero.
    Empty,
    /// The length is above the cap; nothing was read or allocated for it.
    TooLong,
}

/// Reads one frame: a length, then so many bytes. The first byte may take `first_within`, the rest is due soon after.
pub(super) async fn read_frame(
    stream: &mut Stream,
    bytes_max: usize,
    first_within: Duration,
) -> Result<Vec<u8>, Broken> {
    let mut length = [0u8; 4];
    match timeout(first_within, stream.read(&mut length[..1])).await {
        Err(_) => return Err(Broken::Silent),
        Ok(Ok(1)) => {}
        Ok(_) => return Err(Broken::Ended),
    }
    let rest = async {
        stream.read_exact(&mut length[1..]).await.map_err(|_| Broken::Cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return Err(Broken::Empty);
        }
        if length > bytes_max {
            return Err(Broken::TooLong);
        }
        let mut body = vec![0u8; length];
        stream.read_exact(&mut body).await.map_err(|_| Broken::Cut)?;
        Ok(body)
    };
    timeout(FRAME_WITHIN, rest).await.map_err(|_| Broken::Slow)?
}

/// Writes all of `bytes`, piece by piece; fails when one piece is not taken within `stall`.
pub(super) async fn write_pieces(stream: &mut Stream, bytes: &[u8], stall: Duration) -> Result<(), Broken> {
    for piece in bytes.chunks(PIECE_BYTES) {
        match timeout(stall, stream.write_all(piece)).await {
            Err(_) => return Err(Broken::Slow),
            Ok(Err(_)) => return Err(Broken::Cut),
            Ok(Ok(())) => {}
        }
    }
    Ok(())
}

/// Sends what is buffered.
pub(super) async fn flush(stream: &mut Stream, stall: Duration) -> Result<(), Broken> {
    match timeout(stall, stream.flush()).await {
        Err(_) => Err(Broken::Slow),
        Ok(Err(_)) => Err(Broken::Cut),
        Ok(Ok(())) => Ok(()),
    }
}

/// Watches that a download makes progress, over the time spent reading alone: waiting for our own memory is not the
/// other end's fault.
#[derive(Debug)]
pub(super) struct Progress {
    stall: Duration,
    rate_min: u64,
    window: Duration,
    read_for: Duration,
    read: u64,
}

impl Progress {
    pub(super) fn new(stall: Duration, rate_min: u64, window: Duration) -> Self {
        Self { stall, rate_min, window, read_for: Duration::ZERO, read: 0 }
    }

    /// Fills `buffer`, handing each piece to `see` while it is warm. Answers how much came in any case.
    pub(super) async fn fill(
        &mut self,
        stream: &mut Stream,
        buffer: &mut [u8],
        mut see: impl FnMut(&[u8]),
    ) -> (u64, Result<(), Broken>) {
        let (mut filled, mut seen) = (0, 0);
        while filled < buffer.len() {
            let end = buffer.len().min(seen + PIECE_BYTES);
            let started = Instant::now();
            let read = match timeout(self.stall, stream.read(&mut buffer[filled..end])).await {
                Err(_) => return (filled as u64, Err(Broken::Slow)),
                Ok(Ok(0) | Err(_)) => return (filled as u64, Err(Broken::Cut)),
                Ok(Ok(read)) => read,
            };
            filled += read;
            if filled == end {
                see(&buffer[seen..end]);
                seen = end;
            }
            if !self.is_fast_enough(read as u64, started.elapsed()) {
                return (filled as u64, Err(Broken::Slow));
            }
        }
        (filled as u64, Ok(()))
    }

    fn is_fast_enough(&mut self, read: u64, took: Duration) -> bool {
        self.read += read;
        self.read_for += took;
        if self.read_for < self.window {
            return true;
        }
        let is_fast_enough = self.read as f64 >= self.rate_min as f64 * self.read_for.as_secs_f64();
        self.read = 0;
        self.read_for = Duration::ZERO;
        is_fast_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_too_slow_and_a_pause_of_ours_is_not_counted() {
        let second = Duration::from_secs(1);
        let mut progress = Progress::new(15 * second, 1_000, 30 * second);
        // Fast for a window, however long it takes around the reads.
        assert!((0..60).all(|_| progress.is_fast_enough(2_000, second)));
        // One byte a second for a window.
        let mut progress = Progress::new(15 * second, 1_000, 30 * second);
        let verdicts: Vec<bool> = (0..30).map(|_| progress.is_fast_enough(1, second)).collect();
        assert_eq!(verdicts.iter().filter(|ok| !**ok).count(), 1);
        assert!(!verdicts[29]);
    }
}
