//! Fusing models: ask, fit, compare, judge, keep.

use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::error::Error as ModelError;
use model::fuse::compare::{Candidate, Comparison};
use model::fuse::fit::Calibration;
use model::fuse::gate::{Verdict, judge};
use model::fuse::pool::Pool;
use model::fuse::quality::{Quality, measure};
use model::fuse::rule::Rule;
use model::fuse::tally::{tallies, total};
use model::seed::Seed;
use model::task::answers::Answers;
use thiserror::Error;

use crate::fuse::outcome::{JudgedOn, MemberOutcome, Outcome, RuleOutcome};
use crate::telemetry::progress::Progress;
use crate::trainer::answerer::metric;
use crate::trainer::examples::{Examples, Inputs, load, load_lines};
use crate::trainer::fused::{FUSED, FusedFacts, MemberFacts, VERSION};
use crate::trainer::members::{Members, hash_model};
use crate::trainer::translate::TranslateError;

/// What to fuse.
#[derive(Clone, Debug)]
pub struct Order {
    /// Folders of the members.
    pub members: Vec<PathBuf>,
    /// Examples to fit to.
    pub calibrate: PathBuf,
    /// Whether the calibration file is plain lines without labels.
    pub is_unlabelled: bool,
    /// Examples to judge on; the calibration set is cross-validated without them.
    pub validate: Option<PathBuf>,
    /// The rule; the default, guarded, without one.
    pub rule: Option<Rule>,
    /// By how much the fusion may lose against what is there and still be adopted.
    pub margin: f64,
    /// What is there, a member by number; the best member without one.
    pub incumbent: Option<usize>,
    /// Where the fused model goes.
    pub out: PathBuf,
    /// `auto`, `cpu`, `cuda[:N]`, `metal`.
    pub device: String,
    /// Seed of folds and draws.
    pub seed: u64,
}

/// A fusion that cannot be done.
#[derive(Debug, Error)]
pub enum FuseError {
    /// A member or the data cannot be used.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// The fused model could not be written.
    #[error("could not write {path}: {reason}", path = path.display())]
    Write {
        /// Which folder or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl From<ModelError> for FuseError {
    fn from(error: ModelError) -> Self {
        Self::Translate(error.into())
    }
}

type Result<T> = std::result::Result<T, FuseError>;

/// Rules and members measured on examples that they were not fitted to.
struct Judged {
    on: JudgedOn,
    samples: usize,
    score_fused: f64,
    score_uniform: f64,
    score_best_single: f64,
    rules: Vec<RuleOutcome>,
    averaged: Option<Quality>,
    verdict: Verdict,
}

/// Fuses members. A fusion that the gate refuses leaves no model behind, but an outcome that says why.
pub fn fuse(order: &Order) -> Result<Outcome> {
    let begun = Instant::now();
    let mut members = Members::open(&order.members, &order.device, 0)?;
    let (kind, labels) = (members.kind, members.labels.clone());
    let examples = calibration_examples(order, &members)?;
    let answers = ask(&mut members, &examples.inputs, "calibration")?;
    let all: Vec<&Answers> = answers.iter().collect();
    let truth = (!order.is_unlabelled).then_some(examples.truth.as_slice());
    let calibration = Calibration::new(&all, truth)?;
    let seed = Seed::from_u64(order.seed);
    let rule = order.rule.unwrap_or(Rule::usual(truth.is_some()));
    let comparison = match truth {
        Some(_) => Some(Comparison::new(&calibration, kind, &labels, &seed)?),
        None => None,
    };
    let (pool, guard) = match (&comparison, order.rule) {
        (Some(comparison), None) => comparison.guarded(rule).map(|(pool, guard)| (pool, Some(guard)))?,
        _ => (calibration.fit(rule, &calibration.all())?, None),
    };
    // Where the guard chose equal weights or one member, there is nothing that draws could move.
    let is_fitted = guard.is_none_or(|guard| guard.used == model::fuse::compare::Used::Rule);
    let intervals = if is_fitted { calibration.intervals(rule, seed.fork("intervals"))? } else { None };
    let judged = match &comparison {
        Some(comparison) => Some(judged(order, &mut members, comparison, &calibration, &pool, &examples)?),
        None => None,
    };
    let weights = pool.weights();
    let mut outcomes = Vec::new();
    for (k, member) in members.list().iter().enumerate() {
        let quality = comparison.as_ref().map(|comparison| comparison.quality(&answers[k])).transpose()?;
        outcomes.push(MemberOutcome {
            name: member.name.clone(),
            model: member.dir.clone(),
            hash: hash_model(&member.dir)?,
            score: quality.map(|quality| quality.score),
            quality,
            weight: weights[k],
            interval: intervals.as_ref().map(|intervals| intervals[k]),
        });
    }
    let mut outcome = Outcome {
        rule,
        is_rule_named: order.rule.is_some(),
        pool,
        weights,
        members: outcomes,
        score_fused: judged.as_ref().map(|judged| judged.score_fused),
        score_uniform: judged.as_ref().map(|judged| judged.score_uniform),
        score_best_single: judged.as_ref().map(|judged| judged.score_best_single),
        averaged: judged.as_ref().and_then(|judged| judged.averaged),
        guard,
        verdict: judged.as_ref().map(|judged| judged.verdict),
        metric: metric(kind).to_owned(),
        judged_on: judged.as_ref().map_or(JudgedOn::Nothing, |judged| judged.on),
        samples_calibrate: examples.len(),
        samples_judged: judged.as_ref().map_or(0, |judged| judged.samples),
        rules: judged.map(|judged| judged.rules).unwrap_or_default(),
        calibrate: order.calibrate.clone(),
        warning: rule.warning().map(str::to_owned),
        model: None,
        wall_s: 0.0,
    };
    std::fs::create_dir_all(&order.out).map_err(|e| write_error(&order.out, e))?;
    if outcome.verdict.is_none_or(|verdict| verdict.is_adopted) {
        write_model(order, kind, &labels, &outcome)?;
        outcome.model = Some(order.out.clone());
    }
    outcome.wall_s = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

/// The calibration examples: of a folder the development part, else the test part. The training part is the last choice:
/// members were fitted to it, and those that know it by heart would get too much weight.
fn calibration_examples(order: &Order, members: &Members) -> Result<Examples> {
    let examples = if order.is_unlabelled {
        Examples { inputs: load_lines(&order.calibrate, members.kind)?, truth: Vec::new() }
    } else {
        let parts = load(&order.calibrate, members.kind, members.modality(), &members.labels)?;
        [parts.dev, parts.test, parts.train].into_iter().find(|part| !part.is_empty()).ok_or_else(|| {
            ModelError::file(&order.calibrate, "expected at least one example to calibrate on, found none")
        })?
    };
    if examples.is_empty() {
        let reason = "expected at least one example to calibrate on, found none";
        return Err(ModelError::file(&order.calibrate, reason).into());
    }
    Ok(examples)
}

fn ask(members: &mut Members, inputs: &Inputs, title: &str) -> Result<Vec<Answers>> {
    let mut progress = Progress::new(title, members.list().len() as u64);
    let names: Vec<String> = members.list().iter().map(|member| member.name.clone()).collect();
    let answers = members.answer(inputs, &mut |done| {
        progress.set(done as u64, &format!("{} answered", names[done - 1]));
    })?;
    progress.finish("all members answered");
    Ok(answers)
}

fn judged(
    order: &Order,
    members: &mut Members,
    comparison: &Comparison<'_>,
    calibration: &Calibration<'_>,
    pool: &Pool,
    examples: &Examples,
) -> Result<Judged> {
    let (kind, labels) = (members.kind, members.labels.clone());
    let all = calibration.all();
    let best = comparison.best_single(&all);
    let incumbent = order.incumbent.unwrap_or(best);
    let count = members.list().len();
    let seed = Seed::from_u64(order.seed).fork("gate");
    let (on, inputs, truth, answers) = match &order.validate {
        Some(path) => {
            let parts = load(path, kind, members.modality(), &labels)?;
            let part = [parts.test, parts.dev, parts.train].into_iter().find(|part| !part.is_empty());
            let part = part.ok_or_else(|| {
                ModelError::file(path, "expected at least one example to validate on, found none")
            })?;
            let answers = ask(members, &part.inputs, "validation")?;
            (JudgedOn::Validation, part.inputs, part.truth, answers)
        }
        None => {
            let answers = calibration.members().iter().map(|member| (*member).clone()).collect();
            (JudgedOn::CrossValidation, examples.inputs.clone(), examples.truth.clone(), answers)
        }
    };
    let rows: Vec<&Answers> = answers.iter().collect();
    let is_fresh = on == JudgedOn::Validation;
    // On fresh examples every fit is to the whole calibration set; else every example is judged by a fit without it.
    let by_rule = |rule: Rule| -> Result<Answers> {
        Ok(if is_fresh {
            calibration.fit(rule, &all)?.fuse(&rows)?
        } else {
            comparison.out_of_fit(Candidate::Rule(rule))?
        })
    };
    let mut rules = Vec::new();
    for rule in Rule::ALL {
        rules.push(RuleOutcome { rule, quality: measure(&by_rule(rule)?, &truth, kind, &labels)? });
    }
    let single = |member: usize| -> Result<Answers> { Ok(Pool::single(count, member).fuse(&rows)?) };
    let fused = if is_fresh { pool.fuse(&rows)? } else { out_of_fit(comparison, pool, order, best)? };
    let best_single = if is_fresh { single(best)? } else { comparison.out_of_fit(Candidate::BestSingle)? };
    let tally = |answers: &Answers| tallies(answers, &truth, kind, &labels);
    let verdict = judge(&tally(&fused), &tally(&single(incumbent)?), order.margin, seed)?;
    let uniform = rules.iter().find(|outcome| outcome.rule == Rule::Mean).map_or(0.0, |o| o.quality.score);
    Ok(Judged {
        on,
        samples: inputs.len(),
        score_fused: total(&tally(&fused)),
        score_uniform: uniform,
        score_best_single: total(&tally(&best_single)),
        rules,
        averaged: averaged(members, &inputs, &truth, kind, &labels)?,
        verdict,
    })
}

/// The fusion's answers to the calibration set, each by a fit without it.
fn out_of_fit(comparison: &Comparison<'_>, pool: &Pool, order: &Order, best: usize) -> Result<Answers> {
    let members = pool.members();
    // A guarded default may have become equal weights or one member; those are what is judged then.
    let candidate = if order.rule.is_none() && *pool == Pool::uniform(members) {
        Candidate::Rule(Rule::Mean)
    } else if order.rule.is_none() && *pool == Pool::single(members, best) {
        Candidate::BestSingle
    } else {
        Candidate::Rule(order.rule.unwrap_or(Rule::usual(true)))
    };
    Ok(comparison.out_of_fit(candidate)?)
}

/// One model with the mean of all parameters, where all members have one architecture and one order of labels.
fn averaged(
    members: &Members,
    inputs: &Inputs,
    truth: &[u32],
    kind: TaskKind,
    labels: &LabelSet,
) -> Result<Option<Quality>> {
    let list = members.list();
    let first = &list[0].answerer;
    let is_alike = list.iter().all(|member| {
        member.answerer.session.arch() == first.session.arch()
            && member.answerer.labels == first.labels
            && member.answerer.tokenizer().map(model::data::tokenize::tokenizer::Tokenizer::hash)
                == first.tokenizer().map(model::data::tokenize::tokenizer::Tokenizer::hash)
    });
    if !is_alike || list.len() < 2 {
        return Ok(None);
    }
    let mut mean = vec![0.0_f32; first.session.parameter_count()];
    let mut flat = mean.clone();
    for member in list {
        member.answerer.session.read(&mut flat)?;
        mean.iter_mut().zip(&flat).for_each(|(sum, value)| *sum += value / list.len() as f32);
    }
    let device = "cpu".parse()?;
    let mut session =
        model::session::Session::new(first.session.arch(), first.session.head(), &device, Seed::from_u64(0))?;
    session.write(&mean)?;
    let answers = first.sibling(session, first.facts.clone()).answer(inputs)?;
    Ok(Some(measure(&answers, truth, kind, labels)?))
}

fn write_model(order: &Order, kind: TaskKind, labels: &LabelSet, outcome: &Outcome) -> Result<()> {
    let path = order.out.join(FUSED);
    let members = outcome
        .members
        .iter()
        .map(|member| {
            let path = relative(&order.out, &member.model).map_err(|e| write_error(&path, e))?;
            Ok(MemberFacts {
                name: member.name.clone(),
                path,
                hash: member.hash.clone(),
                weight: member.weight,
                interval: member.interval,
                score: member.score,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let facts = FusedFacts {
        version: VERSION,
        task: if kind == TaskKind::Tagging { "tagging" } else { "classify" }.to_owned(),
        labels: labels.names().to_vec(),
        rule: outcome.rule,
        pool: outcome.pool.clone(),
        members,
        guard: outcome.guard,
        verdict: outcome.verdict,
        samples_calibrate: outcome.samples_calibrate,
    };
    let text = serde_json::to_string_pretty(&facts).map_err(|e| write_error(&path, e))?;
    std::fs::write(&path, text).map_err(|e| write_error(&path, e))
}

fn write_error(path: &Path, reason: impl ToString) -> FuseError {
    FuseError::Write { path: path.to_owned(), reason: reason.to_string() }
}

/// The way from one existing folder to another, so that both can be moved together.
fn relative(from: &Path, to: &Path) -> std::io::Result<PathBuf> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_folders_survives_moving_both() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        assert_eq!(relative(&at("a/fused"), &at("a/half")).unwrap(), PathBuf::from("../half"));
        assert_eq!(relative(&at("a"), &at("a/half")).unwrap(), PathBuf::from("half"));
        assert_eq!(relative(&at("b/c/d"), &at("a")).unwrap(), PathBuf::from("../../../a"));
    }
}
