//! A charter as people keep it: a TOML file of terms, with the founders' signatures at its end.
//!
//! Signatures are over the canonical encoding of the terms, so comments and layout may change without breaking them,
//! and a signed file stays one that people can read and review. Signing keeps the author's text as it is.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use protocol::codec::{decode_manifest, encode};
use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::{Domain, Signature};
use protocol::id::PeerId;
use protocol::wire::charter::{Charter, CharterError, SignedCharter};
use protocol::wire::sealed::CoSigned;

use crate::config::suggest::closest;
use crate::store::atomic::{self, Durability};
use crate::store::disk::RealDisk;

const FILE_BYTES_MAX: u64 = 4 << 20;
const SIGNATURES: &str = "[[signatures]]";

/// The terms of a charter with the signatures made so far; signatures may be missing or wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct CharterFile {
    terms: String,
    charter: Charter,
    signatures: Vec<(PeerId, Signature)>,
}

/// Why a charter file cannot be used. Nothing was changed.
#[derive(Debug, Error)]
pub enum CharterFileError {
    /// There is none.
    #[error("no charter at {path}; make one with `starling charter new`, or get the signed one from another member", path = .0.display())]
    Absent(PathBuf),
    /// The system refused.
    #[error("could not {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a charter.
    #[error("{path}:{line}: {what}", path = path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        what: String,
    },
    /// Its terms or signatures do not hold.
    #[error("{path}: {source}", path = path.display())]
    Charter {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CharterError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureList {
    signatures: Vec<SignatureLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureLine {
    founder: PeerId,
    signature: String,
}

impl CharterFile {
    /// The file of terms nobody has signed yet. The terms are not checked.
    pub fn draft(charter: &Charter) -> Result<Self, String> {
        let terms =
            toml::to_string(charter).map_err(|e| format!("the charter cannot be written as TOML: {e}"))?;
        Ok(Self { terms, charter: charter.clone(), signatures: Vec::new() })
    }

    /// The file of a charter that came over the network. The terms are not checked.
    pub fn received(sealed: &CoSigned) -> Result<Self, String> {
        let charter: Charter = decode_manifest(&sealed.body).map_err(|e| e.to_string())?;
        Ok(Self { signatures: sealed.signatures.clone(), ..Self::draft(&charter)? })
    }

    /// Reads a file; terms and signatures are not checked yet.
    pub fn read(path: &Path) -> Result<Self, CharterFileError> {
        let failed = |what| move |source| CharterFileError::Io { what, path: path.into(), source };
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CharterFileError::Absent(path.into()));
            }
            other => other.map_err(failed("open"))?,
        };
        if !file.metadata().map_err(failed("look at"))?.is_file() {
            return Err(contents(path, 1, "expected a plain file, found a folder, pipe or device".into()));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed("read"))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(contents(path, 1, format!("expected at most {FILE_BYTES_MAX} bytes, found more")));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| contents(path, 1, "expected UTF-8; save it as UTF-8".into()))?;
        Self::parse(&text).map_err(|(line, what)| contents(path, line, what))
    }

    /// Reads the text of a file; an error is a line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let (terms, list) = text.split_at(signatures_at(&text));
        let line_at = |part: &str, span: Option<std::ops::Range<usize>>| {
            1 + part[..span.map_or(0, |s| s.start).min(part.len())].matches('\n').count()
        };
        let charter: Charter =
            toml::from_str(terms).map_err(|e| (line_at(terms, e.span()), explain(e.message())))?;
        let mut signatures = Vec::new();
        if !list.is_empty() {
            let before = terms.matches('\n').count();
            let parsed: SignatureList = toml::from_str(list).map_err(|e| {
                (before + line_at(list, e.span()), format!("signatures: {}", explain(e.message())))
            })?;
            for line in parsed.signatures {
                let wrong = || {
                    (
                        before + 1,
                        format!(
                            "the signature of {} is not 128 hexadecimal digits; sign again",
                            line.founder.short()
                        ),
                    )
                };
                signatures.push((line.founder, from_hex(&line.signature).ok_or_else(wrong)?));
            }
        }
        Ok(Self { terms: terms.trim_end().to_owned() + "\n", charter, signatures })
    }

    /// The terms.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Whose signatures hold, of the charter's founders.
    pub fn signers(&self) -> Vec<PeerId> {
        self.sealed().valid_signers(Domain::Charter, &self.charter.founders).into_iter().collect()
    }

    /// Adds a signature; replaces an earlier one of the same key. The terms are not checked here.
    pub fn sign(&mut self, keys: &Keypair) {
        let mut sealed = self.sealed();
        sealed.sign(keys, Domain::Charter);
        self.signatures = sealed.signatures;
    }

    /// Checks terms and signatures.
    pub fn open(&self) -> Result<SignedCharter, CharterError> {
        SignedCharter::from_sealed(self.sealed())
    }

    /// The whole file.
    pub fn to_text(&self) -> String {
        let signature = |(founder, signature): &(PeerId, Signature)| {
            format!("\n{SIGNATURES}\nfounder = \"{founder}\"\nsignature = \"{}\"\n", to_hex(signature))
        };
        let signatures: Vec<String> = self.signatures.iter().map(signature).collect();
        self.terms.clone() + &signatures.concat()
    }

    /// Replaces the file in one step, durably.
    pub fn write(&self, path: &Path) -> Result<(), CharterFileError> {
        atomic::replace(&RealDisk, path, self.to_text().as_bytes(), Durability::Machine)
            .map_err(|source| CharterFileError::Io { what: "write", path: path.into(), source })
    }

    fn sealed(&self) -> CoSigned {
        CoSigned { body: encode(&self.charter), signatures: self.signatures.clone() }
    }
}

/// Reads a charter file and checks terms and signatures.
pub fn open(path: &Path) -> Result<SignedCharter, CharterFileError> {
    CharterFile::read(path)?.open().map_err(|source| CharterFileError::Charter { path: path.into(), source })
}

/// Where the list of signatures starts: the first line that opens it.
fn signatures_at(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim() == SIGNATURES {
            return at;
        }
        at += line.len();
    }
    text.len()
}

fn contents(path: &Path, line: usize, what: String) -> CharterFileError {
    CharterFileError::Contents { path: path.into(), line, what }
}

/// Adds to the parser's words about an unknown field the one that was probably meant.
fn explain(message: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first().filter(|_| message.starts_with("unknown ")) {
        Some((found, known)) => match closest(found, known.iter().copied()) {
            Some(meant) => format!("unknown field `{found}`; did you mean `{meant}`?"),
            None => message,
        },
        None => message,
    }
}

fn from_hex(text: &str) -> Option<Signature> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    if digits.len() == 128 { bytes.try_into().ok().map(Signature) } else { None }
}

fn to_hex(signature: &Signature) -> String {
    let digits = signature.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).expect("four bits are one digit")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use protocol::id::Hash;
    use protocol::time::UnixSeconds;
    use protocol::wire::charter::{
        Admission, AuditTerms, ExchangeTerms, Genesis, Member, MixingTerms, ModelTerms, ScheduleTerms,
        TaskTerms, TrainTerms,
    };
    use protocol::wire::choice::{Codec, Rule};

    use super::*;

    pub(crate) fn keys(n: u8) -> Keypair {
        Keypair::from_secret([n; 32])
    }

    pub(crate) fn charter() -> Charter {
        Charter {
            name: "newswire".into(),
            purpose: "Find names in newswire together".into(),
            version: 1,
            run: None,
            expires: UnixSeconds(4_000_000_000),
            founders: vec![keys(1).peer(), keys(2).peer()],
            threshold: 2,
            model: ModelTerms {
                architecture: "{\"kind\":\"encoder\"}".into(),
                tokenizer: Some(Hash([5; 32])),
                genesis: Genesis::Checkpoint { hash: Hash([4; 32]), seed: 7 },
                layout: Hash([6; 32]),
                parameters: 1_100_000,
            },
            task: TaskTerms {
                kind: "tagging".into(),
                labels: vec!["O".into(), "B-PER".into()],
                metric: "f1".into(),
                tokens_max: 128,
            },
            train: TrainTerms {
                optimizer: "adamw".into(),
                rate: 3e-4,
                batch: 16,
                weight_decay: 0.01,
                clip: 1.0,
                warmup_share: 0.05,
                decay_share: 0.3,
                in_order: false,
            },
            exchange: ExchangeTerms {
                shards: true,
                predictions: false,
                codec: Codec::Int8,
                settle_codec: Codec::F16,
                inner_steps_min: 1,
                epsilon_max: None,
                probe: None,
            },
            mixing: MixingTerms {
                pulls: 4,
                byzantine: 0,
                rule: Rule::Mean,
                outer_momentum: 0.5,
                outer_rate: 0.7,
                staleness_max: 8,
            },
            schedule: ScheduleTerms {
                outer_steps: 24,
                settle_steps: 6,
                inner_steps: 20,
                outer_seconds_max: 0,
                patience_ms: 2_000,
                synchronous: false,
                overlap: false,
                evaluate_every: 4,
            },
            admission: Admission::Closed(vec![
                Member { peer: keys(1).peer(), organization: "Ada's".into() },
                Member { peer: keys(2).peer(), organization: "Bell".into() },
            ]),
            audit: AuditTerms { cards: true, ledger_head: true },
            codistillation: None,
        }
    }

    #[test]
    fn a_charter_reads_back_as_it_was_written_and_counts_its_signatures() {
        let mut file = CharterFile::draft(&charter()).unwrap();
        assert!(matches!(file.open(), Err(CharterError::Signatures { expected: 2, found: 0 })));
        for n in [1, 2] {
            file.sign(&keys(n));
            file = CharterFile::parse(&file.to_text()).unwrap();
            assert_eq!(file.signers().len(), n as usize);
        }
        assert_eq!(file.charter(), &charter());
        let signed = file.open().unwrap();
        assert_eq!(signed.run(), charter().run_id());
        // A member of an open-to-invited run, seeded genesis, later version: the other forms of every choice.
        let later = Charter {
            version: 2,
            run: Some(charter().run_id()),
            admission: Admission::Invite,
            model: ModelTerms { genesis: Genesis::Seed(9), tokenizer: None, ..charter().model },
            ..charter()
        };
        let text = CharterFile::draft(&later).unwrap().to_text();
        assert_eq!(CharterFile::parse(&text).unwrap().charter(), &later, "{text}");
    }

    #[test]
    fn comments_layout_and_line_ends_do_not_break_signatures_but_any_changed_term_does() {
        let mut file = CharterFile::draft(&charter()).unwrap();
        file.sign(&keys(1));
        file.sign(&keys(2));
        let text = file.to_text();
        let commented =
            format!("\u{feff}# reviewed on Monday\n{}", text.replace("\n[mixing]", "\n\n# how\n[mixing]"))
                .replace('\n', "\r\n");
        let again = CharterFile::parse(&commented).unwrap();
        assert!(again.open().is_ok());
        assert!(again.to_text().contains("# reviewed on Monday"));
        for (from, to) in [
            ("pulls = 4", "pulls = 3"),
            ("rate = 0.0003", "rate = 0.0004"),
            ("seed = 7", "seed = 8"),
            ("Bell", "Bull"),
        ] {
            assert!(text.contains(from), "{from} is not in\n{text}");
            let changed = CharterFile::parse(&text.replace(from, to)).unwrap();
            assert!(matches!(changed.open(), Err(CharterError::Signatures { found: 0, .. })), "{from}");
        }
    }

    #[test]
    fn a_wrong_charter_is_refused_with_its_line_and_a_remedy() {
        let text = CharterFile::draft(&charter()).unwrap().to_text();
        for (from, to, words) in [
            ("pulls = 4", "pols = 4", "did you mean `pulls`?"),
            ("pulls = 4", "pulls = -4", "invalid value"),
            ("pulls = 4", "pulls = \"4\"", "invalid type"),
            ("rule = \"mean\"", "rule = \"average\"", "unknown"),
            ("threshold = 2", "", "missing field"),
            ("[mixing]", "[mixing", "unclosed table"),
        ] {
            assert!(text.contains(from), "{from} is not in\n{text}");
            let (line, what) = CharterFile::parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(what.contains(words), "{to}: {what}");
            let at = text.lines().position(|l| l == from).unwrap() + 1;
            assert!(line == at || what.contains("missing"), "{to}: line {line}, expected {at}");
        }
        let bad = format!("{text}\n[[signatures]]\nfounder = \"{}\"\nsignature = \"zz\"\n", keys(1).peer());
        assert!(CharterFile::parse(&bad).unwrap_err().1.contains("sign again"));
        assert!(CharterFile::parse(&format!("{text}\n[[signatures]]\nx = 1\n")).is_err());
        assert!(CharterFile::parse("").is_err());
    }
}
