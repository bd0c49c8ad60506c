//! A real process that saves without pause is killed with SIGKILL again and again; whatever it was told is safe must be
//! there afterwards. `STARLING_KILL_ROUNDS` sets the number of rounds (30 unless told; 1000 for a long run).

#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use protocol::id::{Hash, RunId};
use starling_node::store::ledger::{Durable, LedgerFile};
use starling_node::store::lines::Lines;
use starling_node::store::lock::DirLock;
use starling_node::store::sequence::Sequence;
use starling_node::store::state::{Blob, Content, Generation, StateStore};

const DIR: &str = "STARLING_KILL_CHILD_DIR";
const CHILD: &str = "the_child_saves_until_it_is_killed";
const RUN: RunId = RunId(Hash([3; 32]));
/// Numbers in a saved vector: large enough that most kills fall into the writing.
const LENGTH: usize = 200_000;

fn parameters(n: u64) -> Vec<f32> {
    (0..LENGTH).map(|i| (n * 31 + i as u64 % 1_000) as f32).collect()
}

/// What a generation says its number of commits is, once all its files agree on it.
fn check(generation: &Generation) -> u64 {
    let text = String::from_utf8(generation.read("state.bin").unwrap()).unwrap();
    let n: u64 = text.parse().unwrap();
    assert_eq!(
        generation.read_floats("parameters.bin").unwrap(),
        parameters(n),
        "files of different commits are mixed"
    );
    n
}

/// Not a test of its own: the body of the process that [`a_node_killed_at_any_moment_keeps_what_it_was_told_is_safe`] kills.
#[test]
fn the_child_saves_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let dir = Path::new(&dir);
    let _lock = DirLock::acquire(dir).expect("the lock of a killed process is free");
    let mut store = StateStore::open(&dir.join("state"), RUN).unwrap();
    let mut n = store.latest().unwrap().map_or(0, |generation| check(&generation));
    let (mut ledger, _) = LedgerFile::open(&dir.join("ledger"), Durable::EveryRecord).unwrap();
    let mut lines = Lines::open(&dir.join("events.jsonl")).unwrap();
    let mut sequence = Sequence::open(dir, None).unwrap();
    let mut out = std::io::stdout();
    loop {
        let start = std::time::Instant::now();
        let number = sequence.take().unwrap();
        writeln!(out, "used {number}").unwrap();
        let position = ledger.append(format!("record {}", ledger.records()).as_bytes()).unwrap();
        writeln!(out, "recorded {position}").unwrap();
        n += 1;
        lines.put(&n);
        let (state, parameters) = (n.to_string(), parameters(n));
        let blobs = [
            Blob { name: "parameters.bin", content: Content::Floats(&parameters) },
            Blob { name: "state.bin", content: Content::Bytes(state.as_bytes()) },
        ];
        store.commit(&blobs).unwrap();
        writeln!(out, "took {}\nsaved {n}", start.elapsed().as_micros()).unwrap();
    }
}

#[test]
fn a_node_killed_at_any_moment_keeps_what_it_was_told_is_safe() {
    let rounds: u64 = std::env::var("STARLING_KILL_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(30);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut saved, mut recorded, mut used) = (0, None, None);
    let mut noise = 7u64;
    let (mut ahead, mut between) = (0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        // The first commit shows that the child works; the kill then falls anywhere into the next ones.
        let mut heard = Vec::new();
        for line in said.by_ref().map_while(Result::ok) {
            let is_saved = line.contains("saved ");
            heard.push(line);
            if is_saved {
                break;
            }
        }
        assert!(!heard.is_empty(), "round {round}: the child died by itself");
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Anywhere into the next commit, whatever the speed of this disk, or a little behind it.
        let took: u64 =
            heard.iter().find_map(|l| l.split_once("took ")?.1.parse().ok()).expect("the child tells");
        std::thread::sleep(Duration::from_micros((noise >> 33) % (took + took / 4)));
        child.kill().unwrap();
        heard.extend(said.map_while(Result::ok));
        child.wait().unwrap();
        for line in &heard {
            let number = |word: &str| line.split_once(word).and_then(|(_, n)| n.parse::<u64>().ok());
            saved = number("saved ").unwrap_or(saved);
            recorded = number("recorded ").or(recorded);
            if let Some(n) = number("used ") {
                assert!(used.is_none_or(|last| n > last), "round {round}: {n} was used again");
                used = Some(n);
            }
        }
        let mut store = StateStore::open(&dir.join("state"), RUN).unwrap();
        let found = check(&store.latest().unwrap().expect("a generation is there"));
        assert!(found == saved || found == saved + 1, "round {round}: told {saved}, found {found}");
        ahead += u64::from(found > saved);
        between += u64::from(found == saved && heard.last().is_some_and(|line| line.contains("recorded ")));
        saved = found;
        let damaged = std::fs::read_dir(dir.join("state")).unwrap();
        assert!(
            damaged.flatten().all(|e| !e.file_name().to_string_lossy().starts_with("damaged")),
            "round {round}"
        );
        let (ledger, _) = LedgerFile::open(&dir.join("ledger"), Durable::OnSync).unwrap();
        let records: Vec<_> =
            ledger.read().unwrap().map(|r| String::from_utf8(r.unwrap()).unwrap()).collect();
        assert!(
            records.len() as u64 > recorded.expect("a record was made"),
            "round {round}: a record is lost"
        );
        assert!(records.iter().enumerate().all(|(i, r)| *r == format!("record {i}")), "round {round}");
    }
    let text = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    let whole = text.lines().filter(|l| l.parse::<u64>().is_ok()).count() as u64;
    assert!(whole >= saved, "{whole} of {saved} lines are whole");
    eprintln!(
        "{rounds} kills, {saved} generations saved; {between} kills fell into the writing of one, {ahead} between its completion and its acknowledgement"
    );
}
