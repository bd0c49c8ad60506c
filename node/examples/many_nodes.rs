//! How many nodes does one machine bear? Processes that hold a network and nothing else, all of which know one of them.
//!
//! ```text
//! cargo run --release --workspace --example many_nodes -- [--nodes 40] [--says 80]
//! ```
//!
//! Prints how long it takes until every node heard of every other (a link or a hello, said as a node says it: 300 ms
//! after a link, once for all links of the moment), what an idle node holds, and how long a message of 1 KB takes to
//! each and to the last of all others. Reads `/proc` and one clock for all processes, so it runs on Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use protocol::id::{Hash, PeerId, RunId};
use starling_node::net::command::{NetCommand, Verdict};
use starling_node::net::config::NetConfig;
use starling_node::net::event::NetEvent;
use starling_node::net::handle::NetHandle;
use starling_node::net::start::start;
use starling_node::net::translate::to_libp2p;

// As in the node itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A hello follows a link after this, as a node's does.
const HELLO_SOON: Duration = Duration::from_millis(300);
/// Bytes of a message whose way is timed.
const MESSAGE_BYTES: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(120);

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| words.iter().position(|w| w == name).and_then(|at| words.get(at + 1));
    let number = |name: &str, default: usize| value(name).map_or(Ok(default), |v| v.parse());
    let nodes = number("--nodes", 40)?;
    if let Some(place) = value("--place") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        return runtime.block_on(live(place.parse()?, nodes, value("--first")));
    }
    measure(nodes, number("--says", 80)?)
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// One node: tells its address, whom it knows, what it hears; says a message when told to.
async fn live(place: usize, nodes: usize, first: Option<&String>) -> Fallible<()> {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&(place as u64 + 1).to_le_bytes());
    let mut config = NetConfig::new(secret, RunId(Hash([3; 32])));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.bootstrap = first.map(|address| address.parse()).transpose()?.into_iter().collect();
    config.links_max = 64;
    let (net, mut events) = start(config)?;
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    let (mut known, mut address) = (BTreeSet::new(), String::new());
    let mut hello_at: Option<tokio::time::Instant> = None;
    loop {
        let hello = async {
            match hello_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hello => {
                hello_at = None;
                publish(&net, format!("hello {} {address} {}", net.peer(), micros()));
            }
            line = said.recv() => match line {
                None => return Ok(()),
                Some(line) if line == "rest" => {
                    println!("rest {} {} {}", memory_kib("VmRSS:")?, proportional_kib()?, net.counters().links);
                }
                Some(line) => publish(&net, format!("word {line} {}", micros())),
            },
            event = events.recv() => {
                let before = known.len();
                match event.ok_or("the network ended")? {
                    NetEvent::Listening { address: at } => {
                        address = at.to_string();
                        println!("at {}", at.with(Protocol::P2p(to_libp2p(&net.peer())?)));
                    }
                    NetEvent::LinkUp { peer, .. } => {
                        known.insert(peer);
                        hello_at.get_or_insert_with(|| tokio::time::Instant::now() + HELLO_SOON);
                    }
                    NetEvent::Heard { tag, bytes, .. } => {
                        net.send(NetCommand::Judge { tag, verdict: Verdict::Accept });
                        heard(&net, &bytes, &mut known)?;
                    }
                    _ => {}
                }
                if known.len() > before && known.len() == nodes - 1 {
                    println!("all {}", micros());
                }
            }
        }
    }
}

fn publish(net: &NetHandle, text: String) {
    let mut bytes = text.into_bytes();
    bytes.resize(MESSAGE_BYTES.max(bytes.len()), b' ');
    net.send(NetCommand::Publish { bytes: Arc::from(bytes) });
}

fn heard(net: &NetHandle, bytes: &[u8], known: &mut BTreeSet<PeerId>) -> Fallible<()> {
    let text = std::str::from_utf8(bytes)?;
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["hello", peer, address, _] => {
            let peer: PeerId = peer.parse().map_err(|_| "a hello names a peer")?;
            if known.insert(peer) {
                let addresses = vec![address.parse::<Multiaddr>()?];
                net.send(NetCommand::Dial { peer: Some(peer), addresses });
            }
        }
        ["word", name, at] => println!("heard {name} {}", micros().saturating_sub(at.parse()?)),
        _ => {}
    }
    Ok(())
}

struct Running {
    child: Child,
    input: ChildStdin,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(nodes: usize, says: usize) -> Fallible<()> {
    let (tell, told) = mpsc::channel::<(usize, String)>();
    let next = |told: &mpsc::Receiver<(usize, String)>| told.recv_timeout(PATIENCE);
    let mut running = Vec::new();
    let mut first: Option<String> = None;
    let began = micros();
    let mut all: BTreeMap<usize, u64> = BTreeMap::new();
    for place in 0..nodes {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["--place", &place.to_string(), "--nodes", &nodes.to_string()]);
        if let Some(first) = &first {
            child.args(["--first", first]);
        }
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let input = child.stdin.take().ok_or("no input")?;
        let tell = tell.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send((place, line)).is_err() {
                    return;
                }
            }
        });
        running.push(Running { child, input });
        // All others start at once, as soon as the first can be dialled.
        while first.is_none() {
            if let Some(address) = next(&told)?.1.strip_prefix("at ") {
                first = Some(address.to_owned());
            }
        }
    }
    let started = micros();
    while all.len() < nodes {
        let (place, line) = next(&told)?;
        if let Some(at) = line.strip_prefix("all ") {
            all.insert(place, at.parse()?);
        }
    }
    let mut took: Vec<u64> = all.values().map(|at| at.saturating_sub(began)).collect();
    took.sort_unstable();
    let (middle, last) = (quantile(&took, 0.5), quantile(&took, 1.0));
    println!(
        "nodes                {nodes} processes, started within {:.2} s",
        (started - began) as f64 / 1e6
    );
    println!("everyone knows all   {:.2} s in the middle, {:.2} s the last", middle / 1e6, last / 1e6);

    // Links settle and duplicates go before anything idle is measured.
    std::thread::sleep(Duration::from_secs(10));
    let ticks: f64 = running.iter().filter_map(|r| cpu_seconds(r.child.id())).sum();
    for node in &mut running {
        writeln!(node.input, "rest")?;
    }
    let (mut rss, mut pss, mut links) = (Vec::new(), Vec::new(), Vec::new());
    while rss.len() < nodes {
        let (_, line) = next(&told)?;
        if let ["rest", own, shared, count] = line.split(' ').collect::<Vec<_>>()[..] {
            rss.push(own.parse::<u64>()?);
            pss.push(shared.parse::<u64>()?);
            links.push(count.parse::<u64>()?);
        }
    }
    [&mut rss, &mut pss, &mut links].into_iter().for_each(|values| values.sort_unstable());
    let mib = |values: &[u64], q| quantile(values, q) / 1_024.0;
    println!(
        "links of a node      {} in the middle, {} the most",
        quantile(&links, 0.5),
        quantile(&links, 1.0)
    );
    println!("resident, idle       {:.1} MiB in the middle, {:.1} the most", mib(&rss, 0.5), mib(&rss, 1.0));
    println!("its share of it      {:.1} MiB in the middle, {:.1} the most", mib(&pss, 0.5), mib(&pss, 1.0));
    println!("processor so far     {:.2} s a node", ticks / nodes as f64);

    let (mut each, mut to_last) = (Vec::new(), Vec::new());
    let mut incomplete = 0;
    for word in 0..says {
        writeln!(running[(word * 7) % nodes].input, "{word}")?;
        let mut times = Vec::new();
        while times.len() < nodes - 1 {
            let Ok((_, line)) = told.recv_timeout(Duration::from_secs(5)) else { break };
            if let ["heard", name, micros] = line.split(' ').collect::<Vec<_>>()[..]
                && name.parse::<usize>()? == word
            {
                times.push(micros.parse::<u64>()?);
            }
        }
        incomplete += usize::from(times.len() < nodes - 1);
        to_last.extend(times.iter().max());
        each.extend(times);
        std::thread::sleep(Duration::from_millis(100));
    }
    each.sort_unstable();
    to_last.sort_unstable();
    let ms = |values: &[u64], q| quantile(values, q) / 1_000.0;
    println!("a message to each    {:.1} ms p50, {:.1} ms p99", ms(&each, 0.5), ms(&each, 0.99));
    println!("a message to all     {:.1} ms p50, {:.1} ms p99", ms(&to_last, 0.5), ms(&to_last, 0.99));
    println!("messages             {says} said, {incomplete} not heard by all within 5 s");
    Ok(())
}

/// The value below which a share of the sorted values lies.
fn quantile(sorted: &[u64], share: f64) -> f64 {
    let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(0) as f64
}

fn memory_kib(field: &str) -> Fallible<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Resident memory with shared pages divided by the processes that share them.
fn proportional_kib() -> Fallible<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}
