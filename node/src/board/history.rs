//! Tells a story again from the record files of a node's directory, or of a testnet's.
//!
//! Files grow for ever; only their ends are read. Lines that do not parse (half a line after a crash, another version)
//! are passed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use protocol::codec::decode_control;
use protocol::crypto::hash::content_hash;
use protocol::ledger::chain::Entry;
use protocol::wire::sealed::Sealed;
use serde::de::DeserializeOwned;

use crate::board::limits::{LEDGER_TAIL, NODES_MAX, RECORDS_BYTES_MAX};
use crate::board::line::{EventLine, LedgerLine, MetricLine, TopologyLine};
use crate::board::story::{Person, Story};
use crate::store::ledger::{LedgerFileError, Records};
use crate::store::status::{self, NodeStatus, PEERS_FILE, PeerStatus, STATUS_FILE};

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The story of all nodes in it.
    pub story: Story,
    /// Last word of each node, in the order of their names.
    pub nodes: Vec<NodeStatus>,
}

/// Tells the story of a directory: of one node, or of all nodes under `nodes/`.
///
/// # Errors
/// When the directory cannot be read, or holds no records.
pub fn tell(dir: &Path) -> io::Result<Told> {
    let mut homes = homes(dir)?;
    homes.sort();
    homes.truncate(NODES_MAX);
    let mut told = Told::default();
    let mut keys = BTreeMap::new();
    for home in &homes {
        let status = status::read::<NodeStatus>(&home.join(STATUS_FILE)).map(|s| s.value).unwrap_or_default();
        let key = if status.peer_id.is_empty() {
            home.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        } else {
            status.peer_id.clone()
        };
        keys.insert(home.clone(), key.clone());
        told.story.introduce(&key, Person::from(&status));
        for peer in
            status::read::<Vec<PeerStatus>>(&home.join(PEERS_FILE)).map(|p| p.value).unwrap_or_default()
        {
            let known = told.story.people().get(&peer.peer_id);
            if known.is_none_or(|known| known.name.is_empty()) {
                told.story.introduce(&peer.peer_id, Person::from(&peer));
            }
        }
        told.nodes.push(status);
    }
    // Happenings of several nodes are told in the order of time.
    let mut events: Vec<(String, EventLine)> = Vec::new();
    for home in &homes {
        let key = &keys[home];
        events.extend(lines::<EventLine>(&home.join("events.jsonl"))?.into_iter().map(|l| (key.clone(), l)));
        for line in lines::<MetricLine>(&home.join("metrics.jsonl"))? {
            told.story.metric(key, &line);
        }
        if let Some(line) = lines::<TopologyLine>(&home.join("topology.jsonl"))?.pop() {
            told.story.topology(&line);
        }
    }
    events.sort_by(|a, b| a.1.t.total_cmp(&b.1.t));
    for (key, line) in &events {
        told.story.event(key, line);
    }
    if let [home] = &homes[..] {
        ledger(home, &mut told.story)?;
    }
    Ok(told)
}

/// The folders with records.
pub fn homes(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let has_records = |path: &Path| path.join("events.jsonl").is_file() && path.join(STATUS_FILE).is_file();
    if has_records(dir) {
        return Ok(vec![dir.to_path_buf()]);
    }
    let nodes = dir.join("nodes");
    let inside = if nodes.is_dir() { nodes } else { dir.to_path_buf() };
    let mut homes = Vec::new();
    for entry in fs::read_dir(&inside)? {
        let path = entry?.path();
        if has_records(&path) {
            homes.push(path);
        }
    }
    if homes.is_empty() {
        let why = "expected status.json and events.jsonl of a node, or a folder nodes/ with some, found none";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(homes)
}

/// The lines at the end of a file that parse; none where there is no file.
fn lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(RECORDS_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::new(io::Read::take(file, RECORDS_BYTES_MAX));
    let mut found = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        found.extend(serde_json::from_slice(&line).ok());
        line.clear();
    }
    Ok(found)
}

/// The newest records of the node's newest ledger.
fn ledger(home: &Path, story: &mut Story) -> io::Result<()> {
    let mut newest: Option<(std::time::SystemTime, PathBuf)> = None;
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        let is_ledger =
            entry.file_name().to_string_lossy().starts_with("ledger-") && entry.path().extension().is_none();
        if is_ledger && entry.file_type()?.is_file() {
            let changed = entry.metadata()?.modified()?;
            if newest.as_ref().is_none_or(|(t, _)| changed > *t) {
                newest = Some((changed, entry.path()));
            }
        }
    }
    let Some((_, path)) = newest else { return Ok(()) };
    let tail = ledger_tail(&path).map_err(io::Error::other)?;
    tail.into_iter().for_each(|line| story.ledger(line));
    Ok(())
}

/// The newest records of a ledger file, oldest first. The chain is not checked here; `starling run` does before it
/// goes on.
pub fn ledger_tail(path: &Path) -> Result<Vec<LedgerLine>, LedgerFileError> {
    let mut tail = std::collections::VecDeque::new();
    for bytes in Records::of_file(path)? {
        if tail.len() == LEDGER_TAIL {
            tail.pop_front();
        }
        tail.extend(ledger_line(&bytes?));
    }
    Ok(tail.into())
}

/// A sealed entry of a ledger in words; `None` for one this version does not know.
pub fn ledger_line(bytes: &[u8]) -> Option<LedgerLine> {
    let sealed: Sealed = decode_control(bytes).ok()?;
    let entry: Entry = decode_control(&sealed.body).ok()?;
    let record = serde_json::to_value(&entry.record).ok()?;
    Some(LedgerLine { index: entry.index, hash: content_hash(bytes).to_string(), record })
}

#[cfg(test)]
mod tests {
    use protocol::crypto::keys::Keypair;
    use protocol::id::{Hash, OuterStep};
    use protocol::ledger::chain::Head;
    use protocol::ledger::record::Record;

    use super::*;
    use crate::store::ledger::{Durable, LedgerFile};

    #[test]
    fn the_records_of_two_nodes_tell_one_story_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        for (name, id, other, t) in [("ada", "aa", "bb", 2.0), ("ben", "bb", "aa", 1.0)] {
            let home = dir.path().join("nodes").join(name);
            fs::create_dir_all(&home).unwrap();
            let status = NodeStatus { name: name.into(), peer_id: id.into(), ..NodeStatus::default() };
            status::write(&home.join(STATUS_FILE), &status).unwrap();
            let line = serde_json::json!({"t":t,"node":name,"event":"pulled","step":1,"peer":other,"staleness":0,"shards":2});
            let mixed = serde_json::json!({"t":t,"node":name,"event":"mixed","step":1,"peers":1});
            fs::write(home.join("events.jsonl"), format!("{line}\nhalf a li\n{mixed}\n{{\"t\":3,")).unwrap();
        }
        let told = tell(dir.path()).unwrap();
        assert_eq!(told.story.pulls().len(), 2);
        let order: Vec<_> = told.story.happenings().iter().map(|h| h.node.as_str()).collect();
        assert_eq!(order, ["bb", "aa"]);
        assert_eq!(told.story.people()["aa"].name, "ada");
        assert!(tell(&dir.path().join("nodes/ada")).unwrap().nodes.len() == 1);
    }

    #[test]
    fn a_directory_without_records_is_told_apart_from_an_empty_story() {
        let dir = tempfile::tempdir().unwrap();
        let error = tell(dir.path()).unwrap_err();
        assert!(error.to_string().contains("status.json"), "{error}");
    }

    #[test]
    fn the_tail_of_a_ledger_holds_its_newest_records_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger-abc");
        let keys = Keypair::from_secret([5; 32]);
        let (mut file, _) = LedgerFile::open(&path, Durable::OnSync).unwrap();
        let mut head = Head::default();
        for step in 1..=100 {
            let record = Record::Published { step: OuterStep(step), manifest: Hash([1; 32]) };
            file.append(&head.append(record, &keys)).unwrap();
        }
        drop(file);
        let tail = ledger_tail(&path).unwrap();
        assert_eq!((tail.len(), tail[LEDGER_TAIL - 1].index), (LEDGER_TAIL, 99));
        assert_eq!(tail[0].record["record"], "published");
        assert_eq!(tail[LEDGER_TAIL - 1].hash, head.hash.to_string());
    }
}
