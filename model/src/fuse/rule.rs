//! The rules by which members' answers become one, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How members' answers are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Weights on the simplex that minimise `(1/N) Σ ‖Σ w_j ŷ_j − y‖²` on labelled examples.
    Simplex,
    /// Weights on the simplex that minimise `−(1/N) Σ ln Σ w_j ŷ_j(y)` on labelled examples.
    SimplexLog,
    /// `w_j ∝ 1/d_j` with `d_j = ‖ŷ_j − median of the members‖²`; needs no labels.
    Inverse,
    /// `w_j = d_j / Σ d_k` with `d_j = ‖ŷ_j − mean of the members‖²`; needs no labels, and favours whoever disagrees.
    Disagreement,
    /// Equal weights.
    Mean,
    /// Equal weights on logarithms: the normalised geometric mean.
    Geometric,
    /// The median of every label's probability, normalised.
    Median,
    /// One vote per member for its likeliest label; equal counts are decided by the mean.
    Vote,
    /// Logistic regression on the members' logarithms with a weight per member and an offset per label, on labelled
    /// examples (stacked generalization, Wolpert 1992, with members' weights shared by all labels).
    Stacking,
}

impl Rule {
    /// Every rule, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Simplex,
        Self::SimplexLog,
        Self::Inverse,
        Self::Disagreement,
        Self::Mean,
        Self::Geometric,
        Self::Median,
        Self::Vote,
        Self::Stacking,
    ];

    /// The rule taken when none is named.
    pub fn usual(has_labels: bool) -> Self {
        if has_labels { Self::Simplex } else { Self::Inverse }
    }

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simplex => "simplex",
            Self::SimplexLog => "simplex-log",
            Self::Inverse => "inverse",
            Self::Disagreement => "disagreement",
            Self::Mean => "mean",
            Self::Geometric => "geometric",
            Self::Median => "median",
            Self::Vote => "vote",
            Self::Stacking => "stacking",
        }
    }

    /// Whether it can only be fitted to labelled examples.
    pub fn needs_labels(self) -> bool {
        matches!(self, Self::Simplex | Self::SimplexLog | Self::Stacking)
    }

    /// What a person should know before using it.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Disagreement => Some(
                "the rule `disagreement` gives the most weight to the member that is furthest from the others, broken \
                 and hostile ones included; prefer `simplex` with labels or `inverse` without",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|rule| rule.name()).collect();
            Error::config("rule", format!("expected one of {}, found `{text}`", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_here_and_in_files() {
        for rule in Rule::ALL {
            assert_eq!(rule.name().parse::<Rule>().unwrap(), rule);
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
        }
        assert!("best".parse::<Rule>().unwrap_err().to_string().contains("simplex-log"));
    }
}
