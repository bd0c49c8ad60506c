//! `starling data make`: a made-up data set from a seed, whole or shared among nodes that see different subjects.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use model::data::corpus::{Corpus, GENERATORS};
use model::data::examples::Examples;
use model::data::labels::LabelSet;
use model::data::split::{Split, split};
use model::seed::Seed;
use protocol::id::Hash;
use serde::Serialize;

use crate::cli::output::{CliError, ExitCode, Output};

/// What to make.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// `newswire` (or `ner`): sentences with names; `requests`: customer requests; `reviews`: opinions;
    /// `newswire-zh`, `headlines-zh`: Chinese; `newswire-text`: plain text; `community`: people who know one another;
    /// `films`: ratings and trust; `digits`: images; `patients`, `scenes`: several kinds of input
    recipe: String,
    /// New folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed; equal seeds give equal bytes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Training examples, of all nodes together
    #[arg(long, default_value_t = 6_000)]
    train: usize,
    /// Validation examples, of all nodes together; nodes score themselves on their own. Graphs have none
    #[arg(long, default_value_t = 500)]
    dev: usize,
    /// Test examples
    #[arg(long, default_value_t = 1_000)]
    test: usize,
    /// Share the training examples among so many nodes, a folder each
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// How alike the nodes' subjects are: 0.3 is very unlike, 100 nearly alike
    #[arg(long, value_name = "ALPHA", default_value_t = 0.3, requires = "nodes")]
    dirichlet: f64,
}

/// Training examples a node gets at least.
const ROWS_MIN: usize = 50;
/// Validation examples a node gets at least.
const DEV_ROWS_MIN: usize = 5;

#[derive(Serialize)]
struct Made {
    recipe: String,
    seed: u64,
    files: Vec<Written>,
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    samples: usize,
    bytes: usize,
    hash: Hash,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let usage = |e: model::error::Error| {
        CliError::new(ExitCode::Usage, "the data cannot be made", e, "change the flag named above")
    };
    let seed = Seed::from_u64(args.seed);
    let (corpus, dev) = generate(args, &seed)?;
    let shares = |part: &Examples, rows_min: usize| match args.nodes {
        Some(nodes) => {
            let keys = part.subjects(&corpus.labels);
            // As `testnet` does it, so that both make the same shares of a seed; a node's parts have the same subjects.
            let rows_min = rows_min.min(keys.len() / nodes.max(1));
            let how = Split::Dirichlet { alpha: args.dirichlet };
            split(&keys, nodes, rows_min, how, &seed).map(Some).map_err(usage)
        }
        None => Ok(None),
    };
    let trained = shares(&corpus.train, ROWS_MIN)?;
    let dev_shares = dev.as_ref().map_or(Ok(None), |dev| shares(dev, DEV_ROWS_MIN))?;
    let failed = |what: &str, path: &Path| {
        let what = format!("could not {what} {}", path.display());
        move |e: std::io::Error| CliError::failed(what.clone(), e)
    };
    if args.out.exists() {
        let what = format!("{} exists", args.out.display());
        return Err(CliError::new(
            ExitCode::Refused,
            what,
            "data is never written over",
            "name a new folder with --out",
        ));
    }
    let mut files = Vec::new();
    let mut write =
        |folder: &Path, name: &str, part: &Examples, rows: Option<&[usize]>| -> Result<(), CliError> {
            std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
            let file = folder.join(format!("{name}.{}", part.extension()));
            let (samples, bytes) = to_bytes(part, &corpus.labels, rows).map_err(failed("write", &file))?;
            std::fs::write(&file, &bytes).map_err(failed("write", &file))?;
            let hash = Hash(*blake3::hash(&bytes).as_bytes());
            files.push(Written { file, samples, bytes: bytes.len(), hash });
            Ok(())
        };
    let shared = [("train", Some(&corpus.train), &trained), ("dev", dev.as_ref(), &dev_shares)];
    for (name, part, shares) in shared.into_iter().filter_map(|(n, part, s)| Some((n, part?, s))) {
        match shares {
            None => write(&args.out, name, part, None)?,
            Some(shares) => {
                for (at, rows) in shares.iter().enumerate() {
                    write(&args.out.join(format!("node-{}", at + 1)), name, part, Some(rows))?;
                }
            }
        }
    }
    write(&args.out, "test", &corpus.test, None)?;
    let made = Made { recipe: args.recipe.clone(), seed: args.seed, files };
    output.done(&made, |to| {
        for file in &made.files {
            writeln!(to, "{:>7} examples  {}", file.samples, file.file.display())?;
        }
        let first = made.files.first().map_or(&args.out, |f| &f.file);
        writeln!(to, "next     starling data check {}", first.display())
    })
}

/// Examples to train and to score on, and those to validate on, where there are any.
fn generate(args: &Args, seed: &Seed) -> Result<(Corpus, Option<Examples>), CliError> {
    let name = if args.recipe == "ner" { "newswire" } else { args.recipe.as_str() };
    if !GENERATORS.contains(&name) {
        let what = format!("there is no generator {:?}", name.chars().take(40).collect::<String>());
        let why = format!("expected one of {} (ner is newswire)", GENERATORS.join(", "));
        return Err(CliError::new(ExitCode::Usage, what, why, "name one of these"));
    }
    let made = Corpus::generate(name, seed, args.train, args.test)
        .and_then(|corpus| Ok((corpus, Corpus::dev(name, seed, args.dev)?)));
    made.map_err(|e| {
        CliError::new(ExitCode::Usage, "the data cannot be made", e, "change the flag named above")
    })
}

/// Examples and bytes of a part, or of some of its rows.
fn to_bytes(part: &Examples, labels: &LabelSet, rows: Option<&[usize]>) -> std::io::Result<(usize, Vec<u8>)> {
    let picked = rows.map(|rows| part.pick(rows));
    let part = picked.as_ref().unwrap_or(part);
    let mut to = BufWriter::new(Vec::new());
    part.write(&mut to, labels)?;
    Ok((part.len(), to.into_inner()?))
}
