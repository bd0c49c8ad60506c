//! `starling config show`: the settings in force, and where each came from.

use serde_json::json;

use crate::cli::output::{CliError, Output};
use crate::cli::place::Place;

/// Shows the merged settings.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Prints every setting as it would stand in the file
    Show {
        /// Whose
        #[command(flatten)]
        place: Place,
        /// Also where each value came from
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    let Command::Show { place, origin } = command;
    let loaded = place.load()?;
    let rows = loaded.settings.iter().map(|s| {
        let hidden: Vec<_> = s.hidden.iter().map(|(value, origin)| json!({ "value": value.to_toml(), "origin": origin.to_string() })).collect();
        json!({ "name": s.name, "value": s.value.to_toml(), "origin": s.origin.to_string(), "hidden": hidden })
    });
    let data: Vec<_> = rows.collect();
    output.done(&data, |to| {
        let lines =
            loaded.settings.iter().map(|s| s.name.split_once('.').expect("a setting's name holds a dot"));
        let shown: Vec<_> = lines
            .zip(&loaded.settings)
            .map(|((section, leaf), s)| (section, format!("{leaf} = {}", s.value.to_toml()), s))
            .collect();
        let width =
            shown.iter().map(|(_, line, _)| line.chars().count()).filter(|&w| w <= 60).max().unwrap_or(0);
        let mut last = "";
        for (section, line, setting) in &shown {
            if *section != last {
                writeln!(to, "{}[{section}]", if last.is_empty() { "" } else { "\n" })?;
                last = section;
            }
            match origin {
                true => writeln!(to, "{line:<width$}  # {}", setting.origin)?,
                false => writeln!(to, "{line}")?,
            }
        }
        Ok(())
    })
}
