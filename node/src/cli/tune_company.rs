//! The other members of a search for settings, told and heard through this machine's running node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::seed::Seed;
use protocol::id::{Hash, PeerId};
use protocol::wire::charter::TrainTerms;
use protocol::wire::trials::{TrialMade, Trials};

use crate::cli::output::{CliError, ExitCode};
use crate::runtime::local::{Door, SOCKET, Said as Word, Searcher, Wish};
use crate::trainer::search::{Plan, Trial};
use crate::trainer::search_together::{Next, Said, Together};

/// How often members are asked for while there is nothing to try.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What members must agree on to search together.
pub struct Terms<'a> {
    /// Its hash.
    pub search: Hash,
    /// How it goes.
    pub plan: Plan,
    /// Members that make each trial.
    pub reports: usize,
    /// The charter's settings.
    pub train: &'a TrainTerms,
    /// Seed of the draws.
    pub seed: Seed,
}

/// Another member and its trials.
struct Member {
    name: String,
    made: Vec<TrialMade>,
    /// When its list was last seen to change.
    news: Instant,
}

/// This member among the others.
pub struct Company<'a> {
    door: Door,
    dir: PathBuf,
    together: Together<'a>,
    others: BTreeMap<PeerId, Member>,
    /// Others to wait for before the first trial.
    awaited: usize,
    patience: Duration,
}

impl<'a> Company<'a> {
    /// Goes to the running node of a directory.
    ///
    /// # Errors
    /// No node runs there.
    pub fn join(dir: &Path, terms: Terms<'a>, awaited: usize, patience: Duration) -> Result<Self, CliError> {
        let door = Door::at(dir).map_err(|e| no_node(dir, &e))?;
        let Terms { search, plan, reports, train, seed } = terms;
        // The node's word on the first telling puts the own key in its place.
        let together = Together { search, plan, reports, terms: train, seed, me: PeerId([0; 32]) };
        Ok(Self { door, dir: dir.to_owned(), together, others: BTreeMap::new(), awaited, patience })
    }

    /// The next trial to make here, once there is one; nothing when the search is over. Tells what was made here and hears
    /// the others first. `tell` gets words for the person while this waits.
    ///
    /// # Errors
    /// The node has ended, or does not do it.
    pub fn next(
        &mut self,
        made: &[Trial],
        mut tell: impl FnMut(&str),
    ) -> Result<Option<(usize, usize)>, CliError> {
        loop {
            self.exchange(made)?;
            let missing = self.awaited.saturating_sub(self.others.len());
            if missing > 0 {
                tell(&format!("waiting for {missing} more members that search the same"));
            } else {
                self.awaited = 0;
                match self.together.next(&self.present(), &self.said(made)) {
                    Next::Try(trial, rung) => return Ok(Some((trial, rung))),
                    Next::Over => return Ok(None),
                    Next::Wait(rung, open) => {
                        tell(&format!("others make {} trials of rung {rung}", open.len()));
                    }
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The trials of all members, as far as they are through.
    pub fn all(&self, made: &[Trial]) -> Vec<Trial> {
        self.together.through(&self.present(), &self.said(made))
    }

    /// Names of the others that made trials.
    pub fn members(&self) -> Vec<String> {
        self.others.values().filter(|m| !m.made.is_empty()).map(|m| m.name.clone()).collect()
    }

    /// This member and those it heard of lately.
    fn present(&self) -> BTreeSet<PeerId> {
        let others = self.others.iter().filter(|(_, m)| m.news.elapsed() < self.patience);
        others.map(|(peer, _)| *peer).chain([self.together.me]).collect()
    }

    fn said(&self, made: &[Trial]) -> Vec<Said> {
        let own = made.iter().map(|trial| Said { by: self.together.me, made: word(trial) });
        let others =
            self.others.iter().flat_map(|(by, m)| m.made.iter().map(|made| Said { by: *by, made: *made }));
        own.chain(others).collect()
    }

    fn exchange(&mut self, made: &[Trial]) -> Result<(), CliError> {
        let trials = Trials { search: self.together.search, made: made.iter().map(word).collect() };
        let (me, others) = match self.door.ask(&Wish::Tried(trials)).map_err(|e| no_node(&self.dir, &e))? {
            Word::Tried { me, others } => (me, others),
            Word::Refused(why) => {
                return Err(CliError::new(ExitCode::Refused, "the node does not tell others", why, ""));
            }
            Word::Task(_) | Word::Answers(_) => {
                let why = "it answers another question";
                return Err(CliError::new(ExitCode::Failed, "the node is not understood", why, ""));
            }
        };
        self.together.me = me;
        let search = self.together.search;
        for Searcher { peer, name, trials } in others.into_iter().filter(|o| o.trials.search == search) {
            let member = self.others.entry(peer).or_insert_with(|| Member {
                name: name.clone(),
                made: Vec::new(),
                news: Instant::now(),
            });
            if member.made != trials.made {
                member.news = Instant::now();
            }
            (member.name, member.made) = (name, trials.made);
        }
        Ok(())
    }
}

/// A trial in the words of members.
fn word(trial: &Trial) -> TrialMade {
    let Trial { trial, rung, score, loss, samples, .. } = *trial;
    TrialMade { trial: trial as u32, rung: rung as u32, score: score as f32, loss: loss as f32, samples }
}

fn no_node(dir: &Path, error: &std::io::Error) -> CliError {
    let what = "there is no node to search through";
    let why = format!("{}: {error}", dir.join(SOCKET).display());
    CliError::new(ExitCode::Unreachable, what, why, "start one there: starling run --dir DIR")
}
