//! The dashboard in a real browser: with scripts it follows the node under its own policy, without them it is complete.
//!
//! Skipped with a message where no Chromium is installed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use starling_node::board::feed::Feed;
use starling_node::board::now::Now;
use starling_node::board::story::Story;
use starling_node::http::server::Door;
use starling_node::http::site::Site;
use starling_node::http::token::Token;
use starling_node::store::status::{NodeStatus, PeerStatus};

const ME: &str = "aa00000000000000000000000000000000000000000000000000000000000000";
/// A browser that does not do it in this time does not do it at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the browser with the test, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn browser() -> Option<Command> {
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    });
    let Some(name) = found else {
        eprintln!("skipped: no chromium here; `apt-get install chromium` brings it");
        return None;
    };
    Some(Command::new(name))
}

fn arguments(command: &mut Command, profile: &Path) {
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display()));
}

fn serve(feed: &Feed) -> String {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(feed.clone(), None, Token::of_dir(dir.path()).unwrap(), Vec::new());
    let door = Door::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", door.address());
    tokio::spawn(door.serve(site));
    url
}

fn feed() -> Feed {
    let feed = Feed::new(ME.into(), Story::default());
    let status = NodeStatus {
        peer_id: ME.into(),
        name: "ada".into(),
        stage: "train".into(),
        outer_step: 3,
        outer_steps: 24,
        ..NodeStatus::default()
    };
    let peer = PeerStatus {
        peer_id: "bb".repeat(32),
        name: "bela".into(),
        is_linked: true,
        ..PeerStatus::default()
    };
    feed.now(Now { status, peers: vec![peer], traffic: Default::default(), at: Instant::now() });
    feed.event(
        &serde_json::json!({"event":"pulled","step":3,"peer":"bb".repeat(32),"staleness":0,"shards":2}),
    );
    feed
}

/// One figure of the server's own metrics.
async fn figure(url: &str, name: &str) -> f64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.trim().parse().unwrap()
}

async fn wait_for(url: &str, name: &str, least: f64) {
    let begun = Instant::now();
    while figure(url, name).await < least {
        assert!(begun.elapsed() < PATIENCE, "{name} did not reach {least}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_scripts_the_page_follows_the_node() {
    let Some(mut command) = browser() else { return };
    let feed = feed();
    let url = serve(&feed);
    let profile = tempfile::tempdir().unwrap();
    arguments(&mut command, profile.path());
    // Without an order to print, it stays open like anybody's browser.
    command.args(["--enable-logging=stderr", "--remote-debugging-port=0"]).arg(&url);
    let log = profile.path().join("browser.log");
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let running = Running(command.spawn().unwrap());
    wait_for(&url, "starling_event_streams", 1.0).await;
    let before = figure(&url, "starling_http_requests_total{path=\"/body\"}").await;
    feed.event(
        &serde_json::json!({"event":"pulled","step":4,"peer":"bb".repeat(32),"staleness":0,"shards":2}),
    );
    wait_for(&url, "starling_http_requests_total{path=\"/body\"}", before + 1.0).await;
    drop(running);
    let said = std::fs::read_to_string(&log).unwrap();
    let complaints: Vec<_> =
        said.lines().filter(|l| l.contains(":CONSOLE") && !l.contains("net::ERR")).collect();
    assert!(complaints.is_empty(), "the page breaks its own policy or its script: {complaints:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_the_page_is_drawn_all_the_same() {
    let Some(mut command) = browser() else { return };
    let url = serve(&feed());
    let profile = tempfile::tempdir().unwrap();
    let picture = profile.path().join("page.png");
    // As a person turns scripts off; the switch of the engine would stop the browser's own page that takes the picture.
    let off = serde_json::json!({"profile": {"default_content_setting_values": {"javascript": 2}}});
    std::fs::create_dir(profile.path().join("Default")).unwrap();
    std::fs::write(profile.path().join("Default/Preferences"), off.to_string()).unwrap();
    arguments(&mut command, profile.path());
    command.arg("--window-size=1200,1600");
    command.arg(format!("--screenshot={}", picture.display())).arg(&url);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(tokio::task::spawn_blocking(move || command.status()).await.unwrap().unwrap().success());
    // A blank page of this size is a picture of about 8 kB.
    let bytes = std::fs::metadata(&picture).unwrap().len();
    assert!(bytes > 40_000, "a picture of {bytes} bytes is blank");
    assert!(figure(&url, "starling_http_requests_total{path=\"/style.css\"}").await >= 1.0);
    assert!(figure(&url, "starling_http_requests_total{path=\"/v1/events\"}").await < 1.0, "no script ran");
}
