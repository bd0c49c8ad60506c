//! `starling revoke`: a member is one no more, by the word of the founders; nobody else's key is touched.

use std::path::{Path, PathBuf};

use protocol::codec::{decode_manifest, encode};
use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::Domain;
use protocol::id::PeerId;
use protocol::wire::certificate::Revocation;
use protocol::wire::charter::SignedCharter;
use protocol::wire::sealed::CoSigned;
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::steer;
use crate::config::load::load;
use crate::control::order::Verb;
use crate::control::socket;
use crate::recipe::bundle::Bundle;
use crate::runtime::membership::{self, MembershipError};
use crate::store::atomic::{Durability, replace};
use crate::store::disk::{RealDisk, read_capped};
use crate::store::keys::Identity;
use crate::store::lock::{self, Holder};

/// Revokes a member, or adds a founder's signature to a list of revoked members.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The member: its key, the beginning of it, or its name
    #[arg(required_unless_present = "list")]
    peer: Option<String>,
    /// A list that another founder began; signed here if this node is a founder's, and given to this node
    #[arg(long, value_name = "FILE", conflicts_with = "peer")]
    list: Option<PathBuf>,
    /// Where the list goes, to pass it on
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// The signed charter, or the folder that travels with it
    #[arg(long, value_name = "PATH")]
    charter: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let sources = args.place.sources().flag("node.charter", args.charter.as_ref().map(|p| p.display()));
    let loaded = load(&sources)?;
    let dir = &loaded.config.node.dir;
    let keys = Keypair::from_secret(*Identity::load(dir)?.seed());
    let charter = Bundle::open(&loaded.config.node.charter)?.charter;
    let terms = charter.charter();
    let known = membership::revocation(dir, charter.run())?;
    let mut sealed = match (&args.list, &args.peer) {
        (Some(path), _) => given(path)?,
        (None, Some(peer)) => longer(known.as_ref(), &charter, steer::find(dir, peer)?)?,
        (None, None) => return Err(CliError::new(ExitCode::Usage, "nobody is named", "", "name a member")),
    };
    if terms.founders.contains(&keys.peer()) {
        sealed.sign(&keys, Domain::Revocation);
    } else if args.list.is_none() {
        let why = format!("peer {} is not among the founders", keys.peer());
        return Err(CliError::new(
            ExitCode::Refused,
            "only founders revoke",
            why,
            "name a founder's directory with --dir",
        ));
    }
    let signed = sealed.valid_signers(Domain::Revocation, &terms.founders).len();
    let list: Revocation = decode_manifest(&sealed.body).map_err(|e| unusable(&e))?;
    let is_enough = signed >= terms.threshold as usize;
    let out = match (&args.out, is_enough) {
        (Some(out), _) => Some(out.clone()),
        (None, true) => None,
        (None, false) => {
            Some(PathBuf::from(format!("revocation-{}-{}.list", charter.run().short(), list.version)))
        }
    };
    if let Some(out) = &out {
        replace(&RealDisk, out, &encode(&sealed), Durability::Machine)
            .map_err(|e| CliError::failed(format!("could not write {}", out.display()), e))?;
    }
    let told = if is_enough {
        Revocation::open(&sealed, terms).map_err(|e| unusable(&e))?;
        hand_over(dir, &charter, &sealed)?
    } else {
        "nobody yet"
    };
    let data = json!({ "version": list.version, "revoked": list.revoked, "signatures": signed,
        "threshold": terms.threshold, "file": out, "is_in_force": is_enough });
    output.done(&data, |to| {
        writeln!(to, "list     version {}, {} revoked", list.version, list.revoked.len())?;
        writeln!(
            to,
            "signed   by {signed} of {} founders, {} needed",
            terms.founders.len(),
            terms.threshold
        )?;
        writeln!(to, "told     {told}")?;
        match (&out, is_enough) {
            (Some(out), false) => {
                writeln!(
                    to,
                    "next     each further founder: starling revoke --list {} --dir DIR",
                    out.display()
                )
            }
            _ => writeln!(to, "next     starling peers --dir {}", dir.display()),
        }
    })
}

/// The list in force with one key more.
fn longer(known: Option<&CoSigned>, charter: &SignedCharter, peer: PeerId) -> Result<CoSigned, CliError> {
    let terms = charter.charter();
    let (version, mut revoked) = match known {
        Some(known) => {
            let known = Revocation::open(known, terms).map_err(|e| unusable(&e))?;
            (known.version, known.revoked)
        }
        None => (0, Vec::new()),
    };
    let Err(at) = revoked.binary_search(&peer) else {
        let what = format!("{} is revoked already", peer.short());
        return Err(CliError::new(ExitCode::Refused, what, format!("by version {version} of the list"), ""));
    };
    revoked.insert(at, peer);
    if revoked.len() > protocol::limits::REVOKED_MAX {
        return Err(CliError::new(
            ExitCode::Refused,
            "the list is full",
            format!("it holds at most {} keys", protocol::limits::REVOKED_MAX),
            "make a new charter without them",
        ));
    }
    Ok(CoSigned::unsigned(&Revocation { run: charter.run(), version: version + 1, revoked }))
}

fn given(path: &Path) -> Result<CoSigned, CliError> {
    let bytes = read_capped(&RealDisk, path, 64 << 10)
        .map_err(|e| CliError::new(ExitCode::Usage, format!("{} cannot be read", path.display()), e, ""))?;
    decode_manifest(&bytes).map_err(|e| {
        let what = format!("{} is no revocation list", path.display());
        CliError::new(ExitCode::Usage, what, e, "name a file that `starling revoke --out FILE` wrote")
    })
}

/// Gives the list to the node: to the running one, or into its directory for its next start.
fn hand_over(dir: &Path, charter: &SignedCharter, sealed: &CoSigned) -> Result<&'static str, CliError> {
    let holder = lock::holder(dir)
        .map_err(|e| CliError::failed(format!("could not look at the lock of {}", dir.display()), e))?;
    if matches!(holder, Holder::Nobody) {
        membership::write(&membership::revocation_path(dir, charter.run()), sealed)?;
        return Ok("this node, when it starts; it tells the others");
    }
    let list = membership::to_hex(&encode(sealed));
    let answer = socket::say(dir, &Verb::Revoke { list }).map_err(|e| {
        let remedy = "give it with `starling revoke --list FILE` when the node answers";
        CliError::new(ExitCode::Unreachable, "the running node does not take the list", e, remedy)
    })?;
    if answer.is_done {
        return Ok("the running node, which tells the others");
    }
    Err(CliError::new(
        ExitCode::Refused,
        "the running node refuses the list",
        answer.why,
        "start from the list it has: `starling revoke` reads it from the node's directory",
    ))
}

fn unusable(error: &impl ToString) -> CliError {
    CliError::new(
        ExitCode::Refused,
        "the revocation list does not hold",
        error.to_string(),
        "begin a new one",
    )
}

impl From<MembershipError> for CliError {
    fn from(error: MembershipError) -> Self {
        CliError::failed("the membership cannot be used", error)
    }
}
