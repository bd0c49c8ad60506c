//! Which of a charter's architectures a node trains: the one its settings name, else the largest its memory bears.

use protocol::id::Hash;
use protocol::wire::charter::Charter;
use protocol::wire::codistillation::PRIMARY;
use thiserror::Error;

use crate::telemetry::escape;

/// Memory that training takes for each parameter, bytes: parameter, gradient and two moments of AdamW are 16; as much
/// again for activations and copies.
const BYTES_PER_PARAMETER: u64 = 32;
/// Part of the machine's memory that an architecture chosen without a word of the owner may take.
const MEMORY_PART: u64 = 4;

/// The charter has no architecture of this name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("train.variant: expected one of the charter's architectures ({expected}), found {found:?}")]
pub struct UnknownVariant {
    /// The charter's.
    pub expected: String,
    /// In the settings.
    pub found: String,
}

/// One of a charter's architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the `model` crate reads.
    pub text: &'a str,
    /// Hash of its parameter layout.
    pub layout: Hash,
    /// Its number of parameters.
    pub parameters: u64,
}

/// An architecture, and why it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The architecture.
    pub architecture: Architecture<'a>,
    /// Why.
    pub reason: Reason,
}

/// Why an architecture was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The charter has no other.
    Only,
    /// The settings name it.
    Named,
    /// It is the largest that fits the memory, or the smallest where none does.
    Memory,
}

impl Reason {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Only => "the charter has no other",
            Self::Named => "named by train.variant",
            Self::Memory => "chosen by this machine's memory",
        }
    }
}

impl std::fmt::Display for Chosen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Architecture { name, parameters, .. } = self.architecture;
        write!(f, "{}, {parameters} parameters ({})", escape::line(name), self.reason.words())
    }
}

/// All architectures of a charter, the primary one first.
pub fn architectures(charter: &Charter) -> Vec<Architecture<'_>> {
    let model = &charter.model;
    let primary = Architecture {
        name: PRIMARY,
        text: &model.architecture,
        layout: model.layout,
        parameters: model.parameters,
    };
    let variants = charter.codistillation.iter().flat_map(|terms| &terms.variants).map(|v| Architecture {
        name: &v.name,
        text: &v.architecture,
        layout: v.layout,
        parameters: v.parameters,
    });
    std::iter::once(primary).chain(variants).collect()
}

/// The architecture of a node: `wanted` by name, else by `memory`, the bytes of the machine where they are known.
pub fn choose<'a>(
    charter: &'a Charter,
    wanted: Option<&str>,
    memory: Option<u64>,
) -> Result<Chosen<'a>, UnknownVariant> {
    let all = architectures(charter);
    if let Some(wanted) = wanted {
        let found = all.iter().find(|a| a.name == wanted);
        let names = || all.iter().map(|a| a.name).collect::<Vec<_>>().join(", ");
        return found
            .map(|a| Chosen { architecture: *a, reason: Reason::Named })
            .ok_or_else(|| UnknownVariant { expected: names(), found: wanted.to_owned() });
    }
    if let [only] = all[..] {
        return Ok(Chosen { architecture: only, reason: Reason::Only });
    }
    let room = memory.map_or(0, |bytes| bytes / MEMORY_PART / BYTES_PER_PARAMETER);
    let fits = all.iter().filter(|a| a.parameters <= room).max_by_key(|a| a.parameters);
    let smallest = all.iter().min_by_key(|a| a.parameters);
    let architecture = *fits.or(smallest).expect("a charter has a primary architecture");
    Ok(Chosen { architecture, reason: Reason::Memory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::charter_file::tests::charter;
    use protocol::wire::codistillation::{CodistillationTerms, Variant};

    fn unlike() -> Charter {
        let variant = |name: &str, parameters| Variant {
            name: name.to_owned(),
            architecture: "{}".to_owned(),
            layout: Hash([1; 32]),
            parameters,
        };
        let variants = vec![variant("middle", 200_000), variant("small", 50_000)];
        let terms = CodistillationTerms { outputs: 9, batch: 1, alpha: 1.0, temperature: 1.0, variants };
        Charter { codistillation: Some(terms), ..charter() }
    }

    #[test]
    fn a_name_wins_over_memory_and_an_unknown_one_is_refused_with_the_known_ones() {
        let charter = unlike();
        let named = choose(&charter, Some("small"), Some(u64::MAX)).unwrap();
        assert_eq!((named.architecture.parameters, named.reason), (50_000, Reason::Named));
        let error = choose(&charter, Some("tiny"), None).unwrap_err().to_string();
        assert!(error.contains("primary, middle, small") && error.contains("tiny"), "{error}");
    }

    #[test]
    fn without_a_name_the_largest_that_fits_a_quarter_of_the_memory_is_taken() {
        let charter = unlike();
        let parameters = |memory| choose(&charter, None, memory).unwrap().architecture.parameters;
        let bytes = |parameters: u64| Some(parameters * 32 * 4);
        assert_eq!(parameters(bytes(1_100_000)), 1_100_000);
        assert_eq!(parameters(bytes(1_099_999)), 200_000);
        assert_eq!(parameters(bytes(1_000)), 50_000);
        assert_eq!(parameters(None), 50_000);
        let plain = Charter { codistillation: None, ..charter.clone() };
        assert_eq!(choose(&plain, None, None).unwrap().reason, Reason::Only);
    }
}
