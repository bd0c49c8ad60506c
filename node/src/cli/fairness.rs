//! `starling audit fairness`: whether a model's decisions treat groups alike.

use std::path::PathBuf;

use model::audit::fairness::{Decision, compare};
use model::audit::odds::odds;
use model::data::examples::Examples;
use model::data::labels::LabelSet;
use model::seed::Seed;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::trainer::saved::Saved;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder of a model that classifies texts or nodes
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Examples with their groups: JSON lines with a `group`, or a graph in groups
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// The class that counts as the favourable decision; the last one unless given
    #[arg(long, value_name = "LABEL")]
    favourable: Option<String>,
    /// Seed of the intervals
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let mut saved = Saved::open(&args.model, "cpu", 0).map_err(learner_error)?;
    let favourable = favourable(args, &saved.labels)?;
    let examples = saved.examples(&args.data).map_err(learner_error)?;
    let facts = classes_and_groups(&examples)?;
    let rows = saved.rows(&examples).map_err(wrong)?;
    let odds = odds(&mut saved.session, &rows).map_err(wrong)?;
    let decisions: Vec<Decision> = facts
        .into_iter()
        .zip(odds)
        .map(|((truth, group), odds)| {
            let best = (0..odds.len()).max_by(|a, b| odds[*a].total_cmp(&odds[*b]));
            Decision {
                group,
                is_true: truth == favourable,
                is_selected: best == Some(favourable as usize),
                probability: odds[favourable as usize],
            }
        })
        .collect();
    let report =
        compare(&decisions, saved.labels.name(favourable), &Seed::from_u64(args.seed)).map_err(wrong)?;
    output.done(&report, |to| write!(to, "{report}"))
}

fn favourable(args: &Args, labels: &LabelSet) -> Result<u32, CliError> {
    let Some(name) = &args.favourable else { return Ok(labels.len() as u32 - 1) };
    labels.id(name).ok_or_else(|| {
        let what = format!("there is no class {name:?}");
        let why = format!("the model knows {}", labels.names().join(", "));
        CliError::new(ExitCode::Usage, what, why, "name one of them with --favourable")
    })
}

/// Class and group of each example that has both.
fn classes_and_groups(examples: &Examples) -> Result<Vec<(u32, String)>, CliError> {
    let without = |what: &str| {
        let remedy = "give each example a `group`, for example its shop, region or age band";
        CliError::new(ExitCode::Data, "groups cannot be compared", what, remedy)
    };
    match examples {
        Examples::Texts(texts) => texts
            .iter()
            .map(|text| match &text.group {
                Some(group) => Ok((text.label, group.clone())),
                None => Err(without("an example has no group")),
            })
            .collect(),
        Examples::Nodes(part) if !part.graph.groups.is_empty() => Ok(part
            .nodes
            .iter()
            .map(|node| *node as usize)
            .map(|node| {
                let group = part.graph.groups[part.graph.group[node] as usize].clone();
                (part.graph.labels[node] as u32, group)
            })
            .collect()),
        Examples::Records(part) => part
            .iter()
            .map(|record| match (record.label, &record.group) {
                (Some(label), Some(group)) => Ok((label, group.clone())),
                _ => Err(without("a record has no group")),
            })
            .collect(),
        Examples::Pairs(part) if !part.graph.groups.is_empty() => Ok(part
            .pairs
            .iter()
            .map(|pair| {
                let group = part.graph.group[pair.from as usize] as usize;
                (pair.class as u32, part.graph.groups[group].clone())
            })
            .collect()),
        Examples::Nodes(_) | Examples::Pairs(_) => Err(without("the graph has no groups")),
        Examples::Tagged(_) | Examples::Valued(_) | Examples::Plain(_) => {
            Err(without("the examples have no class of their own"))
        }
    }
}
