//! The web server over real sockets: what it serves, and the table of bad requests it survives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use starling_node::board::feed::Feed;
use starling_node::board::line::MetricLine;
use starling_node::board::now::Now;
use starling_node::board::story::Story;
use starling_node::control::order::{self, Answer, Order, Verb};
use starling_node::http::limits::Limits;
use starling_node::http::server::Door;
use starling_node::http::site::Site;
use starling_node::http::token::Token;
use starling_node::store::status::{NodeStatus, PeerStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const ME: &str = "aa00000000000000000000000000000000000000000000000000000000000000";

struct Served {
    address: SocketAddr,
    feed: Feed,
    token: String,
    orders: mpsc::Receiver<Order>,
    _dir: tempfile::TempDir,
}

fn now(name: &str, peers: Vec<PeerStatus>) -> Now {
    let status = NodeStatus {
        peer_id: ME.into(),
        name: name.into(),
        run: "cc".repeat(32),
        stage: "train".into(),
        state: "training".into(),
        outer_step: 3,
        outer_steps: 24,
        peers: 1,
        ..NodeStatus::default()
    };
    Now { status, peers, traffic: Default::default(), at: Instant::now() }
}

/// A server with short patience.
fn serve() -> Served {
    let limits = Limits {
        head_patience: Duration::from_millis(300),
        body_patience: Duration::from_millis(300),
        ..Limits::default()
    };
    serve_with(limits)
}

fn serve_with(limits: Limits) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let token = Token::of_dir(dir.path()).unwrap();
    let feed = Feed::new(ME.into(), Story::default());
    feed.now(now("ada", Vec::new()));
    let (give, orders) = order::channel();
    let secret = token.reveal().to_owned();
    let site = Site::new(feed.clone(), Some(give), token, vec!["ada".into()]).with_limits(limits);
    let door = Door::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = door.address();
    tokio::spawn(door.serve(site));
    Served { address, feed, token: secret, orders, _dir: dir }
}

/// Sends bytes and reads until the server closes: the status (0 for none) and the whole answer.
async fn send(address: SocketAddr, bytes: Vec<u8>) -> (u16, String) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = socket.into_split();
    let writer = tokio::spawn(async move {
        // The server may have heard enough before the end.
        let _ = to.write_all(&bytes).await;
        to
    });
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), from.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server let a client wait for ever");
    writer.abort();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.strip_prefix("HTTP/1.").and_then(|t| t.get(2..5)).and_then(|s| s.parse().ok());
    (status.unwrap_or(0), text)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    send(address, format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").into()).await
}

fn request(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n").into()
}

fn post(token: &str, headers: &str, body: &str) -> Vec<u8> {
    let head = format!("authorization: Bearer {token}\r\n{headers}");
    [request("POST /v1/commands", &head), body.into()].concat()
}

/// Rows B7 of the catalogue of faults, and their neighbours. 0: the connection is closed without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_each_in_its_way_and_the_server_goes_on() {
    let served = serve();
    let token = served.token.clone();
    let many: Vec<String> = (0..10_000).map(|k| format!("x-{k}: 1\r\n")).collect();
    let many = many.concat();
    let json = "{\"verb\":\"pause\"}";
    let ban = format!("{{\"verb\":\"ban\",\"peer\":\"{ME}\",\"reason\":\"\"}}");
    let length = |n: usize| format!("content-length: {n}\r\n");
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("126 header of 1 MB", request("GET /", &format!("x: {}\r\n", "y".repeat(1 << 20))), &[431]),
        ("126 ten thousand headers", request("GET /", &many), &[431]),
        ("a request line of 1 MB", request(&format!("GET /{}", "a".repeat(1 << 20)), ""), &[414, 431]),
        ("127 body over the cap", post(&token, &length(5_000), &"x".repeat(5_000)), &[413]),
        ("127 body that claims 2^63", post(&token, &length(1 << 62), ""), &[413]),
        (
            "127 chunked body over the cap",
            post(
                &token,
                "transfer-encoding: chunked\r\n",
                &format!("2000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x2000)),
            ),
            &[413],
        ),
        (
            "128 chunked body that never ends",
            post(&token, "transfer-encoding: chunked\r\n", "2\r\n{\"\r\n"),
            &[408],
        ),
        ("128 a head that never ends", b"GET / HTTP/1.1\r\nhost: localhost\r\n".to_vec(), &[0, 408]),
        ("connect and say nothing", Vec::new(), &[0, 408]),
        ("129 bad JSON", post(&token, &length(5), "{\"ver"), &[400]),
        ("129 no JSON", post(&token, &length(2), "\0\u{1}"), &[400]),
        ("129 an unknown command", post(&token, &length(17), "{\"verb\":\"reboot\"}"), &[400]),
        (
            "129 a field too many",
            post(&token, &length(34), "{\"verb\":\"ban\",\"peer\":\"\",\"why\":1}  "),
            &[400],
        ),
        (
            "129 a key that is none",
            post(&token, &length(41), "{\"verb\":\"ban\",\"peer\":\"12\",\"reason\":\"x\"}  "),
            &[400],
        ),
        ("129 a ban without a reason", post(&token, &length(ban.len()), &ban), &[400]),
        ("131 path traversal, encoded", request("GET /%2e%2e%2f%2e%2e%2fetc/passwd", ""), &[404]),
        ("131 path traversal, plain", request("GET /../../etc/passwd", ""), &[404]),
        ("131 a file of the node", request("GET /http.token", ""), &[404]),
        ("131 doubled slash", request("GET //v1/status", ""), &[404]),
        ("131 a zero byte", request("GET /v1/%00", ""), &[404]),
        (
            "132 a name that is not ours",
            b"GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_vec(),
            &[403],
        ),
        ("132 no host", b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(), &[400, 403]),
        ("132 two hosts", request("GET /", "host: evil.example\r\n"), &[400, 403]),
        ("132 HTTP/1.0 without host", b"GET / HTTP/1.0\r\n\r\n".to_vec(), &[403]),
        (
            "133 another site's post",
            post(&token, &format!("origin: http://evil.example\r\n{}", length(json.len())), json),
            &[403],
        ),
        ("133 another site reads", request("GET /v1/status", "origin: null\r\n"), &[403]),
        ("134 no token", [request("POST /v1/commands", &length(19)), json.into()].concat(), &[401]),
        ("134 wrong token", post(&"0".repeat(64), &length(json.len()), json), &[401]),
        ("134 half a token", post(&token[..32], &length(json.len()), json), &[401]),
        ("134 nothing is read without a token", request("POST /v1/commands", &length(1 << 40)), &[401]),
        ("135 a method that is not for this", request("DELETE /v1/status", ""), &[405]),
        ("135 post to the page", request("POST /", "content-length: 0\r\n"), &[405]),
        ("135 get of commands", request("GET /v1/commands", ""), &[405]),
        ("two lengths", post(&token, &format!("{}{}", length(19), length(3)), json), &[400]),
        (
            "length and chunked",
            post(&token, &format!("{}transfer-encoding: chunked\r\n", length(3)), "0\r\n\r\n"),
            &[400],
        ),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(8), &[0, 400]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[0, 400]),
    ];
    for (name, bytes, expected) in rows {
        let (status, answer) = send(served.address, bytes).await;
        assert!(expected.contains(&status), "{name}: expected {expected:?}, found {status}: {answer:.300}");
        assert_eq!(get(served.address, "/healthz").await.0, 200, "{name}");
    }
    let mut orders = served.orders;
    assert!(orders.try_recv().is_err(), "no bad request reached the node");
    let node = tokio::spawn(async move {
        let order = orders.recv().await.unwrap();
        let is_done = order.verb == Verb::Pause;
        order.answer.send(Answer { is_done, state: "pausing".into(), why: String::new() }).unwrap();
    });
    let (status, answer) = send(served.address, post(&token, &length(json.len()), json)).await;
    assert!(status == 200 && answer.contains("pausing"), "{answer}");
    node.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_followers_is_capped_and_leaves_room_for_health_checks() {
    let limits = Limits::default();
    let served = serve_with(limits);
    let head = request("GET /v1/events", "");
    let mut held = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..limits.connections_max - 1 {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(&head).await.unwrap();
        let mut begin = [0u8; 12];
        socket.read_exact(&mut begin).await.unwrap();
        statuses.push(String::from_utf8_lossy(&begin[9..]).into_owned());
        held.push(socket);
    }
    let count = |status: &str| statuses.iter().filter(|s| *s == status).count();
    assert_eq!(count("200"), limits.streams_max);
    assert_eq!(count("503"), limits.connections_max - 1 - limits.streams_max);
    assert_eq!(get(served.address, "/healthz").await.0, 200);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_are_told_so_and_closed() {
    let served = serve_with(Limits { connections_max: 3, streams_max: 2, ..Limits::default() });
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut begin = [0u8; 12];
        socket.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        held.push(socket);
    }
    assert_eq!(get(served.address, "/healthz").await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_see_what_happens_as_it_happens() {
    let served = serve();
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket.write_all(&request("GET /v1/events", "")).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0u8; 4096];
    while !text.contains("\r\n\r\n") {
        let n = socket.read(&mut buffer).await.unwrap();
        text += &String::from_utf8_lossy(&buffer[..n]);
    }
    assert!(text.contains("text/event-stream"), "{text}");
    served.feed.event(&serde_json::json!({"event":"pulled","step":3,"peer":"bb","staleness":0,"shards":2}));
    while !text.contains("\"pulled\"") {
        let n = socket.read(&mut buffer).await.unwrap();
        assert!(n > 0, "the stream ended: {text}");
        text += &String::from_utf8_lossy(&buffer[..n]);
    }
    assert!(text.contains("data: {"), "{text}");
}

fn rejected(reason: &str) -> MetricLine {
    let tags = [("reason".to_owned(), reason.to_owned())].into();
    MetricLine { name: "rejected".into(), value: Some(1.0), tags, ..MetricLine::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_figures_hold_what_the_node_told_and_no_markup_of_peers() {
    let served = serve();
    let evil = "eve\"} 1\nstarling_forged_total 7 <script>alert(1)</script>";
    let peer =
        PeerStatus { peer_id: "bb".repeat(32), name: evil.into(), is_linked: true, ..PeerStatus::default() };
    served.feed.now(now("ada", vec![peer]));
    served.feed.metric(&rejected("malformed"));
    let (status, page) = get(served.address, "/").await;
    assert!(status == 200 && page.contains("content-security-policy: default-src 'none'"), "{page:.600}");
    assert!(page.contains("outer step <b>3</b> of 24") && !page.contains("<script>alert"), "{page}");
    let (status, text) = get(served.address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(!text.contains("forged") && !text.contains("alert"), "{text}");
    for line in [
        "starling_outer_step 3",
        "starling_linked_peers 1",
        "starling_refusals_total{reason=\"malformed\"} 1",
        "starling_stage{stage=\"train\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    for (path, part) in [
        ("/v1/status", "\"outer_step\":3"),
        ("/v1/peers", "\"peers\":[{"),
        ("/v1/topology", "\"links\":[{"),
        ("/v1/ledger", "\"records\":[]"),
        ("/readyz", "\"stage\":\"train\""),
        ("/style.css", "--paper"),
        ("/live.js", "EventSource"),
        ("/body", "<main"),
    ] {
        let (status, text) = get(served.address, path).await;
        assert!(status == 200 && text.contains(part) && text.contains("nosniff"), "{path}: {text:.800}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_stopped_or_fallen_silent_is_not_ready() {
    let served = serve();
    let mut stopped = now("ada", Vec::new());
    stopped.status.state = "stopped: see the log".into();
    served.feed.now(stopped);
    assert_eq!(get(served.address, "/readyz").await.0, 503);
    let mut silent = now("ada", Vec::new());
    silent.at = Instant::now().checked_sub(Duration::from_secs(30)).unwrap();
    served.feed.now(silent.clone());
    assert_eq!((get(served.address, "/readyz").await.0, get(served.address, "/healthz").await.0), (503, 200));
    silent.at = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
    served.feed.now(silent);
    assert_eq!(get(served.address, "/healthz").await.0, 503);
}
