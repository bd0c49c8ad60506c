//! `starling invite`: a code with which one organization can join with one key.

use std::path::PathBuf;

use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::Domain;
use protocol::time::UnixSeconds;
use protocol::wire::certificate::Invitation;
use protocol::wire::charter::{Admission, SignedCharter};
use protocol::wire::sealed::CoSigned;
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::config::load::load;
use crate::recipe::bundle::Bundle;
use crate::recipe::invite::{Code, CodeError};
use crate::runtime::clock::today;
use crate::store::keys::Identity;
use crate::store::status::{self, NodeStatus, STATUS_FILE};
use crate::telemetry::escape;

/// Invites an organization to a run, or adds a founder's signature to an invitation.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The node at which the invitation is redeemed; it must run then
    #[command(flatten)]
    place: Place,
    /// The signed charter, or the folder that travels with it
    #[arg(long, value_name = "PATH")]
    charter: Option<PathBuf>,
    /// Whom to invite
    #[arg(long, value_name = "NAME", required_unless_present = "sign")]
    organization: Option<String>,
    /// Address at which the invited reach this node; may be repeated
    #[arg(long, value_name = "ADDRESS", conflicts_with = "sign")]
    address: Vec<String>,
    /// Days in which it must be redeemed
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Add this founder's signature to a code of another one
    #[arg(long, value_name = "CODE", conflicts_with = "organization")]
    sign: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let sources = args.place.sources().flag("node.charter", args.charter.as_ref().map(|p| p.display()));
    let loaded = load(&sources)?;
    let dir = &loaded.config.node.dir;
    let identity = Identity::load(dir)?;
    let keys = Keypair::from_secret(*identity.seed());
    let charter = Bundle::open(&loaded.config.node.charter)?.charter;
    let terms = charter.charter();
    if !matches!(terms.admission, Admission::Invite) {
        return Err(CliError::new(
            ExitCode::Refused,
            "nobody can be invited under this charter",
            "it lists its members",
            "sign a new version that lists the key, or make a charter with `starling charter new --invite`",
        ));
    }
    let mut code = match &args.sign {
        Some(code) => Code::parse(code).map_err(wrong_code)?,
        None => {
            let external = loaded.config.network.external.iter().map(ToString::to_string).collect();
            make(args, &charter, &keys, addresses(args, external, dir)?)?
        }
    };
    let invitation = code.claim().map_err(wrong_code)?;
    if invitation.run != charter.run() {
        let why =
            format!("it is for run {}, the charter for {}", invitation.run.short(), charter.run().short());
        return Err(CliError::new(
            ExitCode::Refused,
            "the code is for another run",
            why,
            "name the charter with --charter",
        ));
    }
    let is_founder = terms.founders.contains(&keys.peer());
    if is_founder {
        code.invitation.sign(&keys, Domain::Invitation);
    } else if args.sign.is_some() {
        let why = format!("peer {} is not among the founders", keys.peer());
        return Err(CliError::new(
            ExitCode::Refused,
            "the invitation cannot be signed",
            why,
            "name a founder's directory with --dir",
        ));
    }
    let signed = code.invitation.valid_signers(Domain::Invitation, &terms.founders).len();
    let text = code.to_text();
    let data = json!({ "code": text, "organization": invitation.organization, "issuer": invitation.issuer,
        "run": invitation.run, "signatures": signed, "threshold": terms.threshold,
        "redeem_until": invitation.redeem_until, "addresses": code.addresses });
    output.done(&data, |to| {
        let days = invitation.redeem_until.0.saturating_sub(today().0) / 86_400;
        writeln!(to, "for      {}", escape::line(&invitation.organization))?;
        writeln!(to, "redeem   once, within {days} days, while peer {} runs", invitation.issuer.short())?;
        writeln!(
            to,
            "signed   by {signed} of {} founders, {} needed",
            terms.founders.len(),
            terms.threshold
        )?;
        writeln!(to, "code     {text}")?;
        if signed < terms.threshold as usize {
            return writeln!(to, "next     each further founder: starling invite --sign CODE --dir DIR");
        }
        writeln!(to, "next     send it to them alone; they run: starling join CODE --dir DIR --data PATH")
    })
}

fn make(
    args: &Args,
    charter: &SignedCharter,
    keys: &Keypair,
    addresses: Vec<String>,
) -> Result<Code, CliError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| CliError::failed("could not draw a secret", e))?;
    let expires = charter.charter().expires;
    let redeem_until = UnixSeconds((today().0 + u64::from(args.days) * 86_400).min(expires.0));
    let invitation = Invitation {
        run: charter.run(),
        issuer: keys.peer(),
        token: Invitation::token_of(&secret),
        organization: args.organization.clone().unwrap_or_default(),
        redeem_until,
        not_after: expires,
    };
    if let Err(error) = protocol::wire::text::check_name("organization", &invitation.organization) {
        return Err(CliError::new(
            ExitCode::Usage,
            "the organization cannot be invited",
            error,
            "name it differently",
        ));
    }
    Ok(Code { addresses, invitation: CoSigned::unsigned(&invitation), secret })
}

/// Addresses in the order of their worth: given, configured, and those the running node listens at.
fn addresses(args: &Args, external: Vec<String>, dir: &std::path::Path) -> Result<Vec<String>, CliError> {
    let is_good = |text: &String| text.parse::<libp2p::Multiaddr>().is_ok();
    if let Some(bad) = args.address.iter().find(|a| !is_good(a)) {
        let what = format!("--address {bad}");
        return Err(CliError::new(
            ExitCode::Usage,
            what,
            "it is no address",
            "write it as /ip4/192.0.2.7/tcp/7171",
        ));
    }
    let listening = || -> Vec<String> {
        let status = status::read::<NodeStatus>(&dir.join(STATUS_FILE)).map(|s| s.value.listening);
        let mut all: Vec<String> =
            status.unwrap_or_default().into_iter().filter(|a| a.contains("/tcp/")).collect();
        // Loopback helps only somebody on this machine, but is better than nothing.
        all.sort_by_key(|a| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/"));
        all
    };
    let found = [args.address.clone(), external, listening()].into_iter().find(|list| !list.is_empty());
    let Some(found) = found else {
        return Err(CliError::new(
            ExitCode::Usage,
            "nobody would find this node",
            "it has no external address and does not run",
            "name an address with --address /ip4/192.0.2.7/tcp/7171",
        ));
    };
    Ok(found.into_iter().take(4).collect())
}

/// A word that is no code.
pub(super) fn wrong_code(error: CodeError) -> CliError {
    CliError::new(
        ExitCode::Usage,
        "the code cannot be used",
        error,
        "copy it again, whole, from whoever sent it",
    )
}
