//! `starling charter check`, `sign`, `show`: the cooperation agreement, from draft to signed file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::crypto::keys::Keypair;
use protocol::wire::charter::{Admission, Charter, CharterError, Genesis};
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::config::charter_file::CharterFile;
use crate::store::keys::Identity;
use crate::telemetry::escape;
use crate::trainer::variant::architectures;

/// Checks, signs or shows a charter.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Checks terms, expiry and signatures
    Check {
        /// The charter
        file: PathBuf,
    },
    /// Adds this node's signature as a founder
    Sign {
        /// The charter
        file: PathBuf,
        /// Whose signature
        #[command(flatten)]
        place: Place,
    },
    /// Shows a charter in words
    Show {
        /// The charter
        file: PathBuf,
    },
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Check { file } => check(file, output),
        Command::Sign { file, place } => sign(file, place, output),
        Command::Show { file } => show(file, output),
    }
}

fn check(path: &Path, output: &Output) -> Result<(), CliError> {
    let file = CharterFile::read(path)?;
    let charter = file.charter();
    charter.check().map_err(|e| wrong_terms(path, &e))?;
    let signers: Vec<_> = file.signers().iter().map(ToString::to_string).collect();
    let data = json!({
        "name": charter.name, "version": charter.version, "run": charter.run_id(), "founders": charter.founders,
        "threshold": charter.threshold, "signers": signers, "expires": charter.expires,
    });
    let left = days_left(charter);
    if left.is_none() {
        let what = format!("{} has expired", path.display());
        return Err(CliError::new(
            ExitCode::Refused,
            what,
            "no member trains under it any more",
            "set a later date in a new version and sign that",
        )
        .with_details(&data));
    }
    if let Err(error) = file.open() {
        let missing: Vec<_> =
            charter.founders.iter().map(ToString::to_string).filter(|f| !signers.contains(f)).collect();
        let what = format!("{} is not in force", path.display());
        let why = format!("{error}\nnot signed yet by {}", missing.join(", "));
        return Err(CliError::new(
            ExitCode::Refused,
            what,
            why,
            "each founder runs `starling charter sign FILE --dir DIR`",
        )
        .with_details(&data));
    }
    output.done(&data, |to| {
        writeln!(
            to,
            "in force  {} version {}, run {}",
            escape::line(&charter.name),
            charter.version,
            charter.run_id()
        )?;
        writeln!(
            to,
            "signed    {} of {} founders, {} needed",
            signers.len(),
            charter.founders.len(),
            charter.threshold
        )?;
        writeln!(to, "expires   in {} days", left.unwrap_or_default())?;
        writeln!(
            to,
            "next      give {} to every member; each runs `starling run --charter FILE`",
            path.display()
        )
    })
}

fn sign(path: &Path, place: &Place, output: &Output) -> Result<(), CliError> {
    let mut file = CharterFile::read(path)?;
    file.charter().check().map_err(|e| wrong_terms(path, &e))?;
    let identity = Identity::load(&place.state_dir())?;
    let keys = Keypair::from_secret(*identity.seed());
    if !file.charter().founders.contains(&keys.peer()) {
        let why = format!("peer {} is not among its founders", keys.peer());
        let remedy =
            "name the directory of a founder with --dir, or add the key to `founders` and let all sign again";
        return Err(CliError::new(
            ExitCode::Refused,
            format!("{} cannot be signed", path.display()),
            why,
            remedy,
        ));
    }
    file.sign(&keys);
    file.write(path)?;
    let (signed, threshold) = (file.signers().len(), file.charter().threshold);
    let run = file.charter().run_id();
    output.done(
        &json!({ "run": run, "signer": keys.peer(), "signatures": signed, "threshold": threshold }),
        |to| {
            writeln!(
                to,
                "signed  {} as {}, {signed} of {threshold} signatures needed",
                path.display(),
                keys.peer().short()
            )?;
            if signed < threshold as usize {
                return writeln!(to, "next    pass it to the next founder to sign");
            }
            let path = path.display();
            writeln!(
                to,
                "next    give it to every member; `starling charter check {path}` tells that it is in force"
            )
        },
    )
}

fn show(path: &Path, output: &Output) -> Result<(), CliError> {
    let file = CharterFile::read(path)?;
    let charter = file.charter();
    let signers = file.signers();
    let data = json!({ "run": charter.run_id(), "signers": signers, "charter": charter });
    output.done(&data, |to| print(to, charter, signers.len()))
}

fn print(to: &mut dyn Write, charter: &Charter, signatures: usize) -> std::io::Result<()> {
    let (m, s, x) = (&charter.mixing, &charter.schedule, &charter.exchange);
    let genesis = match &charter.model.genesis {
        Genesis::Seed(seed) => format!("drawn from seed {seed}"),
        Genesis::Checkpoint { hash, .. } => format!("base checkpoint {}", hash.short()),
    };
    let leaves = match (x.shards, x.predictions) {
        (true, true) => {
            "parameter shards, and answers of its model to members' queries where its owner allows it"
        }
        (true, false) => "parameter shards",
        (false, true) => {
            "predictions on the probe set, and answers of its model to members' queries where its owner allows it"
        }
        (false, false) => "nothing",
    };
    let privacy = x
        .epsilon_max
        .map_or("no differential privacy".into(), |e| format!("differential privacy, epsilon at most {e}"));
    let expires = days_left(charter).map_or("has expired".into(), |days| format!("in {days} days"));
    let rows = [
        ("name", format!("{} version {}", escape::line(&charter.name), charter.version)),
        ("purpose", escape::line(&charter.purpose)),
        ("run", charter.run_id().to_string()),
        ("expires", expires),
        (
            "signed",
            format!("{signatures} of {} founders, {} needed", charter.founders.len(), charter.threshold),
        ),
        ("model", format!("{} parameters, {genesis}", charter.model.parameters)),
        (
            "task",
            format!(
                "{}, {} labels, scored by {}",
                escape::line(&charter.task.kind),
                charter.task.labels.len(),
                escape::line(&charter.task.metric)
            ),
        ),
        ("leaves a node", format!("{leaves}; codec {}, settling {}; {privacy}", x.codec, x.settle_codec)),
        (
            "mixing",
            format!(
                "{} peers per shard, {} liars planned for, rule {:?}, staleness at most {}",
                m.pulls, m.byzantine, m.rule, m.staleness_max
            ),
        ),
        (
            "schedule",
            format!(
                "{} outer steps of {} inner steps{}, then {} settle steps",
                s.outer_steps,
                s.inner_steps,
                if s.overlap { " that go on while updates travel" } else { "" },
                s.settle_steps
            ),
        ),
    ];
    rows.iter().try_for_each(|(name, value)| writeln!(to, "{name:<13}  {value}"))?;
    if let Some(terms) = &charter.codistillation {
        let all = architectures(charter);
        let words: Vec<String> = all
            .iter()
            .map(|a| format!("{} with {} parameters", escape::line(a.name), a.parameters))
            .collect();
        let (outputs, labels) = (terms.outputs, charter.task.labels.len());
        let (alpha, temperature) = (terms.alpha, terms.temperature);
        let rows = [
            ("architectures", words.join(", ")),
            ("probe set", format!("{outputs} outputs of {labels} labels, {} numbers", charter.exchanged())),
            (
                "learning",
                format!("own labels, and the members' mix: weight {alpha}, temperature {temperature}"),
            ),
        ];
        rows.iter().try_for_each(|(name, value)| writeln!(to, "{name:<13}  {value}"))?;
    }
    match &charter.admission {
        Admission::Closed(members) => {
            writeln!(to, "{:<13}  {} listed", "members", members.len())?;
            members.iter().try_for_each(|m| {
                writeln!(to, "               {}  {}", m.peer, escape::line(&m.organization))
            })
        }
        Admission::Invite => writeln!(to, "{:<13}  by certificates signed by the founders", "members"),
    }
}

fn days_left(charter: &Charter) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    charter.expires.0.checked_sub(now).filter(|&left| left > 0).map(|left| left / 86_400)
}

fn wrong_terms(path: &Path, error: &CharterError) -> CliError {
    let what = format!("the terms of {} do not hold", path.display());
    CliError::new(
        ExitCode::Config,
        what,
        error,
        "correct the field named above; signatures made before are void then",
    )
}
