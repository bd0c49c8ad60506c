//! `starling audit ledger verify` and `starling audit lineage`: what nodes did, from their signed records alone, offline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::codec::decode_control;
use protocol::id::PeerId;
use protocol::ledger::chain::Head;
use protocol::ledger::tally::Account;
use protocol::wire::sealed::Sealed;
use serde_json::{Value, json};

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::store::ledger::{LedgerFile, LedgerFileError, Records};

/// Beginning of the names of ledgers in a node's directory.
const LEDGER: &str = "ledger-";

/// Accounts for what nodes did.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Checks nodes' ledgers
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Shows whose updates went into a node's model
    Lineage {
        /// The node's directory, or a ledger file
        dir: PathBuf,
    },
}

/// Checks nodes' ledgers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum LedgerCommand {
    /// Checks every signature and link of the chain, and that ledgers of several nodes agree
    Verify {
        /// Nodes' directories, or ledger files
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// The key that must have signed; otherwise the one that signed the first record
        #[arg(long, value_name = "KEY")]
        peer: Option<PeerId>,
    },
}

/// A ledger that was read and checked.
struct Checked {
    path: PathBuf,
    owner: PeerId,
    head: Head,
    account: Account,
    /// Records behind the last whole one were cut short or changed.
    is_torn: bool,
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Ledger(LedgerCommand::Verify { dirs, peer }) => verify(dirs, *peer, output),
        Command::Lineage { dir } => lineage(dir, output),
    }
}

fn verify(dirs: &[PathBuf], peer: Option<PeerId>, output: &Output) -> Result<(), CliError> {
    let mut all = Vec::new();
    for dir in dirs {
        for path in ledgers(dir)? {
            all.push(check(&path, peer)?);
        }
    }
    let makers: BTreeMap<PeerId, Account> = all.iter().map(|c| (c.owner, c.account.clone())).collect();
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for checked in &all {
        let witness = checked.account.witness(&makers);
        let path = checked.path.display();
        if checked.is_torn {
            wrong.push(format!("{path}: behind record {} it is cut short or changed", checked.head.length));
        }
        for step in &checked.account.contradictions {
            wrong.push(format!("{path}: two manifests are published for outer step {step}"));
        }
        for (peer, step) in &witness.contradicted {
            let peer = peer.short();
            wrong.push(format!(
                "{path}: took an update of {peer} for outer step {step} that {peer}'s ledger does not name"
            ));
        }
        found.push((checked, witness));
    }
    let data: Vec<Value> = found
        .iter()
        .map(|(c, witness)| {
            json!({ "ledger": c.path, "peer_id": c.owner, "records": c.head.length, "head": c.head.hash,
                "is_torn": c.is_torn, "kinds": c.account.kinds, "contradictions": c.account.contradictions,
                "witness": witness })
        })
        .collect();
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(c, witness)| {
            vec![
                c.owner.short(),
                c.head.length.to_string(),
                c.account.published.len().to_string(),
                c.account.mixed.len().to_string(),
                witness.confirmed.to_string(),
                witness.unknown.to_string(),
                witness.contradicted.len().to_string(),
                c.head.hash.short(),
            ]
        })
        .collect();
    let head = ["peer", "records", "published", "mixed", "confirmed", "unknown", "contradicted", "head"];
    if !wrong.is_empty() {
        output.text(|to| table(to, &head, &rows))?;
        return Err(CliError::new(
            ExitCode::Refused,
            format!("{} of {} ledgers do not hold or do not agree", wrong.len(), all.len()),
            wrong.join("\n"),
            "keep these files as evidence, and ask the nodes' operators",
        )
        .with_details(&json!({ "ledgers": data })));
    }
    output.done(&json!({ "ledgers": data }), |to| {
        table(to, &head, &rows)?;
        writeln!(to, "every record is signed by its node and continues the one before")
    })
}

fn lineage(dir: &Path, output: &Output) -> Result<(), CliError> {
    let mut runs = Vec::new();
    for path in ledgers(dir)? {
        let checked = check(&path, None)?;
        if checked.is_torn {
            return Err(broken(&path, "it is cut short or changed at its end"));
        }
        runs.push(checked);
    }
    let data: Vec<Value> = runs
        .iter()
        .map(|c| {
            let steps: Vec<Value> = c
                .account
                .mixed
                .iter()
                .map(|(step, from)| json!({ "outer_step": step, "from": from }))
                .collect();
            let shares: Vec<Value> = c
                .account
                .shares()
                .iter()
                .map(|(peer, share)| json!({ "peer_id": peer, "share": share }))
                .collect();
            json!({ "ledger": c.path, "peer_id": c.owner, "head": c.head.hash, "steps": steps, "shares": shares })
        })
        .collect();
    output.done(&json!({ "runs": data }), |to| {
        for checked in &runs {
            let mixes = checked.account.mixed.len();
            writeln!(to, "node      {}", checked.owner)?;
            writeln!(to, "ledger    {}", checked.path.display())?;
            writeln!(to, "mixes     {mixes}")?;
            let row = |(peer, share): (&PeerId, &protocol::ledger::tally::Share)| {
                vec![
                    peer.short(),
                    share.mixes.to_string(),
                    share.shards.to_string(),
                    format!("{:.4}", share.weight / mixes.max(1) as f64),
                    share.last.to_string(),
                ]
            };
            let rows: Vec<_> = checked.account.shares().iter().map(row).collect();
            table(to, &["peer", "mixes", "shards", "mean weight", "last update"], &rows)?;
        }
        Ok(())
    })
}

/// The ledgers of a directory, or the file itself.
fn ledgers(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    if dir.is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let entries = std::fs::read_dir(dir)
        .map_err(|e| CliError::new(ExitCode::Usage, format!("{} cannot be read", dir.display()), e, ""))?;
    let is_ledger = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_prefix(LEDGER).is_some_and(|run| run.bytes().all(|b| b.is_ascii_hexdigit()))
            && path.is_file()
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ledger).collect();
    found.sort();
    if found.is_empty() {
        let remedy = "name the directory of a node that has run";
        let what = format!("{} holds no ledger", dir.display());
        return Err(CliError::new(ExitCode::Usage, what, "", remedy));
    }
    Ok(found)
}

fn check(path: &Path, peer: Option<PeerId>) -> Result<Checked, CliError> {
    let unreadable = |e: LedgerFileError| broken(path, &e.to_string());
    let mut head = Head::default();
    let mut account = Account::default();
    let mut owner = peer;
    let mut records = Records::of_file(path).map_err(unreadable)?;
    for record in records.by_ref() {
        let bytes = record.map_err(unreadable)?;
        let signer = match owner {
            Some(owner) => owner,
            None => decode_control::<Sealed>(&bytes).map_err(|e| broken(path, &e.to_string()))?.signer,
        };
        owner = Some(signer);
        account.add(&head.check(&bytes, &signer).map_err(|e| broken(path, &e.to_string()))?);
    }
    let owner = owner.ok_or_else(|| broken(path, "it holds no record"))?;
    let is_torn = LedgerFile::is_torn(path).map_err(unreadable)?;
    Ok(Checked { path: path.to_owned(), owner, head, account, is_torn })
}

fn broken(path: &Path, why: &str) -> CliError {
    CliError::new(
        ExitCode::Refused,
        format!("the ledger {} does not hold", path.display()),
        why,
        "keep it as evidence, and ask the node's operator",
    )
}
