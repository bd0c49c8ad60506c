//! `starling data split`: development and test parts for images that come without them.

use std::path::PathBuf;

use model::data::idx;
use model::seed::{Seed, shuffle};
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};

/// Splits images into parts to train on, to choose and to score by.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A folder with IDX files, or a file of images with its classes beside it
    path: PathBuf,
    /// New folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Share of the images to score by
    #[arg(long, default_value_t = 0.2)]
    test_share: f64,
    /// Share of the images to choose and calibrate by
    #[arg(long, default_value_t = 0.1)]
    dev_share: f64,
    /// Seed of the draw
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let shares = [args.test_share, args.dev_share];
    if !(shares.iter().all(|share| *share >= 0.0) && shares[0] + shares[1] < 1.0) {
        let why = format!(
            "expected shares from 0 that leave images to train on, found {} and {}",
            shares[0], shares[1]
        );
        let remedy = "as in --test-share 0.2 --dev-share 0.1";
        return Err(CliError::new(ExitCode::Usage, "the images cannot be split", why, remedy));
    }
    if args.out.exists() {
        let what = format!("{} exists", args.out.display());
        let remedy = "name a new folder with --out";
        return Err(CliError::new(ExitCode::Refused, what, "data is never written over", remedy));
    }
    let parts = idx::load_parts(&args.path).map_err(|e| {
        let remedy = "name a folder with files as in MNIST, train-images-idx3-ubyte.gz and so on";
        CliError::new(ExitCode::Data, format!("{} cannot be split", args.path.display()), e, remedy)
    })?;
    let mut all = idx::Images { height: 0, width: 0, pixels: Vec::new(), classes: Vec::new() };
    for part in [parts.train, parts.dev, parts.test].into_iter().filter(|part| !part.is_empty()) {
        (all.height, all.width) = (part.height, part.width);
        all.pixels.extend(part.pixels);
        all.classes.extend(part.classes);
    }
    let mut places: Vec<usize> = (0..all.len()).collect();
    shuffle(&mut Seed::from_u64(args.seed).fork("split").rng(), &mut places);
    let count = |share: f64| (all.len() as f64 * share).floor() as usize;
    let (test, dev) = (count(args.test_share), count(args.dev_share));
    let train = all.len() - test - dev;
    let failed = |e: std::io::Error| CliError::failed(format!("could not write {}", args.out.display()), e);
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    let (test_places, rest) = places.split_at(test);
    let (dev_places, train_places) = rest.split_at(dev);
    for (part, places) in [("t10k", test_places), ("dev", dev_places), ("train", train_places)] {
        if places.is_empty() {
            continue;
        }
        for (name, bytes) in idx::packed(part, &all.chosen(places)) {
            std::fs::write(args.out.join(name), bytes).map_err(failed)?;
        }
    }
    let data = json!({ "out": args.out, "train": train, "dev": dev, "test": test, "seed": args.seed });
    output.done(&data, |to| {
        writeln!(to, "train    {train} images, dev {dev}, test {test}")?;
        writeln!(to, "saved    {}", args.out.display())?;
        writeln!(to, "next     starling train --arch FILE --data {} --out DIR", args.out.display())
    })
}
