//! Tests of the commit protocol: every cut, every changed byte, every failing operation, power loss at every operation.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::id::{Hash, RunId};

use crate::store::faulty::{Fault, FaultyDisk};
use crate::store::manifest::MANIFEST;
use crate::store::power::PowerDisk;
use crate::store::scratch::folder;
use crate::store::state::{Blob, Content, GENERATIONS_KEPT, Note, StateError, StateStore};

const RUN: RunId = RunId(Hash([1; 32]));
const OTHER: RunId = RunId(Hash([2; 32]));

fn state(n: u64) -> Vec<u8> {
    format!("state of generation {n}").into_bytes()
}

fn parameters(n: u64) -> Vec<f32> {
    (0..9).map(|i| n as f32 + i as f32 / 8.0).collect()
}

fn commit(store: &mut StateStore, n: u64) -> Result<u64, StateError> {
    let (state, parameters) = (state(n), parameters(n));
    store.commit(&[
        Blob { name: "state.bin", content: Content::Bytes(&state) },
        Blob { name: "parameters.bin", content: Content::Floats(&parameters) },
    ])
}

/// A store with generations 1 to `n`.
fn with(n: u64) -> (tempfile::TempDir, PathBuf) {
    let root = folder();
    let dir = root.path().join("state");
    let mut store = StateStore::open(&dir, RUN).unwrap();
    assert_eq!(store.latest().unwrap().map(|g| g.number()), None);
    for k in 1..=n {
        assert_eq!(commit(&mut store, k).unwrap(), k);
    }
    assert_eq!(store.take_notes(), []);
    (root, dir)
}

/// Number of the newest good generation, with its contents checked, and the notes.
fn latest(dir: &Path) -> (Option<u64>, Vec<Note>) {
    let mut store = StateStore::open(dir, RUN).unwrap();
    let found = store.latest().unwrap().map(|generation| {
        let n = generation.number();
        assert_eq!(generation.read("state.bin").unwrap(), state(n));
        assert_eq!(generation.read_floats("parameters.bin").unwrap(), parameters(n));
        n
    });
    (found, store.take_notes())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file under a folder with its bytes.
fn all_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut all_files(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn the_newest_generation_is_found_again_and_two_are_kept() {
    let (_root, dir) = with(5);
    assert_eq!(latest(&dir), (Some(5), vec![]));
    let folders = fs::read_dir(&dir).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, GENERATIONS_KEPT);
    let mut store = StateStore::open(&dir, RUN).unwrap();
    assert_eq!(commit(&mut store, 6).unwrap(), 6);
    let generation = store.latest().unwrap().unwrap();
    assert_eq!(generation.names().collect::<Vec<_>>(), ["parameters.bin", "state.bin"]);
    assert_eq!(generation.bytes("parameters.bin"), Some(36));
    assert!(matches!(generation.read("optimizer.bin"), Err(StateError::Absent { .. })));
    assert!(matches!(generation.read_floats("state.bin"), Ok(_) | Err(StateError::Damaged { .. })));
}

#[test]
fn a_newer_account_of_the_same_state_does_not_push_out_the_way_back() {
    let (_root, dir) = with(5);
    let mut store = StateStore::open(&dir, RUN).unwrap();
    let state = state(5);
    let blobs = [Blob { name: "state.bin", content: Content::Bytes(&state) }];
    assert_eq!(store.commit_over(5, &blobs).unwrap(), 6);
    assert_eq!(store.commit_over(6, &blobs).unwrap(), 7);
    let (set_aside, older) = store.roll_back().unwrap();
    assert_eq!((set_aside, older.number()), (7, 4));
    assert_eq!(latest(&dir).0, Some(4));
    assert!(matches!(store.roll_back(), Err(StateError::NothingBefore)));
}

#[test]
fn bad_names_are_refused_before_anything_is_written() {
    let (_root, dir) = with(1);
    let mut store = StateStore::open(&dir, RUN).unwrap();
    for name in ["../x", "", "MANIFEST", "a b", ".x"] {
        let error = store.commit(&[Blob { name, content: Content::Bytes(b"x") }]).unwrap_err();
        assert!(matches!(error, StateError::Name(_)), "{name}");
    }
    let twice = Blob { name: "a", content: Content::Bytes(b"x") };
    assert!(matches!(store.commit(&[twice, twice]), Err(StateError::Name(_))));
    assert_eq!(latest(&dir).0, Some(1));
}

/// Row B10 158: any file of the newest generation cut at every length, any byte changed, any file missing.
#[test]
fn a_generation_damaged_anywhere_is_moved_aside_whole_and_the_one_before_it_is_used() {
    let (root, dir) = with(2);
    let work = root.path().join("work");
    let mut damages = 0;
    let mut check = |name: &str, bytes: Option<&[u8]>| {
        drop(fs::remove_dir_all(&work));
        copy(&dir, &work);
        let path = work.join("gen-2").join(name);
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let damaged = all_files(&work.join("gen-2"));
        let (found, notes) = latest(&work);
        assert_eq!(found, Some(1), "{name}");
        let Some(Note::Damaged { generation: 2, moved_to: Some(to), .. }) = notes.first() else {
            panic!("{name}: {notes:?}")
        };
        let kept: Vec<_> = all_files(to).into_values().collect();
        assert_eq!(kept, damaged.into_values().collect::<Vec<_>>(), "the evidence is kept as it was");
        if damages % 50 == 0 {
            // The next one gets a number of its own, and the good old one stays beside it.
            let mut store = StateStore::open(&work, RUN).unwrap();
            assert_eq!(commit(&mut store, 3).unwrap(), 3);
            assert!(work.join("gen-1").is_dir() && to.is_dir());
        }
        damages += 1;
    };
    for name in [MANIFEST, "state.bin", "parameters.bin"] {
        let good = fs::read(dir.join("gen-2").join(name)).unwrap();
        check(name, None);
        for length in 0..good.len() {
            check(name, Some(&good[..length]));
        }
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            check(name, Some(&changed));
        }
        let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
        check(name, Some(&longer));
    }
    assert!(damages > 500, "{damages}");
}

#[test]
fn files_of_two_generations_mixed_are_noticed() {
    let (_root, dir) = with(2);
    fs::copy(dir.join("gen-1/parameters.bin"), dir.join("gen-2/parameters.bin")).unwrap();
    let (found, notes) = latest(&dir);
    assert_eq!(found, Some(1));
    assert!(notes[0].to_string().contains("parameters.bin"), "{}", notes[0]);

    let (_root, dir) = with(2);
    fs::remove_dir_all(dir.join("gen-2")).unwrap();
    copy(&dir.join("gen-1"), &dir.join("gen-2"));
    let (found, notes) = latest(&dir);
    assert_eq!(found, Some(1));
    assert!(notes[0].to_string().contains("expected generation 2, found 1"), "{}", notes[0]);
}

#[test]
fn generations_of_another_run_are_left_alone_and_never_counted() {
    let (_root, dir) = with(2);
    let mut store = StateStore::open(&dir, OTHER).unwrap();
    assert!(store.latest().unwrap().is_none());
    assert!(store.take_notes().contains(&Note::OtherRun { generation: 2, run: RUN }));
    for k in 3..8 {
        assert_eq!(commit(&mut store, k).unwrap(), k);
    }
    assert!(dir.join("gen-1").is_dir() && dir.join("gen-2").is_dir() && !dir.join("gen-5").exists());
    let (found, notes) = latest(&dir);
    assert_eq!(found, Some(2));
    assert!(notes.contains(&Note::OtherRun { generation: 7, run: OTHER }), "{notes:?}");
}

#[test]
fn a_missing_or_damaged_current_does_not_lose_a_good_generation() {
    let (_root, dir) = with(2);
    let good = fs::read(dir.join("CURRENT")).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x20;
        fs::write(dir.join("CURRENT"), &changed).unwrap();
        let (found, notes) = latest(&dir);
        assert_eq!(found, Some(2));
        assert!(matches!(notes[..], [Note::Current { used: Some(2), .. }]), "{notes:?}");
    }
    fs::remove_file(dir.join("CURRENT")).unwrap();
    assert_eq!(latest(&dir).0, Some(2));
    fs::write(dir.join("CURRENT"), &good).unwrap();
    fs::remove_dir_all(dir.join("gen-2")).unwrap();
    let (found, notes) = latest(&dir);
    assert_eq!(found, Some(1));
    assert!(matches!(notes[..], [Note::Current { used: Some(1), .. }]), "{notes:?}");
    let mut store = StateStore::open(&dir, RUN).unwrap();
    assert_eq!(commit(&mut store, 3).unwrap(), 3, "the number of a lost generation is not used again");
}

#[test]
fn what_a_crash_left_half_written_is_removed() {
    let (_root, dir) = with(2);
    fs::create_dir(dir.join("gen-9.tmp")).unwrap();
    fs::write(dir.join("gen-9.tmp/state.bin"), b"half").unwrap();
    fs::write(dir.join("CURRENT.tmp"), b"half").unwrap();
    assert_eq!(latest(&dir), (Some(2), vec![]));
    assert!(!dir.join("gen-9.tmp").exists() && !dir.join("CURRENT.tmp").exists());
}

#[test]
fn nothing_good_at_all_is_said_and_nothing_is_deleted() {
    let (_root, dir) = with(2);
    for generation in ["gen-1", "gen-2"] {
        fs::write(dir.join(generation).join("state.bin"), b"").unwrap();
    }
    let (found, notes) = latest(&dir);
    assert_eq!(found, None);
    assert_eq!(notes.iter().filter(|n| matches!(n, Note::Damaged { .. })).count(), 2);
    assert!(matches!(notes.last(), Some(Note::Current { used: None, .. })));
    assert!(dir.join("damaged-1").is_dir() && dir.join("damaged-2").is_dir());
}

/// Rows B10 158 and 161: the disk fails at every operation in turn, in five ways.
#[test]
fn a_disk_failing_at_any_operation_never_costs_an_acknowledged_generation() {
    let (root, dir) = with(2);
    let work = root.path().join("work");
    let mut failures = 0;
    for fault in Fault::ALL {
        for nth in 0.. {
            drop(fs::remove_dir_all(&work));
            copy(&dir, &work);
            let disk = FaultyDisk::new(nth, fault);
            let mut acknowledged = 2;
            if let Ok(mut store) = StateStore::open_on(Arc::new(disk.clone()), &work, RUN) {
                // What is read under a fault may be an older generation, never a mixed one.
                if let Ok(Some(found)) = store.latest() {
                    assert!(found.number() <= 2);
                }
                for _ in 0..2 {
                    let number = store.next_number();
                    if let Ok(done) = commit(&mut store, number) {
                        acknowledged = done;
                    }
                }
            }
            let (found, notes) = latest(&work);
            let found = found.expect("a generation survives");
            assert!(found >= acknowledged, "{fault:?} at {nth}: {found} < {acknowledged}");
            assert!(
                !notes.iter().any(|n| matches!(n, Note::Damaged { .. })),
                "{fault:?} at {nth}: {notes:?}"
            );
            if !disk.has_struck() {
                assert_eq!(acknowledged, 4);
                break;
            }
            failures += 1;
        }
    }
    assert!(failures > 100, "{failures}");
}

/// Power loss after every operation of three commits, with many outcomes of what was not yet synced.
#[test]
fn a_power_loss_at_any_operation_never_costs_an_acknowledged_generation() {
    let mut losses = 0;
    for operations in 1.. {
        let root = folder();
        let disk = PowerDisk::new(root.path(), operations);
        let mut acknowledged = 0;
        if let Ok(mut store) = StateStore::open_on(Arc::new(disk.clone()), &root.path().join("state"), RUN) {
            for n in 1..=3 {
                match commit(&mut store, n) {
                    Ok(done) => acknowledged = done,
                    Err(_) => break,
                }
            }
        }
        for seed in 0..12 {
            let after = folder();
            disk.lose_power(after.path(), seed * 1_000 + operations as u64);
            let (found, _) = latest(&after.path().join("state"));
            assert!(
                found.unwrap_or(0) >= acknowledged,
                "after {operations}, seed {seed}: {found:?} < {acknowledged}"
            );
            losses += 1;
        }
        if !disk.is_dead() {
            assert_eq!(acknowledged, 3);
            break;
        }
    }
    assert!(losses > 400, "{losses}");
}
