//! `starling audit influence`: how much a model's answers depend on the relations in its data.

use std::path::{Path, PathBuf};

use model::arch::config::ArchConfig;
use model::audit::influence::{Influence, measure, measure_lists};
use model::audit::relations::{Relations, describe};
use model::data::examples::Examples;
use model::seed::Seed;
use serde::Serialize;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::material::surroundings;
use crate::trainer::saved::Saved;

/// Flips shown on a terminal; all of them are in the file and in the machine output.
const FLIPS_SHOWN: usize = 10;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The model's folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Nodes or pairs of a graph: a .graph file, or a folder with nodes.tsv and edges.tsv
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where the report goes as influence.json and influence.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the rewiring and of the intervals
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

#[derive(Serialize)]
struct Found {
    relations: Relations,
    influence: Influence,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let mut saved = Saved::open(&args.model, "cpu", 0).map_err(learner_error)?;
    let arch = saved.session.arch().clone();
    if !matches!(arch, ArchConfig::Graph(_)) {
        let why = "its answers do not depend on relations";
        let remedy = "name a model of nodes, as `starling testnet --recipe community` makes it";
        return Err(CliError::new(ExitCode::Usage, "the model is no graph network", why, remedy));
    }
    let seed = Seed::from_u64(args.seed);
    let (relations, influence) = match saved.examples(&args.data).map_err(learner_error)? {
        Examples::Nodes(part) => {
            let around = surroundings(&part.graph, &arch).map_err(wrong)?;
            let found = measure(&mut saved.session, &around, &part.nodes, &saved.labels, &seed);
            (describe(&part.graph), found.map_err(wrong)?)
        }
        Examples::Pairs(part) => {
            let around = surroundings(&part.graph, &arch).map_err(wrong)?;
            let found = measure_lists(&mut saved.session, &around, &part.pairs, &seed);
            (describe(&part.graph), found.map_err(wrong)?)
        }
        Examples::Tagged(_)
        | Examples::Texts(_)
        | Examples::Valued(_)
        | Examples::Plain(_)
        | Examples::Records(_) => {
            let why = "it holds no nodes and no pairs";
            return Err(CliError::new(ExitCode::Data, "there is nothing to measure", why, "name a graph"));
        }
    };
    let found = Found { relations, influence };
    if let Some(dir) = &args.out {
        save(dir, &found)
            .map_err(|e| CliError::failed(format!("could not write into {}", dir.display()), e))?;
    }
    output.done(&found, |to| {
        for line in found.relations.lines(&saved.labels) {
            writeln!(to, "{}", escape::line(&line))?;
        }
        writeln!(to, "\n{}", found.influence)?;
        for flip in found.influence.flips.iter().filter(|f| f.variation == "none").take(FLIPS_SHOWN) {
            let [truth, with_all, now] = [&flip.truth, &flip.with_all, &flip.now].map(|t| escape::line(t));
            writeln!(to, "node {}: {with_all} with its relations, {now} without; it is {truth}", flip.node)?;
        }
        if let Some(dir) = &args.out {
            writeln!(to, "saved    {}/   (influence.json  influence.svg)", dir.display())?;
        }
        Ok(())
    })
}

fn save(dir: &Path, found: &Found) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let text = serde_json::to_string_pretty(found).map_err(std::io::Error::other)?;
    std::fs::write(dir.join("influence.json"), text)?;
    std::fs::write(dir.join("influence.svg"), picture(&found.influence))
}

/// A bar for each variation with its interval, as a picture that needs no other file.
fn picture(influence: &Influence) -> String {
    const ROW: usize = 44;
    const LEFT: f64 = 180.0;
    const SCALE: f64 = 560.0;
    let height = ROW * influence.variations.len() + 60;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {height}\" font-family=\"sans-serif\" \
         font-size=\"16\"><rect width=\"860\" height=\"{height}\" fill=\"#ffffff\"/>"
    );
    for tenth in (0..=10).step_by(2) {
        let x = LEFT + SCALE * f64::from(tenth) / 10.0;
        let bottom = height - 34;
        svg += &format!(
            "<line x1=\"{x}\" y1=\"10\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#e1e5ea\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#3a424e\">{:.1}</text>",
            height - 12,
            f64::from(tenth) / 10.0
        );
    }
    for (row, v) in influence.variations.iter().enumerate() {
        let (top, middle) = (14 + row * ROW, 14 + row * ROW + 14);
        let name = v.name.replace('&', "&amp;").replace('<', "&lt;");
        let at = |share: f64| LEFT + SCALE * share;
        svg += &format!(
            "<text x=\"170\" y=\"{}\" text-anchor=\"end\" fill=\"#3a424e\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"28\" fill=\"#0f4c8a\"/>\
             <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"#c4792b\" stroke-width=\"4\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#3a424e\">{:.3}, {} flips</text>",
            top + 20,
            SCALE * v.score,
            at(v.interval[0]),
            at(v.interval[1]),
            at(v.interval[1]) + 8.0,
            top + 20,
            v.score,
            v.flips
        );
    }
    svg + "</svg>\n"
}
