//! Merges defaults, the file, `STARLING_*` variables and flags, in this order, and remembers where each value came from.
//!
//! All problems are reported at once, each with the place, what is wrong and what to do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use crate::config::key::{self, KEYS, Key, Value};
use crate::config::suggest::closest;
use crate::config::tree::Config;

/// Name of the file in a node's directory.
pub const CONFIG_FILE: &str = "starling.toml";
/// Exit code of a command stopped by its settings.
pub const EXIT_CODE: i32 = 3;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where to look for settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file.
    pub file: ConfigFile,
    /// Variables of the environment; only those of this program are read.
    pub variables: Vec<(OsString, OsString)>,
    /// Values given as flags: name of the setting, value.
    pub flags: Vec<(&'static str, String)>,
}

/// Which file to read.
#[derive(Clone, Debug, Default)]
pub enum ConfigFile {
    /// None; relative paths start at this folder.
    None(PathBuf),
    /// The file of a node's directory, which must exist.
    #[default]
    InWorkingDirectory,
    /// This file, which must exist.
    At(PathBuf),
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command.
    Flag,
}

/// A setting with its value and origin.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name, as `network.listen`.
    pub name: &'static str,
    /// The value in force.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
    /// Values of weaker sources that it hides, weakest first.
    pub hidden: Vec<(Value, Origin)>,
}

/// The merged settings.
#[derive(Debug)]
pub struct Loaded {
    /// The typed tree.
    pub config: Config,
    /// All settings in the order of the file.
    pub settings: Vec<Setting>,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a file with its line, a variable, a flag.
    pub place: String,
    /// What is wrong and what to do.
    pub what: String,
}

/// The settings cannot be used; nothing was started.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(
    /// All problems found, at least one.
    pub Vec<Problem>,
);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag => write!(f, "flag"),
        }
    }
}

impl Sources {
    /// The file of a node's directory, this process's environment, no flags.
    pub fn of_dir(dir: &Path) -> Self {
        Self { file: ConfigFile::At(dir.join(CONFIG_FILE)), ..Self::default() }.with_environment()
    }

    /// Adds this process's environment.
    pub fn with_environment(mut self) -> Self {
        self.variables.extend(std::env::vars_os());
        self
    }

    /// Adds a flag's value, when the flag was given. `name` must be a setting.
    pub fn flag(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        assert!(key::find(name).is_some(), "{name} is a setting");
        self.flags.extend(value.map(|v| (name, v.to_string())));
        self
    }
}

/// Merges the sources; every problem of every source is reported.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut found: BTreeMap<&'static str, Vec<(Value, Origin)>> = BTreeMap::new();
    let path = match &sources.file {
        ConfigFile::None(_) => None,
        ConfigFile::InWorkingDirectory => Some(PathBuf::from(CONFIG_FILE)),
        ConfigFile::At(path) => Some(path.clone()),
    };
    let base = match (&sources.file, &path) {
        (ConfigFile::None(base), _) => base.clone(),
        (_, Some(path)) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
        _ => PathBuf::new(),
    };
    if let Some(path) = &path {
        match read(path) {
            Ok(text) => from_file(path, &text, &mut found, &mut problems),
            Err(what) => problems.push(Problem { place: path.display().to_string(), what }),
        }
    }
    from_variables(&sources.variables, &mut found, &mut problems);
    for (name, text) in &sources.flags {
        let key = key::find(name).expect("flags are checked when they are added");
        match key.from_text(text) {
            Ok(value) => found.entry(key.name).or_default().push((value, Origin::Flag)),
            Err(what) => {
                problems.push(Problem { place: format!("--{}", key.leaf().replace('_', "-")), what });
            }
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    let settings: Vec<Setting> =
        KEYS.iter().map(|key| merge(key, found.remove(key.name).unwrap_or_default())).collect();
    let of = |name: &str| settings.iter().find(|s| s.name == name).expect("every setting is listed");
    // What somebody types starts where they stand; what a file says starts where the file is.
    let here = Path::new("");
    let start = |name: &str| match of(name).origin {
        Origin::Default | Origin::File { .. } => base.as_path(),
        Origin::Variable(_) | Origin::Flag => here,
    };
    let config = Config::build(&base, |name| of(name).value.clone(), start);
    for contradiction in config.contradictions() {
        let place = format!("{} ({})", contradiction.name, of(contradiction.name).origin);
        problems.push(Problem { place, what: contradiction.why });
    }
    if problems.is_empty() { Ok(Loaded { config, settings }) } else { Err(ConfigError(problems)) }
}

fn merge(key: &'static Key, mut values: Vec<(Value, Origin)>) -> Setting {
    let (value, origin) = values.pop().unwrap_or_else(|| (key.default_value(), Origin::Default));
    Setting { name: key.name, value, origin, hidden: values }
}

impl Loaded {
    /// Settings given twice: which source won over which. For the log.
    pub fn conflicts(&self) -> impl Iterator<Item = String> {
        self.settings.iter().filter(|s| !s.hidden.is_empty()).map(|s| {
            let weaker: Vec<_> = s.hidden.iter().map(|(_, origin)| origin.to_string()).collect();
            format!("{}: {} wins over {}", s.name, s.origin, weaker.join(" and "))
        })
    }
}

/// The text of the file, without a byte-order mark.
fn read(path: &Path) -> Result<String, String> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(
                "there is no such file; make one with `starling init`, or name another with --config".into(),
            );
        }
        other => other.map_err(|e| format!("could not read it: {e}"))?,
    };
    if !metadata.is_file() {
        return Err("expected a plain file, found a folder, pipe or device; name the file itself".into());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path)
        .map_err(|e| format!("could not open it: {e}; give this user the right to read it"))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| format!("could not read it: {e}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("expected at most {FILE_BYTES_MAX} bytes, found more; this is no settings file"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("expected UTF-8, found UTF-16; save it as UTF-8".into());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = lines(&error.as_bytes()[..good]);
        format!("expected UTF-8, found other bytes in line {line}; save it as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The line that follows these bytes, from 1.
fn lines(before: &[u8]) -> usize {
    before.split(|&b| b == b'\n').count()
}

fn from_file(
    path: &Path,
    text: &str,
    found: &mut BTreeMap<&'static str, Vec<(Value, Origin)>>,
    problems: &mut Vec<Problem>,
) {
    let line_of = |at: usize| lines(&text.as_bytes()[..at.min(text.len())]);
    let place = |line: usize| format!("{}:{line}", path.display());
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(span.start));
            let what = format!("it is not TOML: {}", error.message().replace('\n', ", "));
            return problems.push(Problem { place: place(line), what });
        }
    };
    for (section, values) in &table {
        let line = line_of(section.span().start);
        let section = section.get_ref().as_ref();
        let known: Vec<&Key> = KEYS.iter().filter(|k| k.section() == section).collect();
        let DeValue::Table(values) = values.get_ref() else {
            let what = format!(
                "expected a section such as [node], found the value {section:?} outside of any; {}",
                home_of(section)
            );
            problems.push(Problem { place: place(line), what });
            continue;
        };
        if known.is_empty() {
            let sections = KEYS.iter().map(Key::section);
            problems.push(Problem { place: place(line), what: unknown("section", section, sections) });
            continue;
        }
        for (leaf, value) in values {
            let line = line_of(leaf.span().start);
            let leaf = leaf.get_ref().as_ref();
            let Some(key) = known.iter().find(|k| k.leaf() == leaf) else {
                let mut what =
                    unknown(&format!("setting in [{section}]"), leaf, known.iter().map(|k| k.leaf()));
                if closest(leaf, known.iter().map(|k| k.leaf())).is_none()
                    && KEYS.iter().any(|k| k.leaf() == leaf)
                {
                    what = format!("unknown setting {leaf:?} in [{section}]; {}", home_of(leaf));
                }
                problems.push(Problem { place: place(line), what });
                continue;
            };
            match key.from_toml(value.get_ref()) {
                Ok(value) => {
                    let origin = Origin::File { path: path.into(), line };
                    found.entry(key.name).or_default().push((value, origin));
                }
                Err(what) => {
                    problems.push(Problem { place: place(line), what: format!("{}: {what}", key.name) });
                }
            }
        }
    }
}

/// Sections of the tree, as they begin the names of variables.
const SECTIONS: [&str; 4] = ["STARLING_NODE_", "STARLING_NETWORK_", "STARLING_TRAIN_", "STARLING_LOG_"];

fn from_variables(
    variables: &[(OsString, OsString)],
    found: &mut BTreeMap<&'static str, Vec<(Value, Origin)>>,
    problems: &mut Vec<Problem>,
) {
    let names: Vec<(String, &'static Key)> = KEYS.iter().map(|k| (k.variable(), k)).collect();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|v| v.starts_with("STARLING_")) else { continue };
        let mut problem =
            |what: String| problems.push(Problem { place: format!("variable {variable}"), what });
        let Some((_, key)) = names.iter().find(|(name, _)| name == variable) else {
            let all = names.iter().map(|(name, _)| name.as_str());
            // Other variables of this prefix belong to tests and scripts; only what was meant for us is refused.
            let is_ours = SECTIONS.iter().any(|s| variable.starts_with(s))
                || closest(variable, all.clone()).is_some_and(|n| n.len().abs_diff(variable.len()) <= 2);
            if is_ours {
                problem(unknown("variable", variable, all));
            }
            continue;
        };
        match value.to_str() {
            // Compose files and service units set what they do not know to nothing.
            Some("") => {}
            None => problem("expected UTF-8, found other bytes".into()),
            Some(text) => match key.from_text(text) {
                Ok(value) => {
                    found.entry(key.name).or_default().push((value, Origin::Variable(variable.into())));
                }
                Err(what) => problem(what),
            },
        }
    }
}

fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.collect();
    known.dedup();
    let found: String = found.chars().take(60).collect();
    match closest(&found, known.iter().copied()) {
        Some(meant) => format!("unknown {what} {found:?}; did you mean `{meant}`?"),
        None => format!("unknown {what} {found:?}; expected one of {}", known.join(", ")),
    }
}

/// Where a name belongs that stands in the wrong place.
fn home_of(leaf: &str) -> String {
    match KEYS.iter().find(|k| k.leaf() == leaf) {
        Some(key) => format!("it belongs under [{}]", key.section()),
        None => "sections are [node], [network], [train], [log]".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_file(bytes: &[u8]) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONFIG_FILE);
        fs::write(&path, bytes).unwrap();
        (dir, Sources { file: ConfigFile::At(path), ..Sources::default() })
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// Group B6 of the fault catalogue: what a file may hold, and the words the owner reads.
    #[test]
    fn a_wrong_file_is_refused_with_its_line_and_a_remedy() {
        let rows: &[(&str, &[u8], &[&str])] = &[
            ("113 unknown key", b"[network]\n\nlisten = []\nlisen = 1\n", &[":4:", "did you mean `listen`?"]),
            ("113 unknown section", b"[netwrok]\n", &[":1:", "did you mean `network`?"]),
            ("113 unknown anything", b"[node]\ncolour = 1\n", &[":2:", "expected one of name, organization"]),
            ("113 key in another section", b"[node]\nmdns = true\n", &[":2:", "belongs under [network]"]),
            ("113 key outside a section", b"mdns = true\n", &[":1:", "belongs under [network]"]),
            ("114 wrong type", b"[network]\nlisten = 7\n", &[":2:", "network.listen", "a list of addresses", "the number 7"]),
            ("114 wrong type in a list", b"[network]\nlisten = [7]\n", &["network.listen", "integer"]),
            ("114 text for a switch", b"[network]\nmdns = \"yes\"\n", &["true or false", "\"yes\""]),
            ("114 float for a number", b"[network]\nlinks_max = 3.5\n", &["whole number from 1 to 1024", "3.5"]),
            ("114 number without unit", b"[train]\ncheckpoint_interval = 30\n", &["a time with its unit", "30"]),
            ("114 text without unit", b"[train]\ncheckpoint_interval = \"30\"\n", &["the unit is missing"]),
            ("114 wrong unit", b"[train]\ncheckpoint_interval = \"30 MiB\"\n", &["units ms, s, min"]),
            ("114 not an address", b"[network]\nbootstrap = [\"example.org:7171\"]\n", &["did you mean \"/dns4/example.org/tcp/7171\""]),
            ("114 unknown device", b"[train]\ndevice = \"gpu\"\n", &["auto, cpu, cuda"]),
            ("114 unknown level", b"[log]\nlevel = \"starling=loud\"\n", &["expected error, warn"]),
            ("115 negative interval", b"[train]\ncheckpoint_interval = \"-5 s\"\n", &["negative"]),
            ("115 zero interval", b"[train]\ncheckpoint_interval = \"0 s\"\n", &["from 1 s to 1 d"]),
            ("115 largest interval", b"[train]\ncheckpoint_interval = \"18446744073709551615 s\"\n", &["too large"]),
            ("115 negative number", b"[network]\nlinks_max = -1\n", &["from 1 to 1024", "-1"]),
            ("115 zero", b"[network]\nlinks_max = 0\n", &["from 1 to 1024"]),
            ("115 u64::MAX", b"[network]\nlinks_max = 18446744073709551615\n", &["links_max"]),
            ("116 quic off but used", b"[network]\nquic = false\nlisten = [\"/ip4/0.0.0.0/udp/1/quic-v1\"]\n", &["network.quic", ":2)", "needs QUIC"]),
            ("116 more bootstrap than links", b"[network]\nlinks_max = 1\nbootstrap = [\"/ip4/192.0.2.1/tcp/1\", \"/ip4/192.0.2.2/tcp/1\"]\n", &["at least the 2 bootstrap peers"]),
            ("116 own address as bootstrap", b"[network]\nexternal = [\"/ip4/192.0.2.1/tcp/1\"]\nbootstrap = [\"/ip4/192.0.2.1/tcp/1\"]\n", &["own external address"]),
            ("116 relays though nobody can dial it", b"[network]\nrelay = true\nbehind_router = true\n", &["network.relay", "set one of them only"]),
            ("116 nowhere to listen", b"[network]\nlisten = []\n", &["at least one address"]),
            ("116 unreachable external", b"[network]\nexternal = [\"/ip4/0.0.0.0/tcp/1\"]\n", &["nobody can be reached"]),
            ("109 a name that leads to names", b"[network]\nbootstrap = [\"/dnsaddr/example.org/tcp/1\"]\n", &["nobody can be reached"]),
            ("same address twice", b"[network]\nlisten = [\"/ip4/0.0.0.0/tcp/1\", \"/ip4/0.0.0.0/tcp/1\"]\n", &["each address once"]),
            ("same key twice", b"[node]\nname = \"a\"\nname = \"b\"\n", &[":3:", "not TOML"]),
            ("half a line", b"[node]\nname = \"a", &[":2:", "not TOML"]),
            ("a name with a line feed", b"[node]\nname = \"a\\nb\"\n", &["node.name", "control characters"]),
            ("117 latin-1", b"[node]\nname = \"Zo\xeb\"\n", &["expected UTF-8", "line 2"]),
            ("117 UTF-16", b"\xff\xfe[\0n\0", &["UTF-16", "save it as UTF-8"]),
            ("117 zero bytes", b"[node]\n\0\0\0", &["not TOML"]),
        ];
        for (row, bytes, words) in rows {
            let (_dir, sources) = with_file(bytes);
            let error = load(&sources).expect_err(row).to_string();
            for word in *words {
                assert!(error.contains(word), "{row}: {word:?} is not in {error:?}");
            }
        }
    }

    #[test]
    fn an_absent_file_or_a_folder_in_its_place_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = load(&Sources { file: ConfigFile::At(dir.path().join("no.toml")), ..Sources::default() });
        assert!(error.unwrap_err().to_string().contains("starling init"));
        let error = load(&Sources { file: ConfigFile::At(dir.path().into()), ..Sources::default() });
        assert!(error.unwrap_err().to_string().contains("plain file"));
        let (_dir, sources) = with_file(&vec![b'#'; 2 << 20]);
        assert!(load(&sources).unwrap_err().to_string().contains("at most 1048576 bytes"));
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let (dir, sources) = with_file(b"");
        let loaded = load(&sources).unwrap();
        assert!(loaded.settings.iter().all(|s| s.origin == Origin::Default));
        assert_eq!(loaded.config.node.dir, dir.path());
        assert_eq!(loaded.config.node.charter, dir.path().join("charter.toml"));
        assert_eq!(loaded.config.train.checkpoint_interval, Duration::from_secs(60));
        assert_eq!(loaded.config.train.threads, None);
        let listen: Vec<_> = loaded.config.network.listen_all().iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["/ip4/0.0.0.0/tcp/7171", "/ip4/0.0.0.0/udp/7171/quic-v1"]);
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
        let (_dir, sources) =
            with_file(b"\xef\xbb\xbf[node]\r\nname = \"ada\"\r\n\r\n[network]\r\nmdns = true\r\n");
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.config.node.name.as_deref(), Some("ada"));
        let mdns = loaded.settings.iter().find(|s| s.name == "network.mdns").unwrap();
        assert!(matches!(mdns.origin, Origin::File { line: 5, .. }), "{:?}", mdns.origin);
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file_and_all_are_told() {
        let (_dir, mut sources) = with_file(b"[network]\nlinks_max = 5\nmdns = true\nquic = false\n");
        sources.variables = variables(&[
            ("STARLING_NETWORK_LINKS_MAX", "6"),
            ("STARLING_NETWORK_MDNS", "off"),
            ("STARLING_NETWORK_BOOTSTRAP", "/ip4/192.0.2.1/tcp/1, /ip4/192.0.2.2/tcp/1"),
            ("STARLING_NODE_NAME", ""),
            ("STARLING_DATA", "/somewhere"),
            ("PATH", "/bin"),
        ]);
        let sources = sources.flag("network.links_max", Some(7)).flag("train.device", None::<String>);
        let loaded = load(&sources).unwrap();
        assert_eq!((loaded.config.network.links_max, loaded.config.network.mdns), (7, false));
        assert_eq!(loaded.config.network.bootstrap.len(), 2);
        assert_eq!(loaded.config.node.name, None);
        let conflicts: Vec<_> = loaded.conflicts().collect();
        assert_eq!(conflicts.len(), 2, "{conflicts:?}");
        assert!(conflicts[1].starts_with("network.links_max: flag wins over"), "{conflicts:?}");
        assert!(
            conflicts[1].ends_with("starling.toml:2 and variable STARLING_NETWORK_LINKS_MAX"),
            "{conflicts:?}"
        );
    }

    #[test]
    fn a_path_in_the_file_starts_at_the_file_and_a_typed_one_where_it_was_typed() {
        let (dir, mut sources) = with_file(b"[node]\ndata = \"d\"\ncharter = \"/c\"\ndir = \"s\"\n");
        let node = load(&sources).unwrap().config.node;
        assert_eq!(node.data, Some(dir.path().join("d")));
        assert_eq!((node.dir, node.charter), (dir.path().join("s"), PathBuf::from("/c")));
        sources.variables = variables(&[("STARLING_NODE_CHARTER", "v")]);
        let node = load(&sources.flag("node.data", Some("f"))).unwrap().config.node;
        assert_eq!((node.data, node.charter), (Some("f".into()), PathBuf::from("v")));
    }

    #[test]
    fn wrong_variables_are_refused_and_all_problems_are_told_at_once() {
        let (_dir, mut sources) = with_file(b"[node]\nnmae = \"x\"\n[train]\nthreads = -1\n");
        sources.variables = variables(&[
            ("STARLING_NETWORK_LISTN", "/ip4/0.0.0.0/tcp/1"),
            ("STARLING_NETWROK_LISTEN", "/ip4/0.0.0.0/tcp/1"),
            ("STARLING_NETWORK_LINKS_MAX", "many"),
        ]);
        let ConfigError(problems) = load(&sources.flag("train.device", Some("abacus"))).unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:?}");
        assert!(problems.iter().any(|p| p.what.contains("did you mean `STARLING_NETWORK_LISTEN`?")));
        assert!(problems.iter().any(|p| p.place == "--device"));
    }
}
