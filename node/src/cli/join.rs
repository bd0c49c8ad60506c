//! `starling join CODE`: from an invitation to a node that is a member.
//!
//! The charter comes over the network from the address in the code, and is checked before anything is agreed to: it must
//! be the run that the invitation names, and enough of its founders must have signed both.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use protocol::codec::{decode_control, decode_manifest};
use protocol::crypto::hash::content_hash;
use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::Domain;
use protocol::wire::certificate::{Binding, CredentialError, Invitation};
use protocol::wire::charter::{Admission, Charter, Genesis, SignedCharter};
use protocol::wire::credential::Credential;
use protocol::wire::request::Want;
use protocol::wire::sealed::Sealed;
use serde_json::json;

use crate::cli::invite::wrong_code;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::config::charter_file::CharterFile;
use crate::config::key::Value;
use crate::config::load::CONFIG_FILE;
use crate::config::template;
use crate::recipe::bundle::{BASE, Bundle, CHARTER, TOKENIZER};
use crate::recipe::invite::Code;
use crate::runtime::clock::today;
use crate::runtime::membership;
use crate::runtime::visit::{Visit, VisitError};
use crate::store::disk::{private_dir_builder, private_file_options};
use crate::store::keys::{Identity, KeyError};
use crate::store::lock::DirLock;
use crate::store::redeemed::Redeemed;
use crate::telemetry::escape;

/// Joins a run by an invitation.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The code that `starling invite` printed
    code: String,
    #[command(flatten)]
    place: Place,
    /// Private training data, a file or folder; never leaves the node
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Folder of the charter, when it is at hand already; otherwise it is fetched from the inviting node
    #[arg(long, value_name = "PATH")]
    charter: Option<PathBuf>,
    /// The base checkpoint that the charter names, a folder in Hugging Face layout
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Agree without being asked
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let code = Code::parse(&args.code).map_err(wrong_code)?;
    let claim = code.claim().map_err(wrong_code)?;
    let dir = &args.place.dir;
    let identity = identity(dir)?;
    let keys = Keypair::from_secret(*identity.seed());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| CliError::failed("could not start the runtime", e))?;
    let addresses: Vec<Multiaddr> = code.addresses.iter().filter_map(|a| a.parse().ok()).collect();
    let visit = || runtime.block_on(Visit::begin(*identity.seed(), claim.run, claim.issuer, &addresses));
    let charter = match &args.charter {
        Some(folder) => Bundle::open(folder)?.charter,
        None => {
            // A visit does not wait for somebody to read: the next one begins when the terms are agreed to.
            let mut visit = visit().map_err(not_reached)?;
            let bytes = runtime.block_on(visit.charter()).map_err(not_reached)?;
            runtime.block_on(visit.end());
            SignedCharter::open(&bytes).map_err(|e| refused("the charter that came does not hold", e))?
        }
    };
    check(&code, &claim, &charter, args)?;
    let terms = charter.charter();
    output.text(|to| explain(to, terms, &claim))?;
    agree(args, output)?;
    let is_issuer = claim.issuer == keys.peer();
    let mut host = if is_issuer { None } else { Some(visit().map_err(not_reached)?) };
    let binding = match &mut host {
        None => bind_oneself(dir, &code, &keys)?,
        Some(host) => {
            let want = Want::Redeem { invitation: code.invitation.clone(), secret: code.secret };
            let bytes = runtime.block_on(host.redeem(want)).map_err(not_redeemed)?;
            decode_control(&bytes)
                .map_err(|e| refused("the answer of the inviting node does not decode", e))?
        }
    };
    let credential = Credential::Invited { invitation: code.invitation.clone(), binding };
    let certificate = credential.open(terms).map_err(|e| refused("the membership does not hold", e))?;
    if certificate.peer != keys.peer() {
        return Err(refused("the membership is another key's", certificate.peer));
    }
    let failed = |e| CliError::failed("could not keep the membership", e);
    membership::write(&membership::credential_path(dir, charter.run()), &credential).map_err(failed)?;
    let folder = match &args.charter {
        Some(folder) => folder.clone(),
        None => {
            let tokenizer = match (terms.model.tokenizer, &mut host) {
                (Some(hash), Some(host)) => Some(runtime.block_on(host.file(hash)).map_err(not_reached)?),
                _ => None,
            };
            keep_charter(dir, &charter, tokenizer, args.base.as_deref())?
        }
    };
    if let Some(host) = host {
        runtime.block_on(host.end());
    }
    // Everything the charter names is there and is what it names.
    Bundle::open(&folder)?;
    let is_new = settings(args, &folder, &certificate.organization, &code.addresses)?;
    let data = json!({ "peer_id": keys.peer(), "run": charter.run(), "organization": certificate.organization,
        "charter": folder, "dir": dir, "is_config_new": is_new });
    output.done(&data, |to| {
        writeln!(
            to,
            "joined   {} as {}",
            escape::line(&terms.name),
            escape::line(&certificate.organization)
        )?;
        writeln!(to, "peer     {}", keys.peer())?;
        let dir = dir.display();
        if is_new {
            return writeln!(to, "next     starling run --dir {dir}");
        }
        writeln!(
            to,
            "next     starling run --dir {dir} --charter {} --bootstrap {}",
            folder.display(),
            code.addresses.first().map_or("ADDRESS", String::as_str)
        )
    })
}

fn identity(dir: &Path) -> Result<Identity, CliError> {
    match Identity::load(dir) {
        Err(KeyError::Absent(_)) => {
            let identity =
                Identity::generate().map_err(|e| CliError::failed("could not draw a new identity", e))?;
            identity.create(dir)?;
            Ok(identity)
        }
        other => Ok(other?),
    }
}

/// Whether code and charter belong together and hold today.
fn check(code: &Code, claim: &Invitation, charter: &SignedCharter, args: &Args) -> Result<(), CliError> {
    let terms = charter.charter();
    if charter.run() != claim.run {
        let why = format!(
            "the code names run {}, the charter is of run {}",
            claim.run.short(),
            charter.run().short()
        );
        return Err(refused("the charter is another run's", why));
    }
    if !matches!(terms.admission, Admission::Invite) {
        return Err(refused("nobody is invited under this charter", "it lists its members"));
    }
    Invitation::open(&code.invitation, terms).map_err(|e| {
        let remedy = match e {
            CredentialError::Signatures { .. } => "have further founders run `starling invite --sign CODE`",
            _ => "ask for a new code",
        };
        CliError::new(ExitCode::Refused, "the invitation does not hold", e, remedy)
    })?;
    if today() >= claim.redeem_until || today() >= terms.expires {
        let remedy = "ask whoever sent it for a new one";
        return Err(CliError::new(
            ExitCode::Refused,
            "the invitation has run out",
            "its date has passed",
            remedy,
        ));
    }
    if matches!(terms.model.genesis, Genesis::Checkpoint { .. })
        && args.base.is_none()
        && args.charter.is_none()
    {
        return Err(CliError::new(
            ExitCode::Usage,
            "the base checkpoint is missing",
            "the charter starts from a checkpoint, which is too large to come from the inviting node",
            "name its folder with --base; its hash is checked",
        ));
    }
    Ok(())
}

/// What the charter asks of whoever joins, in plain words.
fn explain(to: &mut dyn Write, terms: &Charter, claim: &Invitation) -> std::io::Result<()> {
    let (s, x) = (&terms.schedule, &terms.exchange);
    let leaves = match (x.shards, x.predictions) {
        (true, true) => "changes of the model's parameters, and its answers on a public probe set",
        (true, false) => "changes of the model's parameters",
        _ => "the model's answers on a public probe set",
    };
    let days = terms.expires.0.saturating_sub(today().0) / 86_400;
    writeln!(to, "run        {}", escape::line(&terms.name))?;
    writeln!(to, "purpose    {}", escape::line(&terms.purpose))?;
    writeln!(to, "you        join as {}", escape::line(&claim.organization))?;
    writeln!(to, "leaves     {leaves}; your data stays on your machine")?;
    writeln!(
        to,
        "privacy    {}",
        match x.epsilon_max {
            Some(epsilon) => format!("differential privacy with epsilon at most {epsilon}"),
            None => "no differential privacy: members may learn something of your data from your updates"
                .to_owned(),
        }
    )?;
    writeln!(
        to,
        "seen       members see your key, organization, addresses, sample counts{}",
        if terms.audit.cards { " and scores" } else { "" }
    )?;
    writeln!(
        to,
        "work       {} outer steps of {} inner steps of {} examples, then {} steps of mixing",
        s.outer_steps, s.inner_steps, terms.train.batch, s.settle_steps
    )?;
    writeln!(
        to,
        "model      {} parameters: {} of memory, and several times that while it trains",
        terms.model.parameters,
        crate::config::unit::approximate_size(4 * terms.model.parameters)
    )?;
    writeln!(
        to,
        "decide     {} of {} founders may change the terms, admit and revoke",
        terms.threshold,
        terms.founders.len()
    )?;
    writeln!(to, "ends       in {days} days")
}

fn agree(args: &Args, output: &Output) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !output.is_text() {
        let remedy = "look at the terms above, and add --yes to agree";
        return Err(CliError::new(ExitCode::Usage, "not joined: nobody was there to agree", "", remedy));
    }
    eprint!("join? [y/N] ");
    let mut answer = String::new();
    stdin.read_line(&mut answer).map_err(|e| CliError::failed("could not read the answer", e))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::new(ExitCode::Refused, "not joined", "the terms were not agreed to", ""))
}

/// The issuer of an invitation makes itself a member: nobody needs to be asked.
fn bind_oneself(dir: &Path, code: &Code, keys: &Keypair) -> Result<Sealed, CliError> {
    let _lock = DirLock::acquire(dir)?;
    let claim = code.claim().map_err(wrong_code)?;
    let invitation = content_hash(&code.invitation.body);
    let failed = |e| CliError::failed("the invitation cannot be redeemed", e);
    let mut redeemed = Redeemed::open(dir, claim.run).map_err(failed)?;
    if !redeemed.claim(invitation, keys.peer()).map_err(failed)? {
        return Err(refused("the invitation was used by another key", "an invitation is for one key"));
    }
    let bound = Binding { invitation, peer: keys.peer(), from: today() };
    Ok(Sealed::new(keys, Domain::Binding, &bound))
}

/// Writes the folder that travels with a charter into the node's directory.
fn keep_charter(
    dir: &Path,
    charter: &SignedCharter,
    tokenizer: Option<Vec<u8>>,
    base: Option<&Path>,
) -> Result<PathBuf, CliError> {
    let folder = dir.join("charter");
    let failed = |e: std::io::Error| CliError::failed(format!("could not write {}", folder.display()), e);
    private_dir_builder().recursive(true).create(&folder).map_err(failed)?;
    let sealed = decode_manifest(&charter.to_bytes())
        .map_err(|e| CliError::failed("could not read the charter again", e))?;
    let file =
        CharterFile::received(&sealed).map_err(|e| CliError::failed("could not write the charter", e))?;
    file.write(&folder.join(CHARTER))?;
    if let Some(bytes) = tokenizer {
        std::fs::write(folder.join(TOKENIZER), bytes).map_err(failed)?;
    }
    if let Some(base) = base {
        let to = folder.join(BASE);
        std::fs::create_dir_all(&to).map_err(failed)?;
        for name in ["model.safetensors", "config.json"] {
            std::fs::copy(base.join(name), to.join(name)).map_err(failed)?;
        }
    }
    Ok(folder)
}

/// Writes settings when there are none; answers whether it did.
fn settings(args: &Args, folder: &Path, organization: &str, addresses: &[String]) -> Result<bool, CliError> {
    let path = args.place.dir.join(CONFIG_FILE);
    if path.exists() {
        return Ok(false);
    }
    let full =
        |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let mut given = vec![
        ("node.organization", Value::Text(organization.to_owned())),
        ("node.charter", Value::Text(full(folder))),
        ("network.bootstrap", Value::Addresses(addresses.iter().filter_map(|a| a.parse().ok()).collect())),
    ];
    if let Some(data) = &args.data {
        given.push(("node.data", Value::Text(full(data))));
    }
    let failed = |e| CliError::failed(format!("could not write {}", path.display()), e);
    let mut file = private_file_options().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(template::text(&given).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(true)
}

fn refused(what: &str, why: impl ToString) -> CliError {
    CliError::new(ExitCode::Refused, what, why, "ask whoever sent the code")
}

fn not_reached(error: VisitError) -> CliError {
    let remedy = "check that the inviting node runs and its address can be reached, then try again";
    CliError::new(ExitCode::Unreachable, "the inviting node did not answer", error, remedy)
}

fn not_redeemed(error: VisitError) -> CliError {
    let code =
        if matches!(error, VisitError::Refused { .. }) { ExitCode::Refused } else { ExitCode::Unreachable };
    CliError::new(code, "the invitation was not redeemed", error, "ask whoever sent the code for a new one")
}
