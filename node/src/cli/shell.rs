//! `starling completions` and `starling man`: what shells and manuals need, made from the command line itself.

use std::path::PathBuf;

use clap_complete::Shell;
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};

/// Prints what a shell needs to complete commands.
#[derive(Clone, Debug, clap::Args)]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

/// Writes manual pages.
#[derive(Clone, Debug, clap::Args)]
pub struct Man {
    /// New folder for them
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `completions`.
pub fn completions(args: &Completions, mut command: clap::Command, output: &Output) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "starling", &mut text);
    let data = json!({ "shell": args.shell.to_string(), "script": String::from_utf8_lossy(&text) });
    output.done(&data, |to| to.write_all(&text))
}

/// Runs `man`.
pub fn man(args: &Man, command: clap::Command, output: &Output) -> Result<(), CliError> {
    if args.out.exists() {
        let what = format!("{} exists", args.out.display());
        return Err(CliError::new(
            ExitCode::Refused,
            what,
            "it is not written over",
            "name a new folder with --out",
        ));
    }
    let failed = |e| CliError::failed(format!("could not write {}", args.out.display()), e);
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    clap_mangen::generate_to(command, &args.out).map_err(failed)?;
    let pages = std::fs::read_dir(&args.out).map_err(failed)?.count();
    output.done(&json!({ "pages": pages }), |to| {
        writeln!(to, "wrote    {pages} pages to {}", args.out.display())?;
        writeln!(to, "next     man -l {}", args.out.join("starling.1").display())
    })
}
