//! How fast and how dear is the bulk plane? Two processes on one machine; one pulls 1 MiB parts from the other.
//!
//! ```text
//! cargo run --release -p starling-node --example bulk_rate -- [--quic] [--mib 256] [--parallel 3] [--cold]
//! ```
//!
//! `--far NAMESPACE --listen IP` puts the serving end into another network namespace, see `tests/shaped_link.py`; `--cold`
//! counts from the first byte of a fresh connection.
//!
//! Prints the rate, the processor time of both ends per 10^9 bytes, and the largest resident memory of both. The rate
//! depends on what else the machine does; the processor time hardly. Reads `/proc`, so it runs on Linux.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use protocol::crypto::hash::{blake3_of, content_hash};
use protocol::id::{AskId, Hash, PeerId, RunId};
use starling_node::net::command::{AnswerBody, NetCommand, PartSpec};
use starling_node::net::config::NetConfig;
use starling_node::net::event::NetEvent;
use starling_node::net::handle::NetHandle;
use starling_node::net::start::start;
use starling_node::net::translate::to_libp2p;
use tokio::sync::mpsc::Receiver;

// As in the node itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PART_BYTES: usize = 1 << 20;
/// Parts of one answer, and all that the serving end holds.
const PARTS: usize = 32;

type Fallible<T> = Result<T, Box<dyn Error>>;

struct Options {
    is_serving: bool,
    is_quic: bool,
    is_cold: bool,
    listen: String,
    far: Option<String>,
    mib: usize,
    parallel: usize,
}

fn main() -> Fallible<()> {
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if options.is_serving { runtime.block_on(serve(&options)) } else { runtime.block_on(measure(&options)) }
}

fn options() -> Fallible<Options> {
    let mut options = Options {
        is_serving: false,
        is_quic: false,
        is_cold: false,
        listen: "127.0.0.1".to_owned(),
        far: None,
        mib: 256,
        parallel: 3,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut text = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<usize>();
        match word.as_str() {
            "--serve" => options.is_serving = true,
            "--quic" => options.is_quic = true,
            "--cold" => options.is_cold = true,
            "--listen" => options.listen = text()?,
            "--far" => options.far = Some(text()?),
            "--mib" => options.mib = number(text()?)?,
            "--parallel" => options.parallel = number(text()?)?,
            _ => {
                let known = "--quic, --cold, --mib N, --parallel N, --listen IP or --far NAMESPACE";
                return Err(format!("expected {known}, found {word}").into());
            }
        }
    }
    Ok(options)
}

fn node(
    secret: u8,
    options: &Options,
    bootstrap: Vec<Multiaddr>,
) -> Fallible<(NetHandle, Receiver<NetEvent>)> {
    let run = RunId(Hash([1; 32]));
    let ip = if options.is_serving || options.far.is_none() { options.listen.as_str() } else { "0.0.0.0" };
    let kind = if options.is_quic { "udp/0/quic-v1" } else { "tcp/0" };
    let mut config = NetConfig::new([secret; 32], run);
    config.listen = vec![format!("/ip4/{ip}/{kind}").parse()?];
    config.bootstrap = bootstrap;
    // Measure the way, not the quota.
    config.limits.asked_bytes_burst = u64::MAX / 2;
    config.limits.downloads_per_peer = options.parallel;
    Ok(start(config)?)
}

fn part(index: usize) -> Arc<[u8]> {
    let mut out = vec![0u8; PART_BYTES];
    let key = blake3_of("starling bulk rate", &[&index.to_le_bytes()]);
    blake3::Hasher::new_keyed(&key.0).finalize_xof().fill(&mut out);
    Arc::from(out)
}

/// The serving end: says where it is, answers until its input ends, then says what it took.
async fn serve(options: &Options) -> Fallible<()> {
    let (net, mut events) = node(1, options, Vec::new())?;
    let parts: Vec<Arc<[u8]>> = (0..PARTS).map(part).collect();
    let (closed, mut input) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        let _ = closed.send(());
    });
    let before = cpu_seconds()?;
    loop {
        tokio::select! {
            _ = &mut input => break,
            event = events.recv() => match event.ok_or("the network ended")? {
                NetEvent::Listening { address } => {
                    let peer = to_libp2p(&net.peer())?;
                    println!("{}", address.with(Protocol::P2p(peer)));
                }
                NetEvent::Asked { inbound, .. } => {
                    net.send(NetCommand::Answer { inbound, answer: AnswerBody::Parts(parts.clone()) });
                }
                _ => {}
            }
        }
    }
    println!("{} {}", cpu_seconds()? - before, rss_peak_mib()?);
    Ok(())
}

async fn measure(options: &Options) -> Fallible<()> {
    let program = std::env::current_exe()?;
    let mut child = match &options.far {
        None => Command::new(program),
        Some(namespace) => {
            let mut child = Command::new("ip");
            child.args(["netns", "exec", namespace]).arg(program);
            child
        }
    };
    child.args(["--serve", "--listen", &options.listen]).args(options.is_quic.then_some("--quic"));
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("the child has no output")?).lines();
    let address: Multiaddr = said.next().ok_or("the child said nothing")??.parse()?;

    let (net, mut events) = node(2, options, vec![address])?;
    let holder = loop {
        if let NetEvent::LinkUp { peer, .. } = events.recv().await.ok_or("the network ended")? {
            break peer;
        }
    };
    let spec = |index| PartSpec::exactly(PART_BYTES as u32, content_hash(&part(index)));
    let specs: Vec<PartSpec> = (0..PARTS).map(spec).collect();
    // One answer to warm up: windows open, buffers are there.
    if !options.is_cold {
        pull(&net, &mut events, holder, &specs, 1, 1).await?;
    }
    let asks = options.mib.div_ceil(PARTS);
    let (cpu, wire, started) = (cpu_seconds()?, net.counters().wire_received, Instant::now());
    let bytes = pull(&net, &mut events, holder, &specs, asks, options.parallel).await?;
    let (took, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let wire = net.counters().wire_received - wire;

    drop(child.stdin.take());
    let figures = said.next().ok_or("the child said no figures")??;
    child.wait()?;
    let (child_cpu, child_rss) = figures.split_once(' ').ok_or("the child said no figures")?;
    // The child's time includes the answer for warming up and its handshake.
    let answers = asks + usize::from(!options.is_cold);
    let child_cpu = child_cpu.parse::<f64>()? * asks as f64 / answers as f64;
    let gigabytes = bytes as f64 / 1e9;
    println!("transport            {}", if options.is_quic { "QUIC" } else { "TCP, Noise, Yamux" });
    println!("pulled               {} MiB in parts of 1 MiB, {} at once", bytes >> 20, options.parallel);
    println!("rate                 {:.1} MB/s", bytes as f64 / 1e6 / took);
    println!("on the wire          {:.4} of the payload", wire as f64 / bytes as f64);
    println!("processor, receiver  {:.2} s/GB", cpu / gigabytes);
    println!("processor, sender    {:.2} s/GB", child_cpu / gigabytes);
    println!("processor, both      {:.2} s/GB", (cpu + child_cpu) / gigabytes);
    println!("memory, receiver     {:.0} MiB at most", rss_peak_mib()?);
    println!("memory, sender       {child_rss} MiB at most, {PARTS} of them its parts");
    std::io::stdout().flush()?;
    Ok(())
}

/// Pulls all parts `asks` times, a few at once; answers the bytes that came.
async fn pull(
    net: &NetHandle,
    events: &mut Receiver<NetEvent>,
    peer: PeerId,
    specs: &[PartSpec],
    asks: usize,
    parallel: usize,
) -> Fallible<u64> {
    let ask = |number: usize| {
        net.send(NetCommand::Ask {
            ask: AskId(number as u64),
            peer,
            request: b"parts".to_vec(),
            parts: specs.to_vec(),
            first_byte_timeout: Duration::from_secs(30),
        });
    };
    let mut asked = asks.min(parallel);
    (0..asked).for_each(ask);
    let (mut done, mut bytes) = (0, 0);
    while done < asks {
        match events.recv().await.ok_or("the network ended")? {
            NetEvent::Done { bytes: came, .. } => {
                done += 1;
                bytes += came;
                if asked < asks {
                    ask(asked);
                    asked += 1;
                }
            }
            NetEvent::Failed { reason, .. } => return Err(format!("a pull failed: {reason:?}").into()),
            _ => {}
        }
    }
    Ok(bytes)
}

/// Processor time of this process so far, all threads, in seconds.
fn cpu_seconds() -> Fallible<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name may hold spaces; fields are counted from behind its parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no fields")?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11).ok_or("no utime")?.parse::<u64>()?
        + fields.get(12).ok_or("no stime")?.parse::<u64>()?;
    // Linux counts these in hundredths of a second on every machine this runs on.
    Ok(ticks as f64 / 100.0)
}

/// Largest resident memory of this process so far, in MiB.
fn rss_peak_mib() -> Fallible<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok((kib / 1024.0).round())
}
