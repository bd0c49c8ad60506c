//! What a student of half its teacher's depth keeps, with and without its teacher.
//!
//! ```text
//! half_depth TASK DATA SEED [EPOCHS]
//! ```
//!
//! TASK is `tagging` (CoNLL-2003), `texts` (CLINC150) or `images` (MNIST's test images), DATA its folder. Trains a
//! teacher from scratch on labels, then four students of every second block: taught by both losses, on labels alone from
//! the same copied start, and on labels alone from fresh parameters. All train for EPOCHS. The first student is scored
//! once more with its matrices rounded to `int8`. Prints a line an arm, fields apart by tabs: task, seed, arm, parameters,
//! share of the teacher's parameters, score, share of its score, seconds.

use std::path::Path;
use std::time::Instant;

use common::{Corpus, Outcome};
use model::distill::anatomy::Anatomy;
use model::distill::plan::Depth;
use model::distill::run::{Settings, train};
use model::distill::student::{Source, parameters};
use model::ops::soft_loss::SoftRule;
use model::seed::Seed;
use model::session::Session;
use model::task::answers::Answers;

mod common;

/// Tokens of the tokenizer: few, so that half the blocks are most of half the model.
const VOCABULARY: usize = 1_300;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, data, number, rest @ ..] = arguments.as_slice() else {
        return Err("usage: half_depth TASK DATA SEED [EPOCHS]".into());
    };
    let corpus = Corpus::load(task, Path::new(data), VOCABULARY)?;
    let seed = Seed::from_u64(number.parse()?);
    // (blocks, width, rate, epochs); a perceptron's blocks are its hidden layers.
    let (blocks, width, rate, epochs) = match task.as_str() {
        "tagging" => (6, 96, 1e-3, 5),
        "texts" => (6, 128, 5e-4, 6),
        _ => (9, 512, 5e-4, 12),
    };
    let epochs = rest.first().map_or(Ok(epochs), |text| text.parse())?;
    let settings = Settings { epochs, rate, batch: 16, ..Settings::default() };
    let arch = corpus.arch(blocks, width);
    let head = corpus.head();

    let study = |session: &mut Session, answers: Option<Answers>, rule: SoftRule| -> Outcome<f64> {
        let lessons = corpus.lessons(&corpus.train, answers)?;
        let settings = Settings { rule, ..settings };
        train(session, &lessons, &settings, seed.fork("batches"), &mut |_| true)?;
        corpus.score(session, &corpus.test)
    };
    let soft = SoftRule::Divergence { alpha: 1.0, temperature: 2.0 };
    let squared = SoftRule::Squared { alpha: 1.0 };

    let begun = Instant::now();
    let mut teacher = corpus.session(&arch, &seed.fork("teacher"), None)?;
    let reference = study(&mut teacher, None, soft)?;
    let size = teacher.parameter_count();
    let line = |arm: &str, session: &Session, score: f64, seconds: f64| {
        let parameters = session.parameter_count();
        println!(
            "{task}\t{number}\t{arm}\t{parameters}\t{:.4}\t{score:.4}\t{:.4}\t{seconds:.0}",
            parameters as f64 / size as f64,
            score / reference
        );
    };
    line("teacher", &teacher, reference, begun.elapsed().as_secs_f64());

    let answers = corpus.answer(&mut teacher, &corpus.train)?;
    let mut flat = vec![0.0; size];
    teacher.read(&mut flat)?;
    let anatomy = Anatomy::new(&arch, &head, Depth::Share(0.5), 1.0)?;
    let copied =
        parameters(Source { arch: &arch, head: &head, parameters: &flat, importance: None }, &anatomy)?;
    let arms = [
        ("divergence", Some(copied.as_slice()), Some(soft)),
        ("squared", Some(copied.as_slice()), Some(squared)),
        ("copied, no teacher", Some(copied.as_slice()), None),
        ("fresh, no teacher", None, None),
    ];
    for (arm, start, rule) in arms {
        let begun = Instant::now();
        let mut student = corpus.session(&anatomy.arch, &seed.fork("student"), start)?;
        let answers = rule.map(|_| answers.clone());
        let score = study(&mut student, answers, rule.unwrap_or(soft))?;
        line(arm, &student, score, begun.elapsed().as_secs_f64());
        if arm == "divergence" {
            let begun = Instant::now();
            round_to_int8(&mut student)?;
            let score = corpus.score(&mut student, &corpus.test)?;
            line("divergence, int8 weights", &student, score, begun.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Rounds every matrix to 255 levels a row, as a file of `int8` with a scale per row would hold it.
fn round_to_int8(session: &mut Session) -> Outcome<()> {
    let mut flat = vec![0.0_f32; session.parameter_count()];
    session.read(&mut flat)?;
    let mut start = 0;
    for (_, shape) in session.shapes() {
        let length: usize = shape.iter().product();
        if let [_, width] = shape.as_slice() {
            for row in flat[start..start + length].chunks_mut(*width) {
                let scale = row.iter().fold(0.0_f32, |largest, w| largest.max(w.abs())) / 127.0;
                if scale > 0.0 {
                    row.iter_mut().for_each(|w| *w = (*w / scale).round() * scale);
                }
            }
        }
        start += length;
    }
    session.write(&flat)?;
    Ok(())
}
