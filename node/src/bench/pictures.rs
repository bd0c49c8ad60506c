//! The learner of the common training benchmark: an image classifier, one epoch in file order per outer step.

use std::path::{Path, PathBuf};

use model::data::batch::Batch;
use model::device::DeviceChoice;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::train::benchmark_b::{self, BATCH, IMAGES, Images, RATE, TEST_IMAGES};
use model::train::optimizer::OptimizerConfig;
use protocol::id::OuterStep;

use crate::bench::error::BenchError;
use crate::trainer::learner::{Judged, Learned, Learner, LearnerError, Lesson};

/// Bytes of one image.
const PIXELS: usize = benchmark_b::SIDE * benchmark_b::SIDE;

/// Inner steps of one epoch.
pub fn inner_steps() -> u32 {
    IMAGES.div_ceil(BATCH) as u32
}

/// The classifier with one participant's images and the common test set.
pub struct Pictures {
    session: Session,
    batches: Vec<Batch>,
    next: usize,
    test: Images,
    test_batch: Batch,
}

impl Pictures {
    /// The classifier at the initial parameters all participants share, with images from `data` or generated.
    pub fn new(participant: usize, data: Option<&Path>) -> Result<Self, BenchError> {
        let (own, test, initial) = match data {
            None => (benchmark_b::participant(participant), benchmark_b::test(), benchmark_b::initial()),
            Some(folder) => {
                let own = read_images(folder, &format!("p{participant}"), IMAGES)?;
                (own, read_images(folder, "test", TEST_IMAGES)?, read_initial(folder)?)
            }
        };
        let broken = |e: model::error::Error| BenchError::Model(e.to_string());
        let (arch, head) = (benchmark_b::arch(), benchmark_b::head());
        let mut session =
            Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(0)).map_err(broken)?;
        let config = TrainingConfig { optimizer: OptimizerConfig::plain(), clip_norm: 0.0, threads: 1 };
        session.configure(config).map_err(broken)?;
        session.write(&initial).map_err(broken)?;
        let test_batch = test.batches(TEST_IMAGES).remove(0);
        Ok(Self { session, batches: own.batches(BATCH), next: 0, test, test_batch })
    }
}

fn read(path: PathBuf, bytes: usize) -> Result<Vec<u8>, BenchError> {
    let read =
        std::fs::read(&path).map_err(|source| BenchError::Io { what: "read", path: path.clone(), source })?;
    if read.len() == bytes {
        return Ok(read);
    }
    let (expected, found) =
        (format!("{bytes} bytes as gen_data.py writes them"), format!("{} bytes", read.len()));
    Err(BenchError::File { path, expected, found })
}

fn read_images(folder: &Path, name: &str, count: usize) -> Result<Images, BenchError> {
    let pixels = read(folder.join(format!("{name}_x.u8")), count * PIXELS)?;
    let path = folder.join(format!("{name}_y.u8"));
    let labels = read(path.clone(), count)?;
    match labels.iter().find(|label| usize::from(**label) >= benchmark_b::CLASSES) {
        None => Ok(Images { pixels, labels }),
        Some(label) => {
            let expected = format!("classes below {}", benchmark_b::CLASSES);
            Err(BenchError::File { path, expected, found: label.to_string() })
        }
    }
}

fn read_initial(folder: &Path) -> Result<Vec<f32>, BenchError> {
    let bytes = read(folder.join("init.f32"), 4 * benchmark_b::initial().len())?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn wrong(what: &'static str) -> impl FnOnce(model::error::Error) -> LearnerError {
    move |e| LearnerError { what, why: e.to_string() }
}

impl Learner for Pictures {
    fn parameters(&self) -> usize {
        self.session.parameter_count()
    }

    fn read(&self, out: &mut [f32]) {
        self.session.read(out).expect("the trainer's buffers have the model's length");
    }

    /// Nobody asks a benchmark.
    fn model(&self) -> Option<Vec<f32>> {
        None
    }

    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
        self.session.write(flat).map_err(wrong("take over mixed parameters"))
    }

    fn train(&mut self, lesson: Lesson, is_stopped: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
        let mut learned = Learned::default();
        for _ in 0..lesson.steps {
            if is_stopped() {
                break;
            }
            let report = self.session.train_step(&self.batches[self.next], RATE).map_err(wrong("train"))?;
            self.next = (self.next + 1) % self.batches.len();
            learned.steps += 1;
            if report.dropped {
                learned.dropped += 1;
            } else {
                learned.samples += u64::from(report.samples);
                learned.loss += report.loss;
            }
        }
        learned.loss /= f64::from((learned.steps - learned.dropped).max(1));
        Ok(learned)
    }

    fn evaluate(&mut self) -> Result<Judged, LearnerError> {
        let logits = self.session.logits(&self.test_batch).map_err(wrong("evaluate"))?;
        let loss = self.session.evaluate_loss(&self.test_batch).map_err(wrong("evaluate"))?.loss;
        let samples = self.test.labels.len() as u64;
        Ok(Judged { metric: "accuracy".to_owned(), score: self.test.accuracy(&logits), loss, samples })
    }

    /// The benchmark keeps no model.
    fn export(&self, _: &Path, _: OuterStep) -> Result<(), LearnerError> {
        Ok(())
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    fn restore(&mut self, _: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
        Ok(())
    }
}
