//! Bytes that once were interesting to a fuzzer, and golden bytes with damage, through every opening.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::rng::Seed;
use starling_tests::hostile::TARGETS;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn golden() -> Vec<Vec<u8>> {
    let read = |path: &PathBuf| {
        let hex = fs::read_to_string(path).expect("golden bytes can be read");
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).expect("digits are ASCII");
            u8::from_str_radix(text, 16).expect("golden bytes are hexadecimal")
        };
        digits.chunks_exact(2).map(pair).collect()
    };
    files(&here("golden")).iter().map(read).collect()
}

#[test]
fn what_fuzzers_found_is_opened_without_harm() {
    let mut count = 0;
    for (name, target) in TARGETS {
        let kept = files(&here("fuzz/corpus").join(name));
        assert!(!kept.is_empty(), "the corpus of {name} is there");
        for path in kept {
            target(&fs::read(&path).expect("a kept file can be read"));
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn golden_bytes_with_damage_are_opened_without_harm() {
    let mut rng = Seed::from_u64(5).rng();
    let golden = golden();
    assert!(golden.len() >= 15, "{}", golden.len());
    for bytes in &golden {
        for (_, target) in TARGETS {
            target(bytes);
        }
        for _ in 0..40 {
            let mut damaged = bytes.clone();
            for _ in 0..=rng.below(4) {
                match rng.below(4) {
                    0 => damaged.truncate(rng.below(damaged.len() as u64 + 1) as usize),
                    1 if !damaged.is_empty() => {
                        let at = rng.below(damaged.len() as u64) as usize;
                        damaged[at] = rng.below(256) as u8;
                    }
                    2 => damaged.insert(rng.below(damaged.len() as u64 + 1) as usize, rng.below(256) as u8),
                    _ => damaged.extend([0xff; 9]),
                }
            }
            for (_, target) in TARGETS {
                target(&damaged);
            }
        }
    }
}
