//! `starling run`: the long-lived node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::Multiaddr;
use protocol::id::PeerId;
use protocol::rng::Seed;
use protocol::sim::attack::Attack;
use protocol::wire::charter::{Admission, SignedCharter};
use protocol::wire::credential::Credential;
use serde_json::json;
use tokio::sync::watch;

use crate::cli::backup::refuse_restored;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::threads;
use crate::cli::unfinished::refuse_unfinished;
use crate::cli::web::{self, Web};
use crate::config::hours::Hours;
use crate::config::load::load;
use crate::control::order::{self, Orders, Verb};
use crate::control::socket;
use crate::net::config::NetConfig;
use crate::recipe::bundle::{Bundle, BundleError, TOKENIZER};
use crate::runtime::clock::today;
use crate::runtime::control::Control;
use crate::runtime::driver::{DriverError, Ended};
use crate::runtime::membership;
use crate::runtime::setup::{NodeParts, SetupError, start};
use crate::store::keys::Identity;
use crate::store::lock::DirLock;
use crate::telemetry::log;
use crate::telemetry::process::machine_memory;
use crate::trainer::liar::{Liar, lie_named};
use crate::trainer::responder::Answering;
use crate::trainer::translate::{Files, Place as Device, TranslateError, open_answering, open_member};
use crate::trainer::variant::choose;

/// Runs a node until it is told to stop.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The signed charter, or the folder that travels with it
    #[arg(long, value_name = "PATH")]
    charter: Option<PathBuf>,
    /// Private training data, a file or folder; never leaves the node
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Peer to try first; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<Multiaddr>,
    /// Address to listen on; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Multiaddr>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long)]
    device: Option<String>,
    /// Which of the charter's architectures to train
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Let other members ask this node's model about texts of theirs, where the charter allows it
    #[arg(long)]
    answer_queries: bool,
    /// Links to wait for before the first outer step
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait_links: u32,
    /// Longest wait for those links, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    wait_seconds: u32,
    /// Record everything the node is told in this file, for `starling replay`
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Lie about what was learnt: to test a swarm with a hostile member, never in earnest
    #[arg(long, hide = true, value_name = "NAME", value_parser = lie_named)]
    attack: Option<Attack>,
    /// End when the run is through and no linked peer needs this node any more
    #[arg(long)]
    until_done: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let sources = args
        .place
        .sources()
        .flag("node.charter", args.charter.as_ref().map(|p| p.display()))
        .flag("node.data", args.data.as_ref().map(|p| p.display()))
        .flag("network.bootstrap", join(&args.bootstrap))
        .flag("network.listen", join(&args.listen))
        .flag("train.device", args.device.as_ref())
        .flag("train.variant", args.variant.as_ref())
        .flag("node.answer_queries", args.answer_queries.then_some(true));
    let loaded = load(&sources)?;
    let config = &loaded.config;
    log::start(&config.log.lines)
        .map_err(|e| CliError::new(ExitCode::Config, "logging cannot be set up", e, ""))?;
    for conflict in loaded.conflicts() {
        tracing::info!("{conflict}");
    }
    let dir = &config.node.dir;
    let _lock = DirLock::acquire(dir)?;
    refuse_restored(dir)?;
    refuse_unfinished(dir)?;
    let identity = Identity::load(dir)?;
    let bundle = Bundle::open(&config.node.charter)?;
    let Some(data) = &config.node.data else {
        let remedy = "name the data with --data PATH or `data` in starling.toml";
        return Err(CliError::new(
            ExitCode::Config,
            "the node has no data",
            "it would have nothing to train on",
            remedy,
        ));
    };
    let me = identity.peer();
    let terms = bundle.charter.charter();
    if terms.expires <= today() {
        return Err(expired("the node does not start"));
    }
    let (organization, credential) = member(&bundle.charter, &me, dir)?;
    if let Some(stated) = &config.node.organization
        && *stated != organization
    {
        let why = format!("the settings say {stated:?}, the founders admitted this key for {organization:?}");
        let remedy = "change node.organization in the settings, or ask the founders";
        return Err(CliError::new(
            ExitCode::Refused,
            "this node belongs to another organization",
            why,
            remedy,
        ));
    }
    let device = Device {
        device: config.train.device.clone(),
        threads: config.train.threads.unwrap_or(0),
        variant: config.train.variant.clone(),
    };
    let learner =
        open_member(&bundle.charter, &files_of(&bundle), data, &device, &me).map_err(learner_error)?;
    let learner = match args.attack {
        None => learner,
        Some(attack) => {
            tracing::warn!(attack = attack.name(), "this node lies about what it learns");
            Box::new(Liar::new(learner, attack, &Seed::from_bytes(*identity.seed())))
        }
    };
    let mut net = NetConfig::new(*identity.seed(), bundle.charter.run());
    net.listen = config.network.listen_all();
    net.bootstrap.clone_from(&config.network.bootstrap);
    net.external.clone_from(&config.network.external);
    net.mdns = config.network.mdns;
    net.is_behind_router = config.network.behind_router;
    net.relays = config.network.relay;
    net.bytes_per_second = config.network.rate_max;
    net.links_max = config.network.links_max;
    let name = config.node.name.clone().unwrap_or_else(|| me.short());
    let answers = config.node.answer_queries && terms.exchange.predictions;
    if config.node.answer_queries && !answers {
        tracing::warn!("the charter allows no predictions to leave a node: queries are not answered");
    }
    let answering = if answers { Some(answering(&bundle, &device)?) } else { None };
    let chosen =
        choose(terms, device.variant.as_deref(), machine_memory()).map_err(|e| learner_error(e.into()))?;
    let (orders, obeyed) = order::channel();
    let web = web::open(&loaded, &me, Some(orders.clone()))?;
    let parts = NodeParts {
        dir: dir.clone(),
        model: chosen.to_string(),
        answering,
        identity,
        name: name.clone(),
        charter: bundle.charter.clone(),
        credential,
        files: terms.model.tokenizer.map(|hash| (hash, bundle.dir.join(TOKENIZER))).into_iter().collect(),
        learner,
        net,
        start_links: (args.wait_links, Duration::from_secs(args.wait_seconds.into())),
        checkpoint_every: Some(config.train.checkpoint_interval),
        status_every: config.log.status_interval,
        records_max: config.log.records_max,
        disk_max: config.node.disk_max,
        ends_when_drained: args.until_done,
        control: Control::with_orders(obeyed),
        journal: args.journal.clone(),
        watched: web.as_ref().map(Web::watched),
    };
    let dir = dir.clone();
    tracing::info!(%name, peer = %me, run = %bundle.charter.run().short(), dir = %dir.display(), "node starts");
    let computing = config.train.threads.unwrap_or(0);
    let ended = drive(parts, orders, web, config.train.hours, computing)?;
    let data = json!({ "name": name, "peer_id": me.to_string(), "ended": match ended {
        Ended::Stopped => "stopped",
        Ended::Drained => "done",
        Ended::Left => "left",
        Ended::Expired => return Err(expired(&format!("the node stopped; saved in {}", dir.display()))),
    }});
    output.done(&data, |to| {
        let model = dir.join("model");
        if ended == Ended::Drained {
            writeln!(to, "done; the model is in {}", model.display())?;
            return writeln!(to, "next     starling eval --model {} --data PATH", model.display());
        }
        let how = if ended == Ended::Left { "left the run; others were told" } else { "stopped" };
        writeln!(to, "{how}; saved in {}", dir.display())?;
        writeln!(to, "next     starling run --dir {}", args.place.dir.display())
    })
}

/// The copy of the model that answers: on one thread, so that training keeps the other cores.
fn answering(bundle: &Bundle, device: &Device) -> Result<Answering, CliError> {
    let terms = bundle.charter.charter();
    let place = Device { threads: 1, ..device.clone() };
    let (session, tokenizer) =
        open_answering(&bundle.charter, &files_of(bundle), &place).map_err(learner_error)?;
    let (is_tagging, tokens_max) = (terms.is_tagging(), terms.task.tokens_max as usize);
    Ok(Answering { session, tokenizer, is_tagging, tokens_max })
}

/// Who runs this node by the founders' word, and what proves it besides the charter.
pub(super) fn member(
    charter: &SignedCharter,
    me: &PeerId,
    dir: &Path,
) -> Result<(String, Option<Credential>), CliError> {
    let refused = |why: String, remedy: &str| {
        CliError::new(ExitCode::Refused, "this node is not a member of the run", why, remedy)
    };
    if let Some(organization) = charter.listed(me) {
        return Ok((organization.to_owned(), None));
    }
    let credential = membership::credential(dir, charter.run())?;
    let is_listing = matches!(charter.charter().admission, Admission::Closed(_));
    if is_listing && credential.is_none() {
        let why = format!("the charter lists its members, and {me} is not among them");
        return Err(refused(why, "ask a founder to list this key in a new version of the charter"));
    }
    let Some(credential) = credential else {
        let why = format!("the charter admits by invitation, and {me} has used none");
        return Err(refused(why, "ask a founder for an invitation and run `starling join CODE`"));
    };
    let certificate = credential
        .open(charter.charter())
        .map_err(|e| refused(e.to_string(), "ask a founder for a new invitation"))?;
    if certificate.peer != *me || !certificate.holds(today()) {
        let why = "its membership is for another key or another time".to_owned();
        return Err(refused(why, "ask a founder for a new invitation"));
    }
    Ok((certificate.organization, Some(credential)))
}

/// Nobody trains under a charter after its date.
fn expired(what: &str) -> CliError {
    CliError::new(
        ExitCode::Refused,
        what,
        "the charter's date has passed, and no member trains under it any more",
        "ask the founders for a new version of the charter with a later `expires`",
    )
}

/// The files beside a charter.
pub(super) fn files_of(bundle: &Bundle) -> Files {
    Files { tokenizer: bundle.dir.join(TOKENIZER), base: bundle.base(), probe: bundle.probe() }
}

/// A model or data that cannot be used, as a command's error.
pub(super) fn learner_error(error: TranslateError) -> CliError {
    let code = if error.is_about_data() { ExitCode::Data } else { ExitCode::Config };
    CliError::new(code, "the model or its data cannot be used", error, "")
}

/// Runs a node on a runtime of its own until it ends or a signal asks it to; its operator speaks through a socket in its
/// directory, and over HTTP where that is served.
fn drive(
    parts: NodeParts,
    orders: Orders,
    web: Option<Web>,
    hours: Option<Hours>,
    computing: usize,
) -> Result<Ended, CliError> {
    let dir = parts.dir.clone();
    // The network needs little; computing has the trainer's threads.
    let runtime = threads::runtime(2, computing)?;
    let ended = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        stop_on_signal(stop);
        let driver = start(parts)?;
        if let Some(hours) = hours {
            tokio::spawn(keep_hours(hours, orders.clone()));
        }
        if let Err(error) = socket::serve(&dir, orders) {
            tracing::warn!(%error, "no control socket: this node cannot be paused or steered");
        }
        if let Some(web) = web {
            tokio::spawn(web.serve());
        }
        driver.run(stopped).await.map_err(CliError::from)
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

/// Pauses and resumes the node as its hours end and begin. In between its operator has the word.
async fn keep_hours(hours: Hours, orders: Orders) {
    let mut trains = true;
    loop {
        let should_train = hours.contain(today());
        if should_train != trains {
            let verb = if should_train { Verb::Resume } else { Verb::Pause };
            tracing::info!(?verb, "by the hours in the settings");
            if orders.give(verb).await.is_none() {
                return;
            }
            trains = should_train;
        }
        // Clocks are set and machines sleep: the hour is looked at, not waited for.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// Asks a node to stop at the first signal, and ends the process at the second.
pub(super) fn stop_on_signal(stop: watch::Sender<bool>) {
    tokio::spawn(async move {
        wait_for_signal().await;
        tracing::info!("stopping: saving the state, a second signal ends at once");
        // The driver may have ended on its own meanwhile.
        let _ = stop.send(true);
        wait_for_signal().await;
        std::process::exit(130);
    });
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Addresses as the value of a setting; `None` for none.
pub(super) fn join(addresses: &[Multiaddr]) -> Option<String> {
    if addresses.is_empty() {
        return None;
    }
    Some(addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

impl From<SetupError> for CliError {
    fn from(error: SetupError) -> Self {
        let code = match &error {
            SetupError::Net(_) => ExitCode::Unreachable,
            SetupError::Ledger { .. } => ExitCode::Refused,
            _ => ExitCode::Failed,
        };
        Self::new(code, "the node cannot start", error, "`starling doctor` looks at everything a node needs")
    }
}

impl From<DriverError> for CliError {
    fn from(error: DriverError) -> Self {
        Self::new(
            ExitCode::Failed,
            "the node stopped",
            error,
            "mend what is named above and start it again: it goes on from its last checkpoint",
        )
    }
}

impl From<BundleError> for CliError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Charter(error) => error.into(),
            error => Self::new(ExitCode::Config, "the files beside the charter cannot be used", error, ""),
        }
    }
}
