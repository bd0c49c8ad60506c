//! `starling observe`: watches a run without training.

use std::path::PathBuf;
use std::time::Duration;

use libp2p::Multiaddr;
use tokio::sync::watch;

use crate::cli::output::{CliError, Output};
use crate::cli::place::Place;
use crate::cli::run::{join, member, stop_on_signal};
use crate::cli::threads;
use crate::cli::web;
use crate::config::load::load;
use crate::net::config::NetConfig;
use crate::recipe::bundle::Bundle;
use crate::runtime::observer::{Observer, ObserverParts};
use crate::store::keys::Identity;
use crate::store::lock::DirLock;
use crate::telemetry::log;

/// Joins the gossip of a run, trains nothing, records what it sees.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The signed charter, or the folder that travels with it
    #[arg(long, value_name = "PATH")]
    charter: Option<PathBuf>,
    /// Peer to try first; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<Multiaddr>,
    /// Address to listen on; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Multiaddr>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let sources = args
        .place
        .sources()
        .flag("node.charter", args.charter.as_ref().map(|p| p.display()))
        .flag("network.bootstrap", join(&args.bootstrap))
        .flag("network.listen", join(&args.listen));
    let loaded = load(&sources)?;
    let config = &loaded.config;
    log::start(&config.log.lines).map_err(|e| CliError::failed("logging cannot be set up", e))?;
    let dir = &config.node.dir;
    let _lock = DirLock::acquire(dir)?;
    let identity = Identity::load(dir)?;
    let bundle = Bundle::open(&config.node.charter)?;
    let me = identity.peer();
    let mut net = NetConfig::new(*identity.seed(), bundle.charter.run());
    net.listen = config.network.listen_all();
    net.bootstrap.clone_from(&config.network.bootstrap);
    net.external.clone_from(&config.network.external);
    net.mdns = config.network.mdns;
    net.is_behind_router = config.network.behind_router;
    net.relays = config.network.relay;
    net.bytes_per_second = config.network.rate_max;
    net.links_max = config.network.links_max;
    // A stranger may watch as well, but sees less.
    let membership = member(&bundle.charter, &me, dir).ok();
    let web = web::open(&loaded, &me, None)?;
    let parts = ObserverParts {
        dir: dir.clone(),
        identity,
        name: config.node.name.clone().unwrap_or_else(|| me.short()),
        charter: bundle.charter.clone(),
        is_member: membership.is_some(),
        credential: membership.and_then(|(_, credential)| credential),
        net,
        records_max: config.log.records_max,
        disk_max: config.node.disk_max,
        watched: web.as_ref().map(web::Web::watched),
    };
    let runtime = threads::runtime(1, 1)?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        stop_on_signal(stop);
        let observer = Observer::start(parts)?;
        tracing::info!(run = %bundle.charter.run().short(), dir = %dir.display(), "observing");
        if !observer.is_member() {
            tracing::warn!(
                "this key is no member of the run: announcements and scores are seen, distances between models are not"
            );
        }
        if let Some(web) = web {
            tokio::spawn(web.serve());
        }
        observer.run(stopped).await.map_err(CliError::from)
    })?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    output.done(&serde_json::json!({ "dir": dir }), |to| {
        writeln!(to, "stopped; the records are in {}", dir.display())?;
        writeln!(to, "next     starling report {}", dir.display())
    })
}
