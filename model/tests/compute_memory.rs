//! Memory: training does not grow, and a hostile checkpoint gets none.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use model::arch::config::{ArchConfig, EncoderConfig, Head};
use model::data::batch::{Batch, Inputs, Targets};
use model::device::DeviceChoice;
use model::params::checkpoint::Checkpoint;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};

/// The system's allocator with a count of live and highest bytes.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters do not touch memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        HIGHEST.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn batch(number: u32) -> Batch {
    let (rows, width) = (8, 24);
    let lengths: Vec<u32> = (0..8).map(|row| 24 - (row + number) % 8).collect();
    let tags =
        (0..8 * 24).map(|k| if k % 24 < lengths[k as usize / 24] { (k % 5) as i32 } else { -100 }).collect();
    Batch {
        rows,
        width,
        inputs: Inputs::Tokens { ids: (0..8 * 24).map(|k| (k * 13 + number) % 500).collect(), lengths },
        targets: Targets::Tags(tags),
        samples: 8,
    }
}

/// One test, because the counters belong to the whole process.
#[test]
fn steady_training_allocates_nothing_lasting_and_a_lying_header_nothing_at_all() {
    let arch = ArchConfig::Encoder(EncoderConfig::small(500));
    let head = Head::Tagging { labels: 5 };
    let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
    // The state of a thread pool is made as its threads wake up: one thread keeps the count exact.
    session.configure(TrainingConfig { threads: 1, ..TrainingConfig::default() }).unwrap();
    let batches: Vec<Batch> = (0..8).map(batch).collect();
    for batch in &batches {
        session.train_step(batch, 1e-3).unwrap();
    }
    let before = LIVE.load(Ordering::Relaxed);
    HIGHEST.store(before, Ordering::Relaxed);
    for number in 0..40 {
        session.train_step(&batches[number % 8], 1e-3).unwrap();
    }
    let (after, highest) = (LIVE.load(Ordering::Relaxed), HIGHEST.load(Ordering::Relaxed));
    // The pool's queue of calls may take another block now and then; a leaked activation would be 786 kB a step.
    assert!(after <= before + (64 << 10), "40 steps left {} bytes behind", after - before);
    assert!(highest <= before + (4 << 20), "a step takes {} bytes for a moment", highest - before);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for length in [u64::MAX, 1 << 40, 100 << 20] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"{}");
        std::fs::write(&path, &bytes).unwrap();
        let before = LIVE.load(Ordering::Relaxed);
        HIGHEST.store(before, Ordering::Relaxed);
        assert!(Checkpoint::open(&path).is_err());
        let taken = HIGHEST.load(Ordering::Relaxed) - before;
        assert!(taken < 64 << 10, "a header said to be {length} bytes long took {taken}");
    }
}
