//! Writing what must last, and pausing while there is no room for it.

use std::time::Instant;

use protocol::id::OuterStep;
use protocol::peer::output::TrainOrder;

use crate::runtime::checkpoint::{self, RestoreError};
use crate::runtime::driver::{Committed, Driver, DriverError};
use crate::store::room::Space;
use crate::trainer::job::{Checkpoint, Job};

impl Driver {
    /// Has an outer step trained, once there is room for what comes of it.
    pub(super) fn train(&mut self, order: TrainOrder) {
        self.storage.hold(order);
        if self.storage.is_due(Instant::now()) {
            self.look_at_disk();
        }
        self.go_on();
    }

    /// Looks at the disk now and then, and tries again what did not fit.
    pub(super) fn tend_disk(&mut self) {
        if !self.storage.is_due(Instant::now()) {
            return;
        }
        self.look_at_disk();
        self.write_waiting();
        if let Some(step) = self.storage.take_reservation() {
            self.reserve(step);
        }
        if self.storage.is_unsaved() && self.storage.is_holding() {
            self.checkpointed = None;
            self.commit();
        }
        self.go_on();
    }

    /// Writes the records that waited for room, as far as there is some.
    pub(super) fn write_waiting(&mut self) {
        let ledger = &mut self.ledger;
        if let Err(error) = self.storage.write_waiting(|record| ledger.append(record).map(drop))
            && !error.is_scarce()
        {
            self.fault = Some(DriverError::Disk(error.to_string()));
        }
    }

    fn look_at_disk(&mut self) {
        match Space::look(&self.dir) {
            Ok(space) => self.storage.looked(space, Instant::now()),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "could not look at the node's directory");
                self.storage.looked(self.storage.space(), Instant::now());
            }
        }
    }

    /// Gives the order to train that was held back, when there is room; tells when that changed.
    fn go_on(&mut self) {
        match self.storage.turned() {
            Some(Some(why)) => {
                tracing::warn!(%why, "no room on the disk: the node pauses after what is under way");
                self.notes.room(Some(&why));
            }
            Some(None) => {
                tracing::info!("there is room on the disk again: the node goes on");
                self.notes.hold(false);
                self.notes.room(None);
            }
            None => {}
        }
        self.notes.hold(self.storage.is_over());
        if self.storage.is_over()
            && let Some(recorder) = self.recorder.take()
        {
            tracing::warn!("no room on the disk: the journal ends here");
            recorder.end();
        }
        if let Some(order) = self.storage.release() {
            self.notes.figures.time.ordered(Instant::now());
            self.order(Job::Train(order));
        } else if self.storage.is_holding() {
            self.notes.figures.time.interrupted();
        }
    }

    /// Adds a record to the ledger; one for which there is no room waits.
    pub(super) fn append(&mut self, record: Vec<u8>) {
        self.notes.ledger(&record);
        let mut why = "a record before it waits".to_owned();
        if !self.storage.must_wait() {
            match self.ledger.append(&record) {
                Ok(_) => return,
                Err(error) if error.is_scarce() => why = error.to_string(),
                Err(error) => {
                    self.fault = Some(DriverError::Disk(error.to_string()));
                    return;
                }
            }
        }
        tracing::warn!(%why, "a record of the ledger waits");
        if !self.storage.keep(record, why) {
            self.fault = Some(DriverError::Disk("too many records of the ledger wait for room".to_owned()));
        }
    }

    pub(super) fn reserve(&mut self, step: OuterStep) {
        let (path, done) = (self.reservation.clone(), self.reserve_done.clone());
        tokio::task::spawn_blocking(move || {
            let result = path.raise(step).map(|()| step).map_err(|error| (step, error));
            // The driver may have ended meanwhile; then nobody needs the word.
            let _ = done.send(result);
        });
    }

    /// A reservation could not be made durable: nothing of its step is signed before it is.
    pub(super) fn unreserved(&mut self, step: OuterStep, error: &RestoreError) {
        if error.is_scarce() {
            tracing::warn!(%error, "the reservation waits, and the step's update with it");
            self.storage.keep_reservation(step, error.to_string());
        } else {
            self.fault = Some(DriverError::Disk(error.to_string()));
        }
    }

    /// Asks the trainer for copies unless a checkpoint is under way or was taken just now.
    pub(super) fn commit(&mut self) {
        let Some(every) = self.checkpoint_every else { return };
        let is_due = self.checkpointed.is_none_or(|last| last.elapsed() >= every);
        if self.is_committing || !is_due {
            return;
        }
        self.is_committing = true;
        self.snapshot = Some(self.peer.snapshot());
        self.order(Job::Checkpoint);
    }

    pub(super) fn write_generation(&mut self, copies: Checkpoint) {
        let Some(snapshot) = self.snapshot.take() else { return };
        self.look_at_disk();
        // A state names the end of the ledger, so nothing of that may wait.
        let waits = self.storage.must_wait().then(|| "records of the ledger wait for room".to_owned());
        if let Some(why) = waits.or_else(|| self.storage.lack_of_state()) {
            tracing::warn!(%why, "no checkpoint: there is no room, the last one stays");
            self.is_committing = false;
            self.checkpointed = Some(Instant::now());
            self.storage.saved(Some(why));
            return;
        }
        if let Err(error) = self.ledger.sync() {
            self.fault = Some(DriverError::Disk(error.to_string()));
            return;
        }
        let Some(mut store) = self.state.take() else { return };
        let done = self.commit_done.clone();
        let newest = self.held;
        tokio::task::spawn_blocking(move || {
            let result = checkpoint::commit(&mut store, newest, &snapshot, &copies);
            // The driver may have ended meanwhile; then nobody needs the word.
            let _ = done.send(Committed { store, result });
        });
    }

    pub(super) fn committed(&mut self, committed: Committed) {
        self.state = Some(committed.store);
        self.is_committing = false;
        self.checkpointed = Some(Instant::now());
        match committed.result {
            Ok(held) => {
                self.held = Some(held);
                self.storage.saved(None);
                tracing::debug!(generation = held.generation, step = %held.step, "checkpoint committed");
            }
            Err(error) => {
                tracing::error!(%error, "no checkpoint: the last one stays");
                self.storage.saved(error.is_scarce().then(|| error.to_string()));
            }
        }
    }
}
