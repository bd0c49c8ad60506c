//! The door for commands on this machine: a socket in the node's directory through which `starling predict --ask` has the
//! running node ask other members, and `starling tune --through` has it tell them what was tried.
//!
//! The links and the key belong to the running node, so a command cannot ask in its place. The socket lies in the node's
//! directory and is for its owner alone; one line of JSON goes in, one comes out.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::id::PeerId;
use protocol::limits::REQUEST_BYTES_MAX;
use protocol::wire::charter::TaskTerms;
use protocol::wire::trials::Trials;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::runtime::asking::Answer;

/// Name of the socket in a node's directory.
pub const SOCKET: &str = "ask.sock";
/// Bytes of one line: a query fits a request, and JSON writes a byte with six at most.
const LINE_BYTES_MAX: u64 = 8 * REQUEST_BYTES_MAX as u64;
/// Commands at once: a person has few.
const WAITING_MAX: usize = 8;

/// What a command wants of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// The task of the run.
    Task,
    /// Ask members about rows: words when tagging, else one text each.
    Ask {
        /// The rows.
        rows: Vec<Vec<String>>,
        /// Whom to ask; everybody known when absent.
        peers: Option<Vec<PeerId>>,
        /// How long to wait, milliseconds.
        deadline_ms: u64,
    },
    /// Tell members what was tried in a search for settings, and hear what they tried.
    Tried(Trials),
}

/// What the node says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The task of the run.
    Task(TaskTerms),
    /// What became of each member's question.
    Answers(Vec<Answer>),
    /// What others tried, members of any search.
    Tried {
        /// The own key.
        me: PeerId,
        /// The others.
        others: Vec<Searcher>,
    },
    /// The wish cannot be carried out.
    Refused(String),
}

/// Another member that searches for settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Searcher {
    /// The key.
    pub peer: PeerId,
    /// Name for people.
    pub name: String,
    /// What it tried.
    pub trials: Trials,
}

/// A wish on its way to the driver.
#[derive(Debug)]
pub struct Knock {
    /// The wish.
    pub wish: Wish,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Said>,
}

/// Opens the door of a directory; a socket that a killed node left is replaced, because the caller holds the
/// directory's lock.
pub fn open(dir: &Path) -> io::Result<mpsc::Receiver<Knock>> {
    let path = dir.join(SOCKET);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (knock, knocks) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        while !knock.is_closed() {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream, knock.clone()))),
                // Out of file descriptors: the network feels it too; try again a little later.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    });
    Ok(knocks)
}

/// One command after another on a connection, until it is closed or says something else.
async fn serve(mut stream: UnixStream, knock: mpsc::Sender<Knock>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read.take(u64::MAX));
    loop {
        let mut line = Vec::new();
        lines.get_mut().set_limit(LINE_BYTES_MAX);
        if lines.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let said = match serde_json::from_slice(&line) {
            Ok(wish) => {
                let (reply, said) = oneshot::channel();
                let is_gone = knock.send(Knock { wish, reply }).await.is_err();
                let ends = || Said::Refused("the node is ending".to_owned());
                if is_gone { ends() } else { said.await.unwrap_or_else(|_| ends()) }
            }
            Err(error) => Said::Refused(format!("the question is not one: {error}")),
        };
        let mut bytes = serde_json::to_vec(&said)?;
        bytes.push(b'\n');
        write.write_all(&bytes).await?;
    }
}

/// A command's end of the door.
pub struct Door {
    stream: std::os::unix::net::UnixStream,
    path: PathBuf,
}

impl Door {
    /// Goes to the door of a directory's running node.
    pub fn at(dir: &Path) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        Ok(Self { stream: std::os::unix::net::UnixStream::connect(&path)?, path })
    }

    /// Where the door is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, wish: &Wish) -> io::Result<Said> {
        use std::io::{BufRead, Write};
        // The node keeps the deadline; this only catches one that hangs.
        let deadline_ms = match wish {
            Wish::Task | Wish::Tried(_) => 0,
            Wish::Ask { deadline_ms, .. } => *deadline_ms,
        };
        self.stream.set_read_timeout(Some(Duration::from_millis(deadline_ms) + Duration::from_secs(10)))?;
        let mut line = serde_json::to_vec(wish)?;
        line.push(b'\n');
        self.stream.write_all(&line)?;
        let mut answer = Vec::new();
        std::io::BufReader::new(&self.stream).read_until(b'\n', &mut answer)?;
        serde_json::from_slice(&answer).map_err(Into::into)
    }
}
