//! Every fusion rule with 0, 1 and 2 of 8 members lying.
//!
//! ```text
//! liars TASK DATA SEED [EPOCHS]
//! ```
//!
//! TASK and DATA are those of `half_depth`. Trains eight small members, each on a random half of the training part with
//! a start of its own, fits every rule on the calibration part and scores it on the test part. Liars have agreed on what
//! they say. `moved`: each moves the probability of every label to the next one (the last to the first). `rival`: each
//! knows what the honest members say and gives all its probability to the label that is second in their mean. `certain`:
//! each knows the truth as well and gives all its probability to the wrong label that is likeliest in that mean, which
//! does the most harm. `default` is `simplex`, guarded by cross-validation on the calibration part. Prints a line a rule, fields
//! apart by tabs: task, seed, attack, liars, rule, score, negative log likelihood, calibration error, weight of all liars
//! together. When tagging, `entities` are the members' votes for whole entities.

use std::path::Path;

use common::{Corpus, Outcome, Part};
use model::data::schema::TaskKind;
use model::distill::run::{Settings, train};
use model::fuse::compare::Comparison;
use model::fuse::fit::Calibration;
use model::fuse::pool::{Pool, vote};
use model::fuse::quality::measure;
use model::fuse::rule::Rule;
use model::fuse::spans::fuse_spans;
use model::fuse::tally::{compare, total};
use model::seed::{Seed, shuffle};
use model::task::answers::Answers;

mod common;

const MEMBERS: usize = 8;

const VOCABULARY: usize = 1_300;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, data, number, rest @ ..] = arguments.as_slice() else {
        return Err("usage: liars TASK DATA SEED [EPOCHS]".into());
    };
    let corpus = Corpus::load(task, Path::new(data), VOCABULARY)?;
    let seed = Seed::from_u64(number.parse()?);
    let (blocks, width, rate, epochs) = match task.as_str() {
        "tagging" => (2, 64, 2e-3, 4),
        "texts" => (2, 64, 2e-3, 6),
        _ => (1, 48, 1e-3, 6),
    };
    let epochs = rest.first().map_or(Ok(epochs), |text| text.parse())?;
    let settings = Settings { epochs, rate, batch: 16, ..Settings::default() };
    let arch = corpus.arch(blocks, width);
    let (mut dev, mut test) = (Vec::new(), Vec::new());
    for member in 0..MEMBERS {
        let seed = seed.fork("member").fork_index(member as u64);
        let mut session = corpus.session(&arch, &seed, None)?;
        let lessons = corpus.lessons(&half(&corpus.train, &seed), None)?;
        train(&mut session, &lessons, &settings, seed.fork("batches"), &mut |_| true)?;
        dev.push(corpus.answer(&mut session, &corpus.dev)?);
        test.push(corpus.answer(&mut session, &corpus.test)?);
    }
    let (dev_truth, test_truth) = (corpus.truth(&corpus.dev)?, corpus.truth(&corpus.test)?);
    let attacks = ["moved", "rival", "certain"].map(|attack| [(attack, 1), (attack, 2)]);
    for (attack, liars) in std::iter::once(("none", 0)).chain(attacks.into_iter().flatten()) {
        let (dev, test) = (lied(&dev, &dev_truth, liars, attack)?, lied(&test, &test_truth, liars, attack)?);
        let (dev, test): (Vec<&Answers>, Vec<&Answers>) = (dev.iter().collect(), test.iter().collect());
        let calibration = Calibration::new(&dev, Some(&dev_truth))?;
        let comparison = Comparison::new(&calibration, corpus.kind, &corpus.labels, &seed)?;
        let line = |name: &str, pool: &Pool| -> Outcome<()> {
            let quality = measure(&pool.fuse(&test)?, &test_truth, corpus.kind, &corpus.labels)?;
            let lying: f64 = pool.weights()[..liars].iter().sum::<f64>() + 0.0;
            println!(
                "{task}\t{number}\t{attack}\t{liars}\t{name}\t{:.4}\t{:.4}\t{:.4}\t{lying:.3}",
                quality.score, quality.nll, quality.ece
            );
            Ok(())
        };
        line("default", &comparison.guarded(Rule::usual(true))?.0)?;
        for rule in Rule::ALL {
            line(rule.name(), &calibration.fit(rule, &calibration.all())?)?;
        }
        line("best single", &Pool::single(MEMBERS, comparison.best_single(&calibration.all())))?;
        if corpus.kind == TaskKind::Tagging {
            let fitted = calibration.fit(Rule::Simplex, &calibration.all())?;
            for (name, pool) in [("entities, simplex", fitted), ("entities, mean", Pool::uniform(MEMBERS))] {
                let said = fuse_spans(&test, &pool.weights(), &corpus.labels)?;
                let score = total(&compare(test[0], &said, &test_truth, corpus.kind, &corpus.labels));
                println!("{task}\t{number}\t{attack}\t{liars}\t{name}\t{score:.4}\t-\t-\t-");
            }
        }
    }
    Ok(())
}

/// The members' answers, with those of the first ones replaced by lies.
fn lied(honest: &[Answers], truth: &[u32], liars: usize, attack: &str) -> Outcome<Vec<Answers>> {
    let labels = honest[0].labels();
    let mut all = honest.to_vec();
    if attack == "moved" {
        let moved: Vec<usize> = (0..labels).map(|label| (label + labels - 1) % labels).collect();
        all[..liars].iter_mut().for_each(|answers| *answers = answers.reordered(&moved));
    } else if liars > 0 {
        let mean = Answers::mean(&honest[liars..])?;
        let lie = |unit: usize| {
            let mut row = mean.unit(unit).to_vec();
            let spared = if attack == "rival" { vote(&row) } else { truth[unit] as usize };
            row[spared] = -1.0;
            let said = vote(&row);
            (0..labels).map(move |label| f32::from(u8::from(label == said)))
        };
        let lie = Answers::new(labels, &mean.lengths(), (0..mean.units()).flat_map(lie).collect())?;
        all[..liars].fill(lie);
    }
    Ok(all)
}

/// A random half of a part.
fn half(part: &Part, seed: &Seed) -> Part {
    let places = |count: usize| {
        let mut places: Vec<usize> = (0..count).collect();
        shuffle(&mut seed.fork("half").rng(), &mut places);
        places.truncate(count / 2);
        places
    };
    match part {
        Part::Sentences(all) => Part::Sentences(places(all.len()).iter().map(|k| all[*k].clone()).collect()),
        Part::Texts(all) => Part::Texts(places(all.len()).iter().map(|k| all[*k].clone()).collect()),
        Part::Images(all) => Part::Images(all.chosen(&places(all.len()))),
    }
}
