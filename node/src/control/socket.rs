//! The socket in a node's directory over which its own user steers it: one JSON line there, one JSON line back.
//!
//! Only the owner of the node's process may speak: the folder and the socket are private to it, and the system tells who
//! is at the other end. Lengths, times and the number of callers are bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::control::order::{Answer, Orders, Verb};
use crate::telemetry::process::effective_user;

/// Name of the socket in the node's directory.
pub const SOCKET: &str = "control.sock";
/// Longest line, bytes: a revocation list takes twice its bytes.
const LINE_BYTES_MAX: u64 = 3 * protocol::limits::GOSSIP_BYTES_MAX as u64;
/// Time for a caller to say what it wants, and for the node to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Callers at a time.
const CALLERS_MAX: usize = 8;
/// Longest path a socket may have on every system; Linux takes 107 bytes.
const PATH_BYTES_MAX: usize = 100;

/// A way to the socket that is short enough for the system, however deep the directory lies.
struct ShortPath {
    path: PathBuf,
    /// Open while the path is in use.
    _dir: Option<File>,
}

impl ShortPath {
    fn of(dir: &Path) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _dir: None });
        }
        let dir = File::open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(SOCKET);
        Ok(Self { path, _dir: Some(dir) })
    }
}

/// Takes orders over the socket of a directory until the process ends, inside a runtime. The caller holds the lock of the directory, so a
/// socket that stands there was left by a crash.
pub fn serve(dir: &Path, orders: Orders) -> io::Result<()> {
    match std::fs::remove_file(dir.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let short = ShortPath::of(dir)?;
    let listener = UnixListener::bind(&short.path)?;
    std::fs::set_permissions(dir.join(SOCKET), std::fs::Permissions::from_mode(0o600))?;
    let callers = Arc::new(Semaphore::new(CALLERS_MAX));
    tokio::spawn(async move {
        loop {
            let Ok(turn) = callers.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let orders = orders.clone();
                    tokio::spawn(async move {
                        if let Err(error) = tokio::time::timeout(PATIENCE, serve_one(stream, &orders))
                            .await
                            .unwrap_or_else(|late| Err(late.into()))
                        {
                            tracing::debug!(%error, "an operator's order could not be taken");
                        }
                        drop(turn);
                    });
                }
                Err(error) => {
                    // Out of file handles, as it may be: others may close theirs.
                    tracing::warn!(%error, "the control socket had a fault");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    Ok(())
}

async fn serve_one(stream: UnixStream, orders: &Orders) -> io::Result<()> {
    if effective_user() != Some(stream.peer_cred()?.uid()) {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(from.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let refused = |why: String| Answer { is_done: false, state: String::new(), why };
    let answer = match serde_json::from_str::<Verb>(&line) {
        Err(error) => refused(format!("the order is not understood: {error}")),
        Ok(verb) => match verb.fault() {
            Some(why) => refused(why),
            None => orders.give(verb).await.unwrap_or_else(|| refused("the node is ending".to_owned())),
        },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Says something to the node of a directory.
pub fn say(dir: &Path, verb: &Verb) -> io::Result<Answer> {
    let short = ShortPath::of(dir)?;
    let mut stream = std::os::unix::net::UnixStream::connect(&short.path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(verb)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX * 4)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::order::channel;

    /// A node that answers with what it was told.
    fn node(dir: &Path) {
        let (orders, mut obeyed) = channel();
        serve(dir, orders).unwrap();
        tokio::spawn(async move {
            while let Some(order) = obeyed.recv().await {
                let state = format!("{:?}", order.verb);
                let answer = Answer { is_done: true, state, why: String::new() };
                order.answer.send(answer).unwrap();
            }
        });
    }

    async fn says(dir: &Path, verb: Verb) -> io::Result<Answer> {
        let dir = dir.to_owned();
        tokio::task::spawn_blocking(move || say(&dir, &verb)).await.unwrap()
    }

    #[tokio::test]
    async fn an_order_reaches_the_node_and_its_answer_comes_back_from_however_deep_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(90)).join("e".repeat(90));
        std::fs::create_dir_all(&deep).unwrap();
        for dir in [root.path(), &deep] {
            node(dir);
            assert_eq!(says(dir, Verb::Pause).await.unwrap().state, "Pause");
            let mode = std::fs::metadata(dir.join(SOCKET)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn what_is_no_order_is_answered_and_a_socket_left_by_a_crash_is_no_hindrance() {
        let root = tempfile::tempdir().unwrap();
        node(root.path());
        // The first listener lives on in its task; the path now leads to the second.
        node(root.path());
        let path = root.path().join(SOCKET);
        for line in ["", "\n", "{}\n", "{\"verb\":\"fly\"}\n", &"x".repeat(90_000)] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            // The node may have stopped reading a line that is too long.
            drop(stream.write_all(line.as_bytes()).await);
            drop(stream.shutdown().await);
            let mut text = String::new();
            drop(stream.read_to_string(&mut text).await);
            assert!(text.is_empty() || text.contains("not understood"), "{line:?}: {text}");
        }
        let reason = "x".repeat(1_000);
        let answer = says(root.path(), Verb::Ban { peer: PeerId([1; 32]), reason }).await.unwrap();
        assert!(!answer.is_done && answer.why.contains("at most 256"), "{answer:?}");
        assert!(says(root.path(), Verb::Resume).await.unwrap().is_done);
        assert!(says(&root.path().join("nowhere"), Verb::Resume).await.is_err());
    }

    use protocol::id::PeerId;
}
