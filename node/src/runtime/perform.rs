//! Doing what the peer asks for.

use std::sync::Arc;

use protocol::exchange::serve::Reply;
use protocol::id::{GossipId, Hash, InboundId, OuterStep, PeerId};
use protocol::peer::event::Event;
use protocol::peer::output::{Outbox, Output, Verdict};
use protocol::wire::offence::Offence;

use crate::net::command::{AnswerBody, GossipTag, InboundTag, NetCommand, Verdict as NetVerdict};
use crate::runtime::clock::seconds_since_1970;
use crate::runtime::control::Seen;
use crate::runtime::driver::{Driver, DriverError, Ended};
use crate::runtime::fetching::{Fetch, request};
use crate::runtime::membership::{self, read_piece};
use crate::store::redeemed::Redeemed;
use crate::store::status::{self, NodeStatus, PEERS_FILE, PeerStatus, STATUS_FILE};
use crate::telemetry::service;
use crate::trainer::job::Job;

/// What a node does while it waits for room.
const NO_ROOM: &str = "paused: no room on the disk";

impl Driver {
    pub(super) fn perform(&mut self, out: &mut Outbox) {
        while let Some(output) = out.pop() {
            if let Some(recorder) = &mut self.recorder {
                recorder.output(&output);
            }
            self.perform_one(output);
        }
    }

    fn perform_one(&mut self, output: Output) {
        match output {
            Output::Publish(bytes) => self.net.send(NetCommand::Publish { bytes: bytes.into() }),
            Output::Judge { gossip, verdict } => self.judge(gossip, verdict),
            Output::Ask { ask, peer, question, deadline } => {
                let (bytes, parts) = request(self.run, &question);
                self.fetches.insert(ask, Fetch { peer, question, first: None, shards: Vec::new() });
                let first_byte_timeout = std::time::Duration::from_micros(deadline.0);
                self.net.send(NetCommand::Ask { ask, peer, request: bytes, parts, first_byte_timeout });
            }
            Output::Cancel(ask) => {
                self.fetches.remove(&ask);
                self.net.send(NetCommand::Cancel { ask });
            }
            Output::Answer { inbound, reply } => self.answer(inbound, reply),
            Output::Predict { inbound, query } => self.predict(inbound, query),
            Output::AnswerFile { inbound, hash, piece } => self.answer_file(inbound, hash, piece),
            Output::Redeem { inbound, invitation, peer } => self.redeem(inbound, invitation, peer),
            Output::Dial { peer, addresses } => {
                let addresses = addresses.iter().filter_map(|a| a.parse().ok()).collect();
                self.net.send(NetCommand::Dial { peer: Some(peer), addresses });
            }
            Output::Hangup(peer) => self.net.send(NetCommand::Hangup { peer }),
            Output::Ban(peer) => self.net.send(NetCommand::Ban { peer }),
            Output::Unban(peer) => self.net.send(NetCommand::Unban { peer }),
            Output::Train(order) => self.train(order),
            Output::MixAhead(order) => {
                // Handed over, not copied: what is mixed makes room for what comes.
                let shards = order.sources.iter();
                let places = shards.flat_map(|(shard, from)| from.iter().map(|s| (*shard, s.hash)));
                let bytes = places.filter_map(|place| self.received.remove_entry(&place)).collect();
                self.order(Job::MixAhead(order, bytes));
            }
            Output::Mix(order) => {
                let bytes = std::mem::take(&mut self.received);
                self.order(Job::Mix(order, bytes));
            }
            Output::Evaluate(step) => self.order(Job::Evaluate(step)),
            Output::Reserve(step) => self.reserve(step),
            Output::Append(bytes) => self.append(bytes),
            Output::Commit(_) => self.commit(),
            // The block store keeps as many versions as the peer serves: these are gone there already.
            Output::Forget(_) => {}
            Output::Emit(event) => self.emit(&event),
        }
    }

    pub(super) fn order(&mut self, job: Job) {
        if !self.trainer.order(job) {
            self.fault = Some(DriverError::Trainer("its thread ended; see the log".to_owned()));
        }
    }

    fn judge(&mut self, gossip: GossipId, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Accept => NetVerdict::Accept,
            Verdict::Ignore => NetVerdict::Ignore,
            Verdict::Reject => NetVerdict::Reject,
        };
        self.net.send(NetCommand::Judge { tag: GossipTag(gossip.0), verdict });
    }

    /// A message that did not pass the gate is not passed on. Quotas and clocks differ between peers, so only what
    /// every honest peer would refuse counts against whoever passed it on.
    pub(super) fn judge_refused(&mut self, gossip: GossipId, offence: Offence) {
        let is_plain = matches!(
            offence,
            Offence::BadSignature
                | Offence::Malformed
                | Offence::TooLong
                | Offence::OtherRun
                | Offence::Meaningless
        );
        self.judge(gossip, if is_plain { Verdict::Reject } else { Verdict::Ignore });
    }

    pub(super) fn refuse(&mut self, inbound: InboundId) {
        self.answer(inbound, Reply::Refused);
    }

    pub(super) fn answer(&mut self, inbound: InboundId, reply: Reply) {
        let answer = match reply {
            Reply::Bytes(bytes) => AnswerBody::Parts(vec![bytes]),
            Reply::Blocks(hashes) => {
                let blocks: Option<Vec<Arc<[u8]>>> =
                    hashes.iter().map(|hash| self.blocks.find(hash)).collect();
                blocks.map_or(AnswerBody::NotFound, AnswerBody::Parts)
            }
            Reply::Busy(wait) => {
                AnswerBody::Busy { retry_ms: (wait.0 / 1_000).min(u64::from(u32::MAX)) as u32 }
            }
            Reply::NotFound => AnswerBody::NotFound,
            Reply::Refused => AnswerBody::Refused(1),
        };
        let bytes = match &answer {
            AnswerBody::Parts(parts) => parts.iter().map(|part| part.len() as u64).sum(),
            _ => 0,
        };
        self.traffic.answered(inbound, bytes);
        self.net.send(NetCommand::Answer { inbound: InboundTag(inbound.0), answer });
    }

    fn answer_file(&mut self, inbound: InboundId, hash: Hash, piece: u32) {
        let Some(path) = self.files.get(&hash).cloned() else {
            return self.answer(inbound, Reply::NotFound);
        };
        self.traffic.answered(inbound, 0);
        let net = self.net.clone();
        tokio::task::spawn_blocking(move || {
            let answer = match read_piece(&path, piece) {
                Ok(bytes) => AnswerBody::Parts(vec![bytes.into()]),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a file beside the charter cannot be read");
                    AnswerBody::NotFound
                }
            };
            net.send(NetCommand::Answer { inbound: InboundTag(inbound.0), answer });
        });
    }

    fn redeem(&mut self, inbound: InboundId, invitation: Hash, peer: PeerId) {
        let (dir, run, done) = (self.dir.clone(), self.run, self.redeem_done.clone());
        tokio::task::spawn_blocking(move || {
            let claimed = Redeemed::open(&dir, run).and_then(|mut redeemed| redeemed.claim(invitation, peer));
            let is_free = claimed.unwrap_or_else(|error| {
                tracing::error!(%error, "an invitation cannot be redeemed");
                false
            });
            // The driver may have ended meanwhile; then nobody needs the word.
            let _ = done.send((inbound, is_free));
        });
    }

    /// Saves and says where; the peer's last complete outer step is what a restart goes on from.
    pub(super) async fn end(mut self, ended: Ended) -> Ended {
        service::notify("STOPPING=1");
        self.checkpoint_every = Some(std::time::Duration::ZERO);
        self.write_waiting();
        if !self.is_committing {
            self.commit();
        }
        let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(9);
        while self.is_committing {
            tokio::select! {
                Some(report) = self.reports.recv() => {
                    if let crate::trainer::job::Report::Checkpoint(copies) = report {
                        self.write_generation(copies);
                    }
                }
                Some(committed) = self.commits.recv() => self.committed(committed),
                () = tokio::time::sleep_until(limit) => {
                    tracing::warn!("stopped before the last checkpoint was through; the one before it stays");
                    break;
                }
            }
        }
        if let Some(recorder) = self.recorder.take() {
            recorder.end();
        }
        self.write_status(match ended {
            Ended::Stopped => "stopped",
            Ended::Drained => "done",
            Ended::Left => "left",
            Ended::Expired => "expired: the charter's date has passed",
        });
        self.net.send(NetCommand::Shutdown);
        ended
    }

    fn emit(&mut self, event: &Event) {
        self.control.tell(|| Seen::Happened(event.clone()));
        match event {
            Event::Mixed { step, peers, distance, .. } => {
                tracing::info!(outer = step.0, peers, distance, "mixed");
            }
            Event::Trained { step, loss, seconds, inner_steps, .. } if *inner_steps > 0 => {
                tracing::info!(outer = step.0, loss, seconds, "trained");
            }
            Event::Evaluated { step, metric, score, .. } => {
                tracing::info!(outer = step.0, metric, score, "evaluated");
            }
            Event::LinkUp { peer } => tracing::info!(peer = %peer.short(), "link up"),
            Event::LinkDown { peer } => tracing::info!(peer = %peer.short(), "link down"),
            Event::Alone { step } => tracing::warn!(outer = step.0, "0 peers: training alone, waiting"),
            Event::Offence { peer, offence } => tracing::warn!(peer = %peer.short(), %offence, "offence"),
            Event::Admitted { peer } => tracing::info!(peer = %peer.short(), "redeemed an invitation here"),
            Event::Revocation { version } => tracing::warn!(version, "a revocation list took force"),
            Event::Banned { peer, is_proven } => tracing::warn!(peer = %peer.short(), is_proven, "banned"),
            Event::KeyInUseElsewhere { .. } => {
                tracing::error!(
                    "this node's key signs elsewhere: a second copy is running; stop one of them"
                );
            }
            Event::Joined { from, step, peers } => {
                tracing::info!(from = from.0, outer = step.0, peers, "joined: took over the others' state");
            }
            Event::PullFailed { peer, why, .. } => tracing::debug!(peer = %peer.short(), why, "pull failed"),
            Event::Stage { stage, step } => tracing::info!(%stage, outer = step.0, "stage"),
            Event::Finished { step } => tracing::info!(outer = step.0, "all outer steps are through"),
            Event::Expired { step } => {
                tracing::warn!(outer = step.0, "the charter's date has passed: training ends here");
            }
            _ => {}
        }
        if let (Event::Revocation { .. }, Some(list)) = (event, self.peer.revocation()) {
            let path = membership::revocation_path(&self.dir, self.run);
            if let Err(error) = membership::write(&path, list) {
                tracing::warn!(%error, "the revocation list is in force but not on the disk yet");
            }
        }
        if let Event::Finished { step } | Event::Expired { step } = event {
            self.order(Job::Export(*step));
        }
        self.notes.event(event);
    }

    pub(super) fn write_status(&mut self, state: &str) {
        let s = self.peer.status();
        let counters = self.net.counters();
        let figures = &self.notes.figures;
        let node = NodeStatus {
            peer_id: s.peer_id.to_string(),
            name: self.name.clone(),
            organization: s.organization,
            run: s.run.to_string(),
            model: self.model.clone(),
            stage: s.stage.to_string(),
            outer_step: s.outer_step.0,
            outer_steps: s.outer_steps,
            peers: s.peers,
            score_last: s.score_last.map(f64::from),
            loss_last: figures.loss,
            bytes_sent: counters.wire_sent,
            bytes_received: counters.wire_received,
            consensus_distance_relative: figures.consensus_relative,
            training_time_ratio: figures.time.training_ratio(),
            busy_time_ratio: figures.time.busy_ratio(),
            state: match state {
                "" if self.storage.is_holding() => NO_ROOM.to_owned(),
                "" => s.state.to_owned(),
                other => other.to_owned(),
            },
            trouble: self.storage.trouble(),
            disk_used_bytes: self.storage.space().used,
            disk_max_bytes: self.storage.bytes_max(),
            listening: self.listening.clone(),
            rejected_shards: figures.rejected_shards,
            process: std::process::id(),
            uptime_seconds: self.clock.now().0 as f64 / 1e6,
            dashboard: self.notes.dashboard.clone(),
        };
        let peers: Vec<PeerStatus> = self
            .peer
            .peers(self.clock.now())
            .into_iter()
            .map(|p| PeerStatus {
                rtt_ms: self.traffic.link(&p.peer_id).and_then(|l| l.rtt).map(|rtt| rtt.as_secs_f64() * 1e3),
                bytes_pulled: self.traffic.of(&p.peer_id).pulled,
                bytes_served: self.traffic.of(&p.peer_id).served,
                behaviour: f64::from(p.score),
                peer_id: p.peer_id.to_string(),
                name: p.name,
                organization: p.organization,
                is_linked: p.is_linked,
                is_banned: p.is_banned,
                address: self
                    .traffic
                    .link(&p.peer_id)
                    .map(|l| l.address.to_string())
                    .or_else(|| p.addresses.first().cloned())
                    .unwrap_or_default(),
                outer_step: Some(p.outer_step.0),
                score: p.evaluation.map(f64::from),
                affinity: figures.affinity.get(&p.peer_id).copied(),
                stage: p.stage.to_string(),
            })
            .collect();
        for (file, result) in [
            (STATUS_FILE, status::write(&self.dir.join(STATUS_FILE), &node)),
            (PEERS_FILE, status::write(&self.dir.join(PEERS_FILE), &peers)),
        ] {
            if let Err(error) = result {
                tracing::warn!(file, %error, "could not write");
            }
        }
        self.notes.now(node, peers, counters);
    }

    /// Tells how far apart the models are after a mix.
    pub(super) fn note_topology(&mut self, step: OuterStep) {
        let linked = self.peer.peers(self.clock.now()).into_iter().filter(|p| p.is_linked);
        let linked = linked.map(|p| p.peer_id.to_string()).collect();
        if let Some(line) = self.sketches.topology(seconds_since_1970(), &self.name, step.0, linked) {
            self.notes.topology(&line);
        }
    }
}
