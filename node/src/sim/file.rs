//! Scenario files: the built-in ones by name, others by path.

use std::path::{Path, PathBuf};

use protocol::sim::bounds::ScenarioError;
use protocol::sim::scenario::Scenario;
use thiserror::Error;

use crate::config::suggest::closest;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Built-in scenarios: name and text.
        pub const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../tests/scenarios/", $name, ".toml")))),*];
    };
}
built_in!(
    "byzantine",
    "calm",
    "churn",
    "clock",
    "clogged",
    "crash",
    "disk",
    "eclipse",
    "equivocation",
    "flood",
    "lossy",
    "members",
    "mixed",
    "partition",
    "revoked",
    "slow",
    "sybil",
    "ten_thousand",
);

/// A scenario that cannot be used.
#[derive(Debug, Error)]
pub enum ScenarioFileError {
    /// No built-in scenario and no file has this name.
    #[error("there is no scenario {found:?}{}; the built-in ones are: {}", suggestion(.found), names())]
    Unknown {
        /// What was asked for.
        found: String,
    },
    /// The file cannot be read.
    #[error("could not read {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not say what a scenario says.
    #[error("{place}: {why}")]
    Contents {
        /// The file or name.
        place: String,
        /// Line, field and reason.
        why: String,
    },
    /// A field is out of bounds.
    #[error("{place}: {why}")]
    Field {
        /// The file or name.
        place: String,
        /// Which, and what belongs there.
        why: ScenarioError,
    },
}

/// Names of the built-in scenarios.
pub fn names() -> String {
    BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn suggestion(found: &str) -> String {
    closest(found, BUILT_IN.iter().map(|(name, _)| *name))
        .map_or(String::new(), |word| format!("; did you mean {word:?}?"))
}

/// The scenario of a name or a file.
pub fn load(word: &str) -> Result<Scenario, ScenarioFileError> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == word) {
        return parse(text, name);
    }
    let path = Path::new(word);
    let is_path = path.extension().is_some() || path.components().count() > 1;
    if !is_path && !path.exists() {
        return Err(ScenarioFileError::Unknown { found: word.to_owned() });
    }
    let text = std::fs::read_to_string(path)
        .map_err(|source| ScenarioFileError::Io { path: path.into(), source })?;
    parse(&text, word)
}

/// Reads a scenario from TOML; `place` names it in errors.
pub fn parse(text: &str, place: &str) -> Result<Scenario, ScenarioFileError> {
    let scenario: Scenario = toml::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|e| ScenarioFileError::Contents { place: place.to_owned(), why: e.to_string() })?;
    scenario.check().map_err(|why| ScenarioFileError::Field { place: place.to_owned(), why })?;
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_holds_and_has_the_name_of_its_file() {
        for (name, text) in BUILT_IN {
            let scenario = parse(text, name).unwrap();
            assert_eq!(scenario.name, *name);
            assert!(!scenario.about.is_empty() && scenario.small.is_some());
            scenario.at_small_size().check().unwrap();
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_word_that_was_meant() {
        let error = load("chrun").unwrap_err().to_string();
        assert!(error.contains("did you mean \"churn\""), "{error}");
        let error = parse("peers = 4\nloss = 0.1\n", "mine.toml").unwrap_err().to_string();
        assert!(error.starts_with("mine.toml: ") && error.contains("loss"), "{error}");
        let error = parse("peers = 1\n", "mine.toml").unwrap_err().to_string();
        assert_eq!(error, "mine.toml: peers: expected 2 to 10240, found 1");
    }
}
