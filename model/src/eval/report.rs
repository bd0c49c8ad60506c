//! Scores by label and their averages, as data and as the usual table.
//!
//! The table has the layout of seqeval's and scikit-learn's `classification_report(digits=4)`, character for
//! character, because people compare the two side by side.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::eval::separation::OutOfScope;

/// True, predicted and rightly predicted items of one label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// In the data.
    pub truth: u64,
    /// Said by the model.
    pub predicted: u64,
    /// Both.
    pub hit: u64,
}

impl Counts {
    /// Precision, recall and F1; 0 where a denominator is 0.
    pub fn score(&self) -> Score {
        let precision = ratio(self.hit, self.predicted);
        let recall = ratio(self.hit, self.truth);
        let sum = precision + recall;
        // The order of operations is scikit-learn's, so that the last bits agree too.
        let f1 = 2.0 * precision * recall / if sum == 0.0 { 1.0 } else { sum };
        Score { precision, recall, f1, support: self.truth }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Precision, recall, F1, and how many items of the data they are about.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Score {
    /// Share of what was said that is right.
    pub precision: f64,
    /// Share of what is there that was said.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Items in the data.
    pub support: u64,
}

/// The score of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelScore {
    /// Its name.
    pub label: String,
    /// Its score.
    #[serde(flatten)]
    pub score: Score,
}

/// How well a language model foresees a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LanguageScore {
    /// `exp` of the mean surprise of a token: as undecided as among so many equal tokens.
    pub perplexity: f64,
    /// Surprise per byte of text, bits; does not depend on the tokenizer.
    pub bits_per_byte: f64,
    /// Tokens predicted.
    pub tokens: u64,
}

/// Places of a ranking that are looked at.
pub const DEPTH: usize = 10;

/// How well second sides are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankingScore {
    /// Normalised discounted cumulative gain of the first [`DEPTH`] places, mean over lists (Järvelin and Kekäläinen
    /// 2002), with gain 1 for what is to be found.
    pub ndcg: f64,
    /// Share of lists with something to be found in the first [`DEPTH`] places.
    pub hit_rate: f64,
    /// Chance that what is to be found stands before what is not, mean over lists; half for ties.
    pub auc: f64,
    /// Lists.
    pub lists: u64,
}

/// How far a quantity is missed where the truth lies in a part of its scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RangeError {
    /// Where the part begins, in the unit of the data.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Examples whose truth lies there.
    pub support: u64,
    /// Mean distance of answer and truth.
    pub mean_absolute_error: f64,
    /// Mean of answer less truth: above 0 where too much is said.
    pub bias: f64,
}

/// How well a quantity is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantityScore {
    /// Its name.
    pub quantity: String,
    /// Mean of the squared distance of answer and truth, in the unit of the data squared.
    pub mean_square_error: f64,
    /// Mean distance, in the unit of the data.
    pub mean_absolute_error: f64,
    /// Share of the spread of the truth that is explained; below 0 where the mean would be nearer.
    pub r2: f64,
    /// Rank correlation of answers and truth, -1 to 1.
    pub spearman: f64,
    /// The errors by where the truth lies.
    pub by_range: Vec<RangeError>,
}

/// The outcome of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What `score` is: `entity F1 (micro)`, `label F1 (micro)`, `accuracy`, `R2` and so on.
    pub metric: String,
    /// The one number to compare models by, 0 to 1.
    pub score: f64,
    /// Labels that occur in the data or in the predictions.
    pub per_label: Vec<LabelScore>,
    /// Over all items together; absent for classes, where it is the accuracy.
    pub micro: Option<Score>,
    /// Mean over labels.
    #[serde(rename = "macro")]
    pub macro_average: Score,
    /// Mean over labels, weighted by support.
    pub weighted: Score,
    /// Share of words, or of texts, with the right label, or with exactly the right labels; 0 for a quantity.
    pub accuracy: f64,
    /// Sentences, texts or rows evaluated.
    pub samples: u64,
    /// Of a language model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<LanguageScore>,
    /// Of a task on pairs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<RankingScore>,
    /// Of a quantity only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<QuantityScore>,
    /// Where the data has texts that belong to no class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_scope: Option<OutOfScope>,
}

impl Report {
    /// Puts counts by label together; labels that never occur are left out.
    ///
    /// With `micro` the score is the micro F1, without it the accuracy.
    pub fn new(metric: &str, counts: &[(String, Counts)], micro: bool, accuracy: f64, samples: u64) -> Self {
        let occurring: Vec<&(String, Counts)> =
            counts.iter().filter(|(_, counts)| counts.truth + counts.predicted > 0).collect();
        let per_label: Vec<LabelScore> = occurring
            .iter()
            .map(|(label, counts)| LabelScore { label: label.clone(), score: counts.score() })
            .collect();
        let all = occurring.iter().fold(Counts::default(), |sum, (_, counts)| Counts {
            truth: sum.truth + counts.truth,
            predicted: sum.predicted + counts.predicted,
            hit: sum.hit + counts.hit,
        });
        let micro = micro.then(|| all.score());
        let score = micro.map_or(accuracy, |micro| micro.f1);
        Self {
            metric: metric.to_owned(),
            score,
            macro_average: average(&per_label, |_| 1.0),
            weighted: average(&per_label, |score| score.support as f64),
            per_label,
            micro,
            accuracy,
            samples,
            language: None,
            ranking: None,
            quantity: None,
            out_of_scope: None,
        }
    }

    /// The score of a label, where it occurs.
    pub fn label(&self, name: &str) -> Option<&Score> {
        self.per_label.iter().find(|entry| entry.label == name).map(|entry| &entry.score)
    }
}

fn average(labels: &[LabelScore], weight: impl Fn(&Score) -> f64) -> Score {
    let total: f64 = labels.iter().map(|entry| weight(&entry.score)).sum();
    let mean = |value: fn(&Score) -> f64| {
        let sum: f64 = labels.iter().map(|entry| value(&entry.score) * weight(&entry.score)).sum();
        if total == 0.0 { 0.0 } else { sum / total }
    };
    Score {
        precision: mean(|score| score.precision),
        recall: mean(|score| score.recall),
        f1: mean(|score| score.f1),
        support: labels.iter().map(|entry| entry.score.support).sum(),
    }
}

impl fmt::Display for QuantityScore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "         R2  {:>12.4}", self.r2)?;
        writeln!(out, "   Spearman  {:>12.4}", self.spearman)?;
        writeln!(out, "        MSE  {:>12.6}", self.mean_square_error)?;
        writeln!(out, "        MAE  {:>12.6}   of {}", self.mean_absolute_error, self.quantity)?;
        writeln!(out, "\n{:>25}  {:>12} {:>12} {:>9}\n", "truth", "MAE", "bias", "support")?;
        for range in &self.by_range {
            let between = format!("{:.3} to {:.3}", range.from, range.to);
            writeln!(
                out,
                "{between:>25}  {:>12.4} {:>+12.4} {:>9}",
                range.mean_absolute_error, range.bias, range.support
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(language) = &self.language {
            writeln!(out, "       perplexity  {:>9.3}", language.perplexity)?;
            writeln!(out, "    bits per byte  {:>9.4}", language.bits_per_byte)?;
            writeln!(out, "next token right  {:>10.4}", self.accuracy)?;
            return writeln!(out, "           tokens  {:>9}", language.tokens);
        }
        if let Some(found) = &self.quantity {
            return found.fmt(out);
        }
        let longest = self.per_label.iter().map(|entry| entry.label.chars().count()).max().unwrap_or(0);
        let width = longest.max("weighted avg".len());
        writeln!(
            out,
            "{:>width$}  {:>9} {:>9} {:>9} {:>9}\n",
            "", "precision", "recall", "f1-score", "support"
        )?;
        let row = |out: &mut fmt::Formatter<'_>, name: &str, score: &Score| {
            writeln!(
                out,
                "{name:>width$}  {:>9.4} {:>9.4} {:>9.4} {:>9}",
                score.precision, score.recall, score.f1, score.support
            )
        };
        for entry in &self.per_label {
            row(out, &entry.label, &entry.score)?;
        }
        writeln!(out)?;
        match &self.micro {
            Some(micro) => row(out, "micro avg", micro)?,
            None => writeln!(
                out,
                "{:>width$}  {:>9} {:>9} {:>9.4} {:>9}",
                "accuracy", "", "", self.accuracy, self.macro_average.support
            )?,
        }
        row(out, "macro avg", &self.macro_average)?;
        row(out, "weighted avg", &self.weighted)?;
        if let Some(found) = &self.ranking {
            let [ndcg, hits] = [format!("NDCG at {DEPTH}"), format!("hit rate at {DEPTH}")];
            writeln!(
                out,
                "\n{ndcg} {:.4}, {hits} {:.4}, AUC {:.4}, over {} lists",
                found.ndcg, found.hit_rate, found.auc, found.lists
            )?;
        }
        if let Some(found) = &self.out_of_scope {
            writeln!(
                out,
                "\n{} texts of no class: AUC {:.4}, {:.4} refused when one in twenty others is",
                found.texts, found.auc, found.refused_at_five_percent
            )?;
        }
        Ok(())
    }
}
