//! The web server of a running node: settings in, an open door out.

use protocol::id::PeerId;

use crate::board::feed::Feed;
use crate::board::history;
use crate::cli::output::{CliError, ExitCode};
use crate::config::load::{Loaded, Origin};
use crate::control::order::Orders;
use crate::http::error::HttpError;
use crate::http::server::Door;
use crate::http::site::Site;
use crate::http::token::Token;

/// A server whose port is taken.
#[derive(Debug)]
pub struct Web {
    door: Door,
    site: Site,
    feed: Feed,
}

impl Web {
    /// What the driver tells its story to, and where people look at it.
    pub fn watched(&self) -> (Feed, String) {
        (self.feed.clone(), format!("http://{}/", self.door.address()))
    }

    /// Serves until the runtime ends.
    pub async fn serve(self) {
        if let Err(error) = self.door.serve(self.site).await {
            tracing::error!(%error, "the dashboard is not served");
        }
    }
}

/// Opens the door that the settings ask for. The default port may be taken by another node on this machine: that is
/// said, and the node runs without; a port that somebody chose must be free.
pub fn open(loaded: &Loaded, me: &PeerId, orders: Option<Orders>) -> Result<Option<Web>, CliError> {
    let config = &loaded.config;
    let Some(address) = config.http.listen else { return Ok(None) };
    let is_chosen = loaded.settings.iter().any(|s| s.name == "http.listen" && s.origin != Origin::Default);
    let door = match Door::open(address) {
        Err(error) if !is_chosen => {
            tracing::warn!(%error, "no dashboard");
            return Ok(None);
        }
        other => other?,
    };
    let token = Token::of_dir(&config.node.dir)?;
    // A new node has no records yet, and records are no reason not to start.
    let mut story = history::tell(&config.node.dir).map(|told| told.story).unwrap_or_default();
    story.hang_up();
    let feed = Feed::new(me.to_string(), story);
    let site = Site::new(feed.clone(), orders, token, config.http.hosts.clone());
    if !address.ip().is_loopback() {
        tracing::warn!(address = %door.address(), "whoever reaches this address can read status, scores and ledger");
    }
    tracing::info!(address = %format!("http://{}/", door.address()), "dashboard");
    Ok(Some(Web { door, site, feed }))
}

impl From<HttpError> for CliError {
    fn from(error: HttpError) -> Self {
        let code = match &error {
            HttpError::Listen { .. } => ExitCode::Unreachable,
            HttpError::TokenFile { .. } => ExitCode::Failed,
            HttpError::Token { .. } | HttpError::Exposed { .. } => ExitCode::Config,
        };
        let message = error.to_string();
        let (why, remedy) = message.rsplit_once("; ").unwrap_or((&message, ""));
        Self::new(code, "the dashboard cannot be served", why, remedy)
    }
}
