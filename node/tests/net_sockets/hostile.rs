//! Strangers that break the rules of the wire: the node answers or cuts them off, and goes on serving the others.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, tcp, yamux};
use starling_node::net::command::{NetCommand, PartSpec};
use starling_node::net::event::{
    FailReason, NetEvent, OffenceKind, REFUSED_MALFORMED, REFUSED_TAG, REFUSED_VERSION,
};
use starling_node::net::secured::upgrade::Secured;
use starling_node::net::translate::{from_libp2p, to_libp2p};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{Node, PATIENCE, config, expected, parts, table};

const BULK: StreamProtocol = StreamProtocol::new("/starling/bulk/1");

/// A libp2p peer that speaks streams and nothing else, and says on them what it likes.
pub(crate) struct Stranger {
    control: libp2p_stream::Control,
    target: PeerId,
    pub(crate) peer: PeerId,
    closed: mpsc::UnboundedReceiver<()>,
}

impl Stranger {
    /// A stranger that dialled this node.
    pub(crate) async fn at(node: &Node) -> Self {
        Self::that_takes(node, None).await
    }

    /// A stranger that dialled this node, and lets the node open streams of this protocol, too.
    pub(crate) async fn that_takes(node: &Node, protocol: Option<StreamProtocol>) -> Self {
        Self::start(node, protocol, |_| Vec::new()).await
    }

    /// A stranger that dialled this node, and says these bytes, made from its name, on every stream of this protocol
    /// that the node opens.
    pub(crate) async fn that_tells(
        node: &Node,
        protocol: StreamProtocol,
        bytes: impl FnOnce(&PeerId) -> Vec<u8>,
    ) -> Self {
        Self::start(node, Some(protocol), bytes).await
    }

    async fn start(
        node: &Node,
        protocol: Option<StreamProtocol>,
        says: impl FnOnce(&PeerId) -> Vec<u8>,
    ) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), Secured::new, yamux::Config::default)
            .expect("noise takes any key")
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .expect("it cannot fail")
            .build();
        let mut control = swarm.behaviour().new_control();
        let says = says(swarm.local_peer_id());
        let mut taken = protocol.map(|name| control.accept(name).expect("nobody else takes them"));
        tokio::spawn(async move {
            let mut streams = Vec::new();
            while let Some(all) = &mut taken
                && let Some((_, mut stream)) = all.next().await
            {
                if !says.is_empty() {
                    // The node may have gone.
                    let _ = stream.write_all(&says).await;
                    let _ = stream.close().await;
                }
                streams.push(stream);
            }
        });
        let peer = *swarm.local_peer_id();
        swarm.dial(node.address.clone()).expect("an address to dial");
        let (linked, mut up) = mpsc::unbounded_channel();
        let (ended, closed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                // Nobody may listen any more: then the test is over.
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => drop(linked.send(())),
                    SwarmEvent::ConnectionClosed { .. } => drop(ended.send(())),
                    _ => {}
                }
            }
        });
        tokio::time::timeout(PATIENCE, up.recv()).await.expect("in time").expect("it runs");
        let target = to_libp2p(&node.peer()).expect("a node is a peer");
        Self { control, target, peer, closed }
    }

    async fn open(&mut self) -> Stream {
        self.open_for(BULK).await
    }

    /// Opens a stream of some protocol of the node's.
    pub(crate) async fn open_for(&mut self, protocol: StreamProtocol) -> Stream {
        let open = self.control.open_stream(self.target, protocol);
        tokio::time::timeout(PATIENCE, open).await.expect("in time").expect("the node speaks it")
    }

    /// Waits until the node has cut the connection.
    pub(crate) async fn is_cut(&mut self) {
        tokio::time::timeout(PATIENCE, self.closed.recv()).await.expect("in time").expect("it runs");
    }
}

/// The head of an answer.
async fn answer(stream: &mut Stream) -> Vec<u8> {
    let read = async {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.expect("an answer comes");
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut body).await.expect("all of it");
        body
    };
    tokio::time::timeout(PATIENCE, read).await.expect("in time")
}

/// Whether the node ends the stream without a word.
async fn ends(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("in time");
    matches!(read, Ok(0) | Err(_))
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// A request for at most `parts` parts and 64 KiB.
fn request(parts: u16, text: &[u8]) -> Vec<u8> {
    let bytes_max = (64u64 << 10).to_le_bytes();
    frame(&[&[1, 1][..], &parts.to_le_bytes(), &bytes_max, text].concat())
}

fn refused(code: u16) -> Vec<u8> {
    let [low, high] = code.to_le_bytes();
    vec![1, 3, low, high]
}

/// An honest peer is still served.
async fn serves(run: &str, node: &Node, number: u8) {
    let mut honest = Node::start(run, number, &[node]).await;
    honest.linked(node.peer()).await;
    let (_, result) = honest.pull(node.peer(), b"it", expected(&parts(1, 1, 1_000))).await;
    assert_eq!(result, Ok(1_000));
}

async fn target(run: &str) -> Node {
    Node::with(config(run, 1), table(b"it", &parts(1, 1, 1_000))).await
}

enum Reaction {
    /// These heads of answers come, one after the other.
    Answers(Vec<Vec<u8>>),
    /// The stream ends, the connection stays.
    Ends,
    /// The connection is cut, and the driver is told why.
    Cut(OffenceKind),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_break_the_rules_are_answered_or_cut_off() {
    use Reaction::{Answers, Cut, Ends};
    let found = [1, 0, 1, 0, 0xe8, 3, 0, 0].to_vec();
    let malformed = || refused(REFUSED_MALFORMED);
    // The numbers are those of the catalogue of bad input.
    let rows: Vec<(&str, Vec<Vec<u8>>, Reaction)> = vec![
        ("7 length zero", vec![vec![0; 4]], Answers(vec![malformed()])),
        ("8 length of four gigabytes", vec![vec![0xff; 4]], Cut(OffenceKind::TooLong)),
        ("9 less than the length says", vec![vec![20, 0, 0, 0, 1, 1], vec![]], Ends),
        ("10 one more than may be", vec![4_109u32.to_le_bytes().to_vec()], Cut(OffenceKind::TooLong)),
        (
            "11 byte by byte",
            request(1, b"nothing").into_iter().map(|byte| vec![byte]).collect(),
            Answers(vec![vec![1, 2]]),
        ),
        (
            "12 two frames at once",
            vec![[request(1, b"nothing"), request(1, b"it")].concat()],
            Answers(vec![vec![1, 2], found]),
        ),
        ("14 a version before ours", vec![frame(&[0, 1, 1])], Answers(vec![refused(REFUSED_VERSION)])),
        ("14 a version after ours", vec![frame(&[2, 1, 1])], Answers(vec![refused(REFUSED_VERSION)])),
        ("15 an unknown tag", vec![frame(&[1, 77, 1])], Answers(vec![refused(REFUSED_TAG)])),
        ("no parts asked for", vec![request(0, b"it")], Answers(vec![malformed()])),
        ("too many parts asked for", vec![request(u16::MAX, b"it")], Answers(vec![malformed()])),
        ("no request in the frame", vec![request(1, b"")], Answers(vec![malformed()])),
        ("random bytes", vec![parts(77, 1, 64)[0].to_vec()], Cut(OffenceKind::TooLong)),
    ];
    let mut node = target("frames").await;
    for (row, writes, reaction) in rows {
        let mut stranger = Stranger::at(&node).await;
        let mut stream = stranger.open().await;
        for bytes in &writes {
            // An empty write stands for the end of what the stranger has to say.
            if bytes.is_empty() {
                stream.close().await.expect("the stream is open");
            } else {
                stream.write_all(bytes).await.expect("the stream is open");
                stream.flush().await.expect("the stream is open");
            }
        }
        match reaction {
            Answers(expected) => {
                for head in expected {
                    assert_eq!(answer(&mut stream).await, head, "{row}");
                }
            }
            Ends => assert!(ends(&mut stream).await, "{row}"),
            Cut(kind) => {
                stranger.is_cut().await;
                let peer = from_libp2p(&stranger.peer).expect("an ed25519 peer");
                let told = node.until(|event| match event {
                    NetEvent::Offended { peer: p, kind } if *p == peer => Some(*kind),
                    _ => None,
                });
                assert_eq!(told.await, kind, "{row}");
            }
        }
    }
    serves("frames", &node, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refused_frame_the_stream_goes_on() {
    let node = target("goes on").await;
    let mut stranger = Stranger::at(&node).await;
    let mut stream = stranger.open().await;
    for bad in [vec![0; 4], frame(&[9, 9]), frame(&[1, 9])] {
        stream.write_all(&bad).await.expect("open");
        stream.flush().await.expect("open");
        assert_eq!(answer(&mut stream).await[..2], [1, 3]);
    }
    stream.write_all(&request(1, b"it")).await.expect("open");
    stream.flush().await.expect("open");
    assert_eq!(answer(&mut stream).await[..2], [1, 0]);
    let mut part = vec![0; 1_000];
    stream.read_exact(&mut part).await.expect("the part follows");
    assert_eq!(part[..], parts(1, 1, 1_000)[0][..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_middle_of_a_frame_is_discarded() {
    let node = target("reset").await;
    let mut stranger = Stranger::at(&node).await;
    // The last is whole: its answer meets a stream that is gone.
    let whole = request(1, b"it");
    for cut in [1, 4, 5, 15, whole.len()] {
        let mut stream = stranger.open().await;
        // The node may have dropped a stream that came right after another; that is a reset too, only earlier.
        if stream.write_all(&whole[..cut]).await.is_ok() {
            let _ = stream.flush().await;
        }
        drop(stream);
    }
    serves("reset", &node, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_cap_are_dropped_and_thousands_of_them_cut_the_link() {
    let mut node = target("streams").await;
    let mut stranger = Stranger::at(&node).await;
    let mut held = Vec::new();
    let peer = from_libp2p(&stranger.peer).expect("an ed25519 peer");
    let mut control = stranger.control.clone();
    let target = stranger.target;
    let flood = async {
        for _ in 0..10_000 {
            // Errors begin when the node has had enough.
            match tokio::time::timeout(PATIENCE, control.open_stream(target, BULK)).await {
                Ok(Ok(stream)) => held.push(stream),
                _ => break,
            }
            if held.len() > 100 {
                held.remove(20);
            }
        }
    };
    flood.await;
    stranger.is_cut().await;
    let told = node.until(|event| match event {
        NetEvent::Offended { peer: p, kind } if *p == peer => Some(*kind),
        _ => None,
    });
    assert_eq!(told.await, OffenceKind::Flood);
    serves("streams", &node, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_end_cut_the_link() {
    let mut node = target("requests").await;
    let mut stranger = Stranger::at(&node).await;
    let stream = stranger.open().await;
    let peer = from_libp2p(&stranger.peer).expect("an ed25519 peer");
    let (mut reader, mut writer) = stream.split();
    let write = async {
        let many = request(1, b"nothing").repeat(100);
        while writer.write_all(&many).await.is_ok() && writer.flush().await.is_ok() {}
    };
    let read = async {
        let mut answers = vec![0; 4_096];
        while matches!(reader.read(&mut answers).await, Ok(1..)) {}
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(write, read) }).await.expect("it is cut off");
    stranger.is_cut().await;
    let told = node.until(|event| match event {
        NetEvent::Offended { peer: p, kind } if *p == peer => Some(*kind),
        _ => None,
    });
    assert_eq!(told.await, OffenceKind::Flood);
    serves("requests", &node, 2).await;
}

/// What a lying holder writes after it was asked, and how the asker ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lying_holders_are_found_out_without_memory_for_their_lies() {
    let part = parts(5, 1, 1_000);
    let head = |sizes: &[u32]| {
        let mut body = vec![1, 0, sizes.len() as u8, 0];
        body.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        frame(&body)
    };
    let mut flipped = part[0].to_vec();
    flipped[999] ^= 1;
    let rows: Vec<(&str, Vec<u8>, FailReason)> = vec![
        ("a head of four gigabytes", vec![0xff; 4], FailReason::Corrupt { index: 0 }),
        ("an empty head", vec![0; 4], FailReason::Corrupt { index: 0 }),
        ("an unknown status", frame(&[1, 200]), FailReason::Corrupt { index: 0 }),
        ("another version", frame(&[2, 0, 0, 0]), FailReason::Refused(REFUSED_VERSION)),
        ("more sizes than bytes", frame(&[1, 0, 255, 255, 0, 0, 0, 0]), FailReason::Corrupt { index: 0 }),
        ("a part of four gigabytes", head(&[u32::MAX]), FailReason::TooLarge),
        ("a part of another size", head(&[999]), FailReason::Corrupt { index: 0 }),
        ("no part", head(&[]), FailReason::Corrupt { index: 0 }),
        ("two parts", head(&[1_000, 1_000]), FailReason::Corrupt { index: 1 }),
        ("one bit flipped", [head(&[1_000]), flipped].concat(), FailReason::Corrupt { index: 0 }),
        (
            "the end in the middle",
            [head(&[1_000]), part[0][..500].to_vec()].concat(),
            FailReason::Disconnected,
        ),
    ];
    let virtual_before = virtual_peak_kib();
    let mut asker = Node::start("liars", 1, &[]).await;
    for (row, says, reason) in rows {
        let mut liar = Liar::start("liars", says, true).await;
        asker.net.send(NetCommand::Dial { peer: Some(liar.peer), addresses: vec![liar.address.clone()] });
        let (came, result) = asker.pull(liar.peer, b"it", expected(&part)).await;
        assert_eq!(result, Err(reason), "{row}");
        assert!(came.is_empty(), "{row}");
        liar.task.abort();
        let _ = (&mut liar.task).await;
    }
    let grown = virtual_peak_kib().saturating_sub(virtual_before);
    assert!(grown < 2 << 20, "no lie was allocated for: {grown} KiB");
}

/// Most virtual memory this process ever had, in KiB; 0 where the system does not say.
fn virtual_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A peer that is accepted as a link, and answers every request with the same bytes.
struct Liar {
    peer: protocol::id::PeerId,
    address: Multiaddr,
    task: tokio::task::JoinHandle<()>,
}

#[derive(libp2p::swarm::NetworkBehaviour)]
struct LiarBehaviour {
    identify: libp2p::identify::Behaviour,
    stream: libp2p_stream::Behaviour,
}

impl Liar {
    /// `closes`: whether it ends the stream when it has said what it says.
    async fn start(run: &str, says: Vec<u8>, closes: bool) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), Secured::new, yamux::Config::default)
            .expect("noise takes any key")
            .with_behaviour(|key| LiarBehaviour {
                identify: libp2p::identify::Behaviour::new(libp2p::identify::Config::new(
                    "/starling/1".to_owned(),
                    key.public(),
                )),
                stream: libp2p_stream::Behaviour::new(),
            })
            .expect("it cannot fail")
            .build();
        let peer = from_libp2p(swarm.local_peer_id()).expect("an ed25519 peer");
        let mut control = swarm.behaviour().stream.new_control();
        let mut requests = control.accept(BULK).expect("once");
        let kad = format!("/starling/{}/kad/1", crate::support::run_id(run));
        let kad = control.accept(StreamProtocol::try_from_owned(kad).expect("a slash first")).expect("once");
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("valid")).expect("a free port");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let says: Arc<[u8]> = Arc::from(says);
        let task = tokio::spawn(async move {
            // Held so that identify goes on naming it.
            let _held = kad;
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    Some((_, mut stream)) = requests.next() => {
                        let says = Arc::clone(&says);
                        tokio::spawn(async move {
                            let mut asked = [0; 64];
                            let _ = stream.read(&mut asked).await;
                            let _ = stream.write_all(&says).await;
                            if closes {
                                let _ = stream.close().await;
                            } else {
                                let _ = stream.flush().await;
                                std::future::pending::<()>().await;
                            }
                        });
                    }
                }
            }
        });
        Self { peer, address, task }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_connections_that_do_not_speak_the_handshake_are_closed() {
    let node = target("raw").await;
    let port: u16 = node.address.to_string().split('/').nth(4).expect("a port").parse().expect("a number");
    let mut talkers = Vec::new();
    for bytes in [
        parts(1, 1, 4_096)[0].to_vec(),
        vec![0xff; 64],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff".to_vec(),
        b"\x13/multistream/1.0.0\n\x14/starling/secured/1\n\xff\xff\xff\xff".to_vec(),
        b"\x13/multistream/1.0.0\n\x14/starling/secured/1\n\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec(),
        // Nothing at all: closed when the time for the handshake is over.
        Vec::new(),
    ] {
        talkers.push(tokio::spawn(async move {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the node listens");
            // The node may close before it has taken everything.
            let _ = socket.write_all(&bytes).await;
            let mut rest = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut rest)).await;
            assert!(end.is_ok(), "the node closes the connection");
        }));
    }
    for talker in talkers {
        talker.await.expect("it was closed");
    }
    serves("raw", &node, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_says_what_it_speaks_is_hung_up_on() {
    let mut node = target("mute").await;
    let mut stranger = Stranger::at(&node).await;
    stranger.is_cut().await;
    assert!(node.net.links().await.is_empty());
    // A question to it finds nobody.
    let peer = from_libp2p(&stranger.peer).expect("an ed25519 peer");
    let (_, result) = node.pull(peer, b"it", vec![PartSpec::at_most(1)]).await;
    assert_eq!(result, Err(FailReason::Unreachable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_stops_in_the_middle_is_given_up() {
    let part = parts(5, 1, 1_000);
    let says = [frame(&[1, 0, 1, 0, 0xe8, 3, 0, 0]), part[0][..500].to_vec()].concat();
    let liar = Liar::start("stops", says, false).await;
    let mut config = config("stops", 1);
    config.limits.stall = Duration::from_millis(300);
    let mut asker = Node::with(config, crate::support::Table::new()).await;
    asker.net.send(NetCommand::Dial { peer: Some(liar.peer), addresses: vec![liar.address.clone()] });
    let (_, result) = asker.pull(liar.peer, b"it", expected(&part)).await;
    assert_eq!(result, Err(FailReason::Stalled));
    liar.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_never_ends_cuts_the_link() {
    let mut node = target("slow").await;
    let mut stranger = Stranger::at(&node).await;
    let mut stream = stranger.open().await;
    stream.write_all(&request(1, b"it")[..9]).await.expect("open");
    stream.flush().await.expect("open");
    stranger.is_cut().await;
    let peer = from_libp2p(&stranger.peer).expect("an ed25519 peer");
    let told = node.until(|event| match event {
        NetEvent::Offended { peer: p, kind } if *p == peer => Some(*kind),
        _ => None,
    });
    assert_eq!(told.await, OffenceKind::Malformed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_which_nothing_is_asked_is_closed_and_the_link_stays() {
    let mut config = config("idle", 1);
    config.limits.stream_idle = Duration::from_millis(300);
    let node = Node::with(config, table(b"it", &parts(1, 1, 1_000))).await;
    let mut stranger = Stranger::at(&node).await;
    let mut idle = stranger.open().await;
    idle.flush().await.expect("open");
    assert!(ends(&mut idle).await);
    assert!(stranger.closed.try_recv().is_err(), "the link stays");
    let mut stream = stranger.open().await;
    stream.write_all(&request(1, b"it")).await.expect("open");
    stream.flush().await.expect("open");
    assert_eq!(answer(&mut stream).await[..2], [1, 0]);
}
