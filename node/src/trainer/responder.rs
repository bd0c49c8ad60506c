//! The responder: a thread of its own that answers members' queries with the newest agreed model while the trainer trains.
//!
//! It holds a second copy of the parameters, without gradient and optimizer, so that no query waits for a lesson and no
//! lesson for a query. It decides nothing: who may ask, and how much, was decided before a query reaches it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use model::data::tokenize::tokenizer::Tokenizer;
use model::session::Session;
use protocol::id::{InboundId, OuterStep};
use protocol::peer::input::Predicted;
use protocol::wire::prediction::Query;

use crate::trainer::learner::LearnerError;
use crate::trainer::translate::{TranslateError, unlabelled};

/// Queries that wait; more are told to come again, so that an answer is never older than a few seconds.
const WAITING_MAX: usize = 32;

/// A model ready to be asked.
pub struct Answering {
    /// The model; its parameters are replaced by the newest before an answer.
    pub session: Session,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Whether an output is a word.
    pub is_tagging: bool,
    /// Longest row in tokens.
    pub tokens_max: usize,
}

/// What became of a query.
#[derive(Debug)]
pub enum Answered {
    /// The model said this.
    Said(Predicted),
    /// There is no model yet that has mixed with anybody's, or it could not answer.
    Nothing(InboundId),
}

/// Where the trainer leaves the newest parameters; older ones that nobody asked for are dropped.
#[derive(Clone, Debug, Default)]
pub struct Newest(Arc<Mutex<Option<Stepped>>>);

/// Numbers that belong to an outer step: parameters, or what they say.
type Stepped = (OuterStep, Vec<f32>);

impl Newest {
    /// Leaves the parameters of an outer step.
    pub fn put(&self, step: OuterStep, parameters: Vec<f32>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, parameters));
    }

    fn take(&self) -> Option<Stepped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The handle of the thread.
pub struct Responder {
    queries: Option<SyncSender<(InboundId, Query)>>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Starts the thread; `report` is called on it for every query.
    pub fn start(
        answering: Answering,
        newest: Newest,
        report: impl FnMut(Answered) + Send + 'static,
    ) -> Result<Self, LearnerError> {
        let (queries, asked) = sync_channel(WAITING_MAX);
        let worker = Worker { answering, newest, step: None };
        let thread = std::thread::Builder::new()
            .name("responder".to_owned())
            .spawn(move || worker.run(&asked, report))
            .map_err(|e| LearnerError {
                what: "start the responder thread",
                why: format!(
                    "{e}; free memory, raise the limit of threads, or set node.answer_queries = false"
                ),
            })?;
        Ok(Self { queries: Some(queries), thread: Some(thread) })
    }

    /// Hands a query over; false when too many wait.
    pub fn ask(&self, inbound: InboundId, query: Query) -> bool {
        match self.queries.as_ref().map(|queries| queries.try_send((inbound, query))) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.queries = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Worker {
    answering: Answering,
    newest: Newest,
    /// The outer step of the parameters in the session; none while they are genesis.
    step: Option<OuterStep>,
}

impl Worker {
    fn run(mut self, asked: &Receiver<(InboundId, Query)>, mut report: impl FnMut(Answered)) {
        while let Ok((inbound, query)) = asked.recv() {
            let said = self.answer(&query).unwrap_or_else(|error| {
                tracing::warn!(%error, "a query could not be answered");
                None
            });
            report(match said {
                Some((step, probabilities)) => {
                    Answered::Said(Predicted { inbound, query: query.hash(), step, probabilities })
                }
                None => Answered::Nothing(inbound),
            });
        }
    }

    /// The outer step of the model and its probabilities; nothing while it is genesis.
    fn answer(&mut self, query: &Query) -> Result<Option<Stepped>, TranslateError> {
        if let Some((step, parameters)) = self.newest.take() {
            self.answering.session.write(&parameters)?;
            self.step = Some(step);
        }
        let Some(step) = self.step else { return Ok(None) };
        let Answering { session, tokenizer, is_tagging, tokens_max } = &mut self.answering;
        let rows = unlabelled(&query.rows, *is_tagging, tokenizer, *tokens_max)?;
        Ok(Some((step, rows.probabilities(session)?)))
    }
}
