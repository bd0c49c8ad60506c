//! What `starling doctor --bundle FILE` gathers: all that helps to find a fault, and no secret.
//!
//! What goes in is listed here name by name, so that nothing comes in by chance: no key, no data, no parameters.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::check::Check;
use crate::cli::output::{CliError, ExitCode};
use crate::cli::place::Place;
use crate::store::disk::private_file_options;

/// Files that go in whole.
const WHOLE: [&str; 2] = ["status.json", "peers.json"];
/// Files of which the end goes in.
const ENDS: [&str; 3] = ["events.jsonl", "metrics.jsonl", "eval.jsonl"];
/// Bytes of a file that go in.
const BYTES_MAX: u64 = 256 << 10;
/// Names in a directory listing.
const NAMES_MAX: usize = 1_000;

/// Writes the bundle.
pub(super) fn write(path: &Path, place: &Place, checks: &[Check]) -> Result<(), CliError> {
    let dir = place.state_dir();
    let settings: Vec<Value> = place.load().map_or_else(
        |error| vec![json!({ "error": error.to_string() })],
        |loaded| {
            let row = |s: &crate::config::load::Setting| {
                json!({ "name": s.name, "value": s.value.to_toml(), "origin": s.origin.to_string() })
            };
            loaded.settings.iter().map(row).collect()
        },
    );
    let files = |names: &[&str]| -> serde_json::Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), json!(end_of(&dir.join(name))))).collect()
    };
    let system = ["/proc/version", "/proc/loadavg", "/proc/meminfo"]
        .map(|name| (name, std::fs::read_to_string(name).unwrap_or_default()));
    let bundle = json!({
        "program": env!("CARGO_PKG_VERSION"),
        "checks": checks,
        "settings": settings,
        "whole": files(&WHOLE),
        "ends": files(&ENDS),
        "files": listing(&dir),
        "system": system.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    });
    let failed = |e: std::io::Error| {
        let what = format!("could not write {}", path.display());
        match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                CliError::new(ExitCode::Refused, what, "it exists", "name a new file")
            }
            _ => CliError::failed(what, e),
        }
    };
    let mut file = private_file_options().write(true).create_new(true).open(path).map_err(failed)?;
    serde_json::to_writer_pretty(&mut file, &bundle).map_err(|e| failed(e.into()))?;
    file.write_all(b"\n").map_err(failed)
}

/// The last whole lines of a file; nothing where there is none.
fn end_of(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if length <= BYTES_MAX {
            return Ok(text);
        }
        Ok(text.split_once('\n').map_or(String::new(), |(_, whole)| whole.to_owned()))
    };
    read().unwrap_or_default()
}

/// Names and sizes in the node's directory.
fn listing(dir: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if found.len() == NAMES_MAX {
                return found;
            }
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            found.push(json!({ "name": name, "bytes": metadata.len() }));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}
