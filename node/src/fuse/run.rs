//! Fusing models: ask, fit, compare, judge, keep.

use std::path::{Path, PathBuf};
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
use model::fuse::spans::fuse_spans;
use model::fuse::tally::{compare, tallies, total};
use model::seed::Seed;
use model::task::answers::Answers;
use thiserror::Error;

use crate::fuse::fused::{FUSED, FusedFacts, MemberFacts, VERSION};
use crate::fuse::heard::{Heard, absent};
use crate::fuse::members::{Members, MembersError, Seat, Through, hash_said, relative};
use crate::fuse::outcome::{JudgedOn, LeftOut, MemberOutcome, Outcome, RuleOutcome};
use crate::telemetry::progress::Progress;
use crate::trainer::answerer::{Answerer, metric};
use crate::trainer::examples::{Examples, Inputs, load, load_lines};
use crate::trainer::model_hash::hash_model;
use crate::trainer::translate::TranslateError;

/// What to fuse.
#[derive(Clone, Debug)]
pub struct Order {
    /// The members.
    pub members: Vec<Seat>,
    /// How peers among them are asked.
    pub through: Option<Through>,
    /// How many of them must answer; peers that do not are left out.
    pub least: usize,
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
    /// A member cannot be used, or peers cannot be asked.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// Too few members answered, or one that answered first did not answer again.
    #[error("expected answers of {expected}; {why}")]
    Missing {
        /// Of whom.
        expected: String,
        /// Who did not answer, and why.
        why: String,
    },
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
        Self::Members(error.into())
    }
}

impl From<TranslateError> for FuseError {
    fn from(error: TranslateError) -> Self {
        Self::Members(error.into())
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
    score_spans: Option<f64>,
    rules: Vec<RuleOutcome>,
    averaged: Option<Quality>,
    verdict: Verdict,
}

/// Fuses members. A fusion that the gate refuses leaves no model behind, but an outcome that says why.
pub fn fuse(order: &Order) -> Result<Outcome> {
    let begun = Instant::now();
    let mut members = Members::open(&order.members, order.through.as_ref(), &order.device, 0)?;
    let (kind, labels) = (members.kind, members.labels.clone());
    let examples = calibration_examples(order, &members)?;
    let (heard, left_out) =
        present(ask(&mut members, &examples.inputs, "calibration")?, order, &mut members)?;
    let all: Vec<&Answers> = heard.iter().filter_map(|heard| heard.answers.as_ref()).collect();
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
        let quality = comparison.as_ref().map(|comparison| comparison.quality(all[k])).transpose()?;
        let (model, peer, hash) = match &member.seat {
            Seat::Folder(dir) => (Some(dir.clone()), None, hash_model(dir)?),
            Seat::Peer(peer) => (None, Some(*peer), hash_said(peer, &heard[k])),
        };
        outcomes.push(MemberOutcome {
            name: member.name.clone(),
            model,
            peer,
            step: heard[k].step,
            latency_ms: heard[k].latency_ms,
            hash,
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
        left_out,
        score_fused: judged.as_ref().map(|judged| judged.score_fused),
        score_uniform: judged.as_ref().map(|judged| judged.score_uniform),
        score_best_single: judged.as_ref().map(|judged| judged.score_best_single),
        score_spans: judged.as_ref().and_then(|judged| judged.score_spans),
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

fn ask(members: &mut Members, inputs: &Inputs, title: &str) -> Result<Vec<Heard>> {
    let mut progress = Progress::new(title, members.list().len() as u64);
    let names: Vec<String> = members.list().iter().map(|member| member.name.clone()).collect();
    let heard = members.answer(inputs, &mut |done| {
        progress.set(done as u64, &format!("{} asked", names[done - 1]));
    })?;
    progress.finish("all members asked");
    Ok(heard)
}

/// The members that answered about the calibration examples, and who is left out because it did not: nothing is known of
/// what its word is worth.
fn present(heard: Vec<Heard>, order: &Order, members: &mut Members) -> Result<(Vec<Heard>, Vec<LeftOut>)> {
    let is_here: Vec<bool> = heard.iter().map(|heard| heard.answers.is_some()).collect();
    let count = is_here.iter().filter(|here| **here).count();
    let incumbent = order.incumbent.filter(|incumbent| !is_here[*incumbent]);
    if count < order.least.max(1) || incumbent.is_some() {
        let expected = match incumbent {
            Some(incumbent) => format!("the incumbent {}", order.members[incumbent]),
            None => format!("at least {} members, found {count}", order.least.max(1)),
        };
        return Err(missing(expected, &heard));
    }
    members.retain(&is_here);
    let (here, away): (Vec<Heard>, Vec<Heard>) = heard.into_iter().partition(|heard| heard.answers.is_some());
    let left_out = away.into_iter().map(|heard| LeftOut { name: heard.name, why: heard.outcome }).collect();
    Ok((here, left_out))
}

fn missing(expected: String, heard: &[Heard]) -> FuseError {
    let why: Vec<String> = absent(heard).iter().map(|(name, why)| format!("{name}: {why}")).collect();
    FuseError::Missing { expected, why: why.join(", ") }
}

/// The place of the incumbent among the members that answered; the best one where none was named.
fn incumbent(order: &Order, members: &Members, best: usize) -> usize {
    let seat = order.incumbent.map(|incumbent| &order.members[incumbent]);
    let place = seat.and_then(|seat| members.list().iter().position(|member| member.seat == *seat));
    place.unwrap_or(best)
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
    let incumbent = incumbent(order, members, best);
    let count = members.list().len();
    let seed = Seed::from_u64(order.seed).fork("gate");
    let (on, inputs, truth, answers) = match &order.validate {
        Some(path) => {
            let parts = load(path, kind, members.modality(), &labels)?;
            let part = [parts.test, parts.dev, parts.train].into_iter().find(|part| !part.is_empty());
            let part = part.ok_or_else(|| {
                ModelError::file(path, "expected at least one example to validate on, found none")
            })?;
            let heard = ask(members, &part.inputs, "validation")?;
            if heard.iter().any(|heard| heard.answers.is_none()) {
                let expected = "all members that answered about the calibration data".to_owned();
                return Err(missing(expected, &heard));
            }
            let answers: Vec<Answers> = heard.into_iter().filter_map(|heard| heard.answers).collect();
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
    let fused = if is_fresh {
        pool.fuse(&rows)?
    } else {
        comparison.out_of_fit(judged_candidate(pool, order, best))?
    };
    let score_spans = match pool {
        Pool::Linear { weights } if kind == TaskKind::Tagging && is_fresh => {
            let said = fuse_spans(&rows, weights, &labels)?;
            Some(total(&compare(rows[0], &said, &truth, kind, &labels)))
        }
        Pool::Linear { .. } if kind == TaskKind::Tagging => {
            Some(comparison.spans_out_of_fit(judged_candidate(pool, order, best))?)
        }
        _ => None,
    };
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
        score_spans,
        rules,
        averaged: averaged(members, &inputs, &truth, kind, &labels)?,
        verdict,
    })
}

/// What is judged where every example is judged by a fit without it. A guarded default may have become equal weights or one
/// member; those are what is judged then.
fn judged_candidate(pool: &Pool, order: &Order, best: usize) -> Candidate {
    let members = pool.members();
    if order.rule.is_none() && *pool == Pool::uniform(members) {
        Candidate::Rule(Rule::Mean)
    } else if order.rule.is_none() && *pool == Pool::single(members, best) {
        Candidate::BestSingle
    } else {
        Candidate::Rule(order.rule.unwrap_or(Rule::usual(true)))
    }
}

/// One model with the mean of all parameters, where all members have one architecture and one order of labels.
fn averaged(
    members: &Members,
    inputs: &Inputs,
    truth: &[u32],
    kind: TaskKind,
    labels: &LabelSet,
) -> Result<Option<Quality>> {
    let here: Vec<&Answerer> =
        members.list().iter().filter_map(|member| member.answerer.as_deref()).collect();
    let Some(first) = here.first().filter(|_| here.len() == members.list().len() && here.len() > 1) else {
        return Ok(None);
    };
    let hash =
        |answerer: &Answerer| answerer.tokenizer().map(model::data::tokenize::tokenizer::Tokenizer::hash);
    let is_alike = here.iter().all(|other| {
        other.session.arch() == first.session.arch()
            && other.labels == first.labels
            && hash(other) == hash(first)
    });
    if !is_alike {
        return Ok(None);
    }
    let mut mean = vec![0.0_f32; first.session.parameter_count()];
    let mut flat = mean.clone();
    for member in &here {
        member.session.read(&mut flat)?;
        mean.iter_mut().zip(&flat).for_each(|(sum, value)| *sum += value / here.len() as f32);
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
            let way = |to: &PathBuf| relative(&order.out, to).map_err(|e| write_error(&path, e));
            Ok(MemberFacts {
                name: member.name.clone(),
                path: member.model.as_ref().map(way).transpose()?,
                peer: member.peer,
                step: member.step,
                hash: member.hash.clone(),
                weight: member.weight,
                interval: member.interval,
                score: member.score,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let has_peers = outcome.members.iter().any(|member| member.peer.is_some());
    let node = order.through.as_ref().filter(|_| has_peers).map(|through| &through.node);
    let through =
        node.map(|node| relative(&order.out, node).map_err(|e| write_error(node, e))).transpose()?;
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
        through,
    };
    let text = serde_json::to_string_pretty(&facts).map_err(|e| write_error(&path, e))?;
    std::fs::write(&path, text).map_err(|e| write_error(&path, e))
}

fn write_error(path: &Path, reason: impl ToString) -> FuseError {
    FuseError::Write { path: path.to_owned(), reason: reason.to_string() }
}
