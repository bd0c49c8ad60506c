//! What waits for the disk: when there is no room, the node holds back its next training and what could not be written.
//!
//! It exists so that a full disk pauses a node instead of ending it, and so that it goes on by itself. It deliberately does
//! no writing: it says what is to be tried again, and the driver does it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::id::OuterStep;
use protocol::peer::output::TrainOrder;

use crate::store::room::Space;

/// Time between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Records of the ledger that may wait for room: an outer step makes a handful, and no step begins meanwhile.
const UNWRITTEN_MAX: usize = 4_096;

/// The node's view of its disk, and what waits for room.
#[derive(Debug, Default)]
pub struct Storage {
    /// Most bytes of the node's directory; `None` for no bound.
    bytes_max: Option<u64>,
    /// Parameters of the model.
    parameters: u64,
    /// What the last look found.
    space: Space,
    looked: Option<Instant>,
    /// Why the last checkpoint could not be written.
    unsaved: Option<String>,
    /// Records of the ledger, oldest first, that could not be written.
    unwritten: VecDeque<Vec<u8>>,
    /// An outer step whose reservation could not be written.
    unreserved: Option<OuterStep>,
    /// Why a record or reservation waits.
    why: String,
    /// Training that waits for room.
    held: Option<TrainOrder>,
    /// Whether the last word was that there is no room.
    was_in_trouble: bool,
}

impl Storage {
    /// Of a directory that may take `bytes_max` bytes (`None`: no bound), for a model of so many parameters.
    pub fn new(bytes_max: Option<u64>, parameters: u64) -> Self {
        Self { bytes_max, parameters, ..Self::default() }
    }

    /// Most bytes of the node's directory; `None` for no bound.
    pub fn bytes_max(&self) -> Option<u64> {
        self.bytes_max
    }

    /// Whether it is time to look again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY)
    }

    /// Takes what a look found.
    pub fn looked(&mut self, space: Space, now: Instant) {
        (self.space, self.looked) = (space, Some(now));
    }

    /// What the last look found.
    pub fn space(&self) -> Space {
        self.space
    }

    /// Why the node does not go on; `None` when there is room and nothing waits to be written.
    pub fn trouble(&self) -> Option<String> {
        if let Some(lack) = self.space.lack(self.space.need(self.parameters), self.bytes_max) {
            return Some(lack.to_string());
        }
        if let Some(why) = &self.unsaved {
            return Some(why.clone());
        }
        let waits = !self.unwritten.is_empty() || self.unreserved.is_some();
        waits.then(|| self.why.clone())
    }

    /// What [`Storage::trouble`] says, when that came or went since the last call.
    pub fn turned(&mut self) -> Option<Option<String>> {
        let trouble = self.trouble();
        let was = std::mem::replace(&mut self.was_in_trouble, trouble.is_some());
        (was != trouble.is_some()).then_some(trouble)
    }

    /// Why a state cannot be saved now; `None` when it fits.
    pub fn lack_of_state(&self) -> Option<String> {
        self.space.lack(self.space.state, self.bytes_max).map(|lack| lack.to_string())
    }

    /// Whether the directory takes more than it may, so that not even a line is to be added.
    pub fn is_over(&self) -> bool {
        self.bytes_max.is_some_and(|most| self.space.used > most)
    }

    /// Training was ordered: it is held until [`Storage::release`].
    pub fn hold(&mut self, order: TrainOrder) {
        self.held = Some(order);
    }

    /// Whether training is held.
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The training that may go on now.
    pub fn release(&mut self) -> Option<TrainOrder> {
        if self.trouble().is_some() { None } else { self.held.take() }
    }

    /// Keeps a record that could not be written; false when too many wait.
    pub fn keep(&mut self, record: Vec<u8>, why: String) -> bool {
        let has_room = self.unwritten.len() < UNWRITTEN_MAX;
        if has_room {
            if self.unwritten.is_empty() {
                self.why = why;
            }
            self.unwritten.push_back(record);
        }
        has_room
    }

    /// Whether a record must wait because one before it does.
    pub fn must_wait(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Writes what waits, oldest first, until one does not fit again.
    ///
    /// # Errors
    /// The first error of `write`; that record and those behind it still wait.
    pub fn write_waiting<E>(&mut self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(record) = self.unwritten.front() {
            write(record)?;
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// A reservation could not be written.
    pub fn keep_reservation(&mut self, step: OuterStep, why: String) {
        self.why = why;
        self.unreserved = self.unreserved.max(Some(step));
    }

    /// The reservation to try again.
    pub fn take_reservation(&mut self) -> Option<OuterStep> {
        self.unreserved.take()
    }

    /// A checkpoint was written, or could not be and why.
    pub fn saved(&mut self, unsaved: Option<String>) {
        self.unsaved = unsaved;
    }

    /// Whether the last checkpoint could not be written.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved.is_some()
    }
}

#[cfg(test)]
mod tests {
    use protocol::stage::plan::Plan;
    use protocol::wire::choice::{Codec, Stage};

    use super::*;

    fn order(step: u32) -> TrainOrder {
        let plan = Plan {
            stage: Stage::Train,
            inner_steps: 1,
            inner_start: 0,
            inner_total: 1,
            codec: Codec::Int8,
            evaluates: false,
        };
        TrainOrder { step: OuterStep(step), plan, seconds_max: 0, next: None }
    }

    fn of(bytes_max: u64, used: u64) -> Storage {
        let mut storage = Storage::new(Some(bytes_max), 0);
        storage.looked(Space { used, ..Space::default() }, Instant::now());
        storage
    }

    #[test]
    fn training_waits_for_room_and_goes_on_when_there_is_some() {
        let mut storage = of(100 << 20, 99 << 20);
        storage.hold(order(1));
        assert!(storage.trouble().unwrap().contains("node.disk_max"));
        assert!(storage.turned().flatten().is_some() && storage.turned().is_none(), "told once");
        assert!(storage.release().is_none() && storage.is_holding() && !storage.is_over());
        storage.looked(Space { used: 101 << 20, ..Space::default() }, Instant::now());
        assert!(storage.is_over() && storage.lack_of_state().is_some());
        storage.looked(Space { used: 50 << 20, ..Space::default() }, Instant::now());
        assert_eq!(storage.release().map(|order| order.step), Some(OuterStep(1)));
        assert!(storage.release().is_none() && storage.turned() == Some(None) && storage.turned().is_none());
    }

    #[test]
    fn nothing_goes_on_before_all_that_waits_is_written_in_its_order() {
        let mut storage = of(100 << 20, 0);
        storage.hold(order(1));
        assert!(!storage.must_wait());
        assert!(storage.keep(vec![1], "full".into()) && storage.keep(vec![2], "behind it".into()));
        assert!(storage.must_wait() && storage.trouble().unwrap() == "full");
        storage.keep_reservation(OuterStep(1), "no handles".into());
        assert!(storage.release().is_none());
        let mut written = Vec::new();
        let mut fits = 1;
        let mut write = |record: &[u8]| {
            fits -= 1;
            if fits < 0 {
                return Err("full");
            }
            written.extend(record);
            Ok(())
        };
        assert_eq!(storage.write_waiting(&mut write), Err("full"));
        fits = 9;
        let mut rest = Vec::new();
        let mut write = |record: &[u8]| {
            rest.extend(record);
            Ok::<_, ()>(())
        };
        assert_eq!(storage.write_waiting(&mut write), Ok(()));
        assert_eq!((written, rest, fits), (vec![1], vec![2], 9));
        assert!(storage.release().is_none(), "the reservation still waits");
        assert_eq!(storage.take_reservation(), Some(OuterStep(1)));
        storage.saved(Some("the last checkpoint did not fit".into()));
        assert!(storage.release().is_none() && storage.is_unsaved());
        storage.saved(None);
        assert!(storage.release().is_some());
    }

    #[test]
    fn no_more_records_wait_than_memory_is_meant_for_them() {
        let mut storage = Storage::default();
        let kept = (0..UNWRITTEN_MAX + 10).filter(|_| storage.keep(Vec::new(), String::new())).count();
        assert_eq!(kept, UNWRITTEN_MAX);
    }

    #[test]
    fn the_disk_is_looked_at_now_and_then() {
        let (start, mut storage) = (Instant::now(), Storage::default());
        assert!(storage.is_due(start));
        storage.looked(Space::default(), start);
        assert!(!storage.is_due(start + LOOK_EVERY / 2) && storage.is_due(start + LOOK_EVERY));
    }
}
