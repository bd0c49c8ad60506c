//! `starling init`: an identity and a commented settings file in a directory of their own.
//!
//! It never overwrites: what is there is kept and named.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::config::key::{self, Value};
use crate::config::load::{CONFIG_FILE, ConfigError, ConfigFile, Problem, Sources, load};
use crate::config::template;
use crate::store::disk::private_file_options;
use crate::store::keys::{IDENTITY_FILE, Identity, KeyError};
use crate::telemetry::escape;

/// Makes the directory of a new node.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory to make
    #[arg(long, value_name = "DIR", default_value = "starling-node", env = "STARLING_DIR")]
    pub dir: PathBuf,
    /// Name shown to people and to other peers
    #[arg(long)]
    pub name: Option<String>,
    /// Who runs the node
    #[arg(long)]
    pub organization: Option<String>,
    /// Private training data, a file or folder; never leaves the node
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// Address to listen on; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Peer to try first; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub bootstrap: Vec<String>,
}

#[derive(Serialize)]
struct Made {
    dir: PathBuf,
    peer_id: String,
    identity: PathBuf,
    is_identity_new: bool,
    config: PathBuf,
    is_config_new: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let given = given(args)?;
    let config = args.dir.join(CONFIG_FILE);
    let is_config_new = !config.exists();
    if !is_config_new && !given.is_empty() {
        let why = format!("{} exists and is not overwritten", config.display());
        let remedy = "change the values in that file, or choose another directory with --dir";
        return Err(CliError::new(ExitCode::Refused, "the settings cannot be written", why, remedy));
    }
    let (identity, is_identity_new) = match Identity::load(&args.dir) {
        Ok(identity) => (identity, false),
        Err(KeyError::Absent(_)) => {
            let identity =
                Identity::generate().map_err(|e| CliError::failed("could not draw a new identity", e))?;
            identity.create(&args.dir)?;
            (identity, true)
        }
        Err(error) => return Err(error.into()),
    };
    if is_config_new {
        let written =
            private_file_options().write(true).create_new(true).open(&config).and_then(|mut file| {
                file.write_all(template::text(&given).as_bytes()).and_then(|()| file.sync_all())
            });
        written.map_err(|e| CliError::failed(format!("could not write {}", config.display()), e))?;
    }
    load(&Sources { file: ConfigFile::At(config.clone()), ..Sources::default() })?;
    let made = Made {
        peer_id: identity.peer().to_string(),
        identity: args.dir.join(IDENTITY_FILE),
        dir: args.dir.clone(),
        is_identity_new,
        config,
        is_config_new,
    };
    output.done(&made, |to| {
        let state = |is_new: bool| if is_new { "made" } else { "kept" };
        let dir = escape::line(&made.dir.display().to_string());
        writeln!(to, "{}  {}", state(made.is_identity_new), made.identity.display())?;
        writeln!(to, "{}  {}", state(made.is_config_new), made.config.display())?;
        writeln!(to, "peer  {}", made.peer_id)?;
        writeln!(to, "keep a backup of {IDENTITY_FILE}: who holds it is this node")?;
        writeln!(to, "next  starling doctor --dir {dir}")
    })
}

/// The given values, each checked as its setting would be.
fn given(args: &Args) -> Result<Vec<(&'static str, Value)>, CliError> {
    let list = |all: &[String]| Some(all.join(",")).filter(|_| !all.is_empty());
    // The path is kept as it will be found from the settings file's folder, whatever the working directory.
    let data =
        args.data.as_ref().map(|d| std::path::absolute(d).map_or(d.clone(), |p| p.display().to_string()));
    let texts = [
        ("node.name", args.name.clone()),
        ("node.organization", args.organization.clone()),
        ("node.data", data),
        ("network.listen", list(&args.listen)),
        ("network.bootstrap", list(&args.bootstrap)),
    ];
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in texts {
        let Some(text) = text else { continue };
        let key = key::find(name).expect("the names above are settings");
        match key.from_text(&text) {
            Ok(value) => values.push((name, value)),
            Err(what) => problems.push(Problem { place: format!("--{}", key.leaf()), what }),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(ConfigError(problems).into()) }
}
