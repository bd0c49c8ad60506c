//! What must hold in a charter: every field within its bounds, and the relations between fields.
//!
//! It exists because a charter comes from people and from strangers alike, and each refusal names the field, what belongs
//! there and what stands there. It deliberately does not look at signatures.

use std::collections::BTreeSet;

use crate::crypto::keys::is_usable;
use crate::id::PeerId;
use crate::limits::{FOUNDERS_MAX, LABELS_MAX, MEMBERS_MAX, PULLS_MAX, TEXT_BYTES_MAX};
use crate::wire::charter::{Admission, Charter, CharterError};
use crate::wire::choice::Rule;
use crate::wire::field::need;
use crate::wire::text::{check_name, check_text};

impl Charter {
    /// Checks every field and the relations between them.
    pub fn check(&self) -> Result<(), CharterError> {
        check_name("name", &self.name)?;
        check_text("purpose", &self.purpose, TEXT_BYTES_MAX)?;
        need(self.version >= 1, "version", "1 or more", self.version)?;
        need(
            (self.version == 1) == self.run.is_none(),
            "run",
            "absent in version 1, present in later ones",
            if self.run.is_some() { "present" } else { "absent" },
        )?;
        need(
            (1..=FOUNDERS_MAX).contains(&self.founders.len()),
            "founders",
            &format!("1 to {FOUNDERS_MAX} keys"),
            self.founders.len(),
        )?;
        distinct_keys("founders", self.founders.iter())?;
        need(
            (1..=self.founders.len()).contains(&(self.threshold as usize)),
            "threshold",
            &format!("1 to {} (the number of founders)", self.founders.len()),
            self.threshold,
        )?;
        self.check_model()?;
        self.check_train()?;
        self.check_mixing()?;
        if let Admission::Closed(members) = &self.admission {
            need(
                (1..=MEMBERS_MAX).contains(&members.len()),
                "admission.closed",
                &format!("1 to {MEMBERS_MAX} members"),
                members.len(),
            )?;
            distinct_keys("admission.closed", members.iter().map(|m| &m.peer))?;
            members.iter().try_for_each(|m| check_name("admission.closed.organization", &m.organization))?;
        }
        Ok(())
    }

    fn check_model(&self) -> Result<(), CharterError> {
        check_text("model.architecture", &self.model.architecture, TEXT_BYTES_MAX)?;
        need(self.model.parameters >= 1, "model.parameters", "1 or more", self.model.parameters)?;
        check_name("task.kind", &self.task.kind)?;
        check_name("task.metric", &self.task.metric)?;
        need(
            self.task.labels.len() <= LABELS_MAX,
            "task.labels",
            &format!("at most {LABELS_MAX}"),
            self.task.labels.len(),
        )?;
        self.task.labels.iter().try_for_each(|label| check_name("task.labels", label))?;
        let mut labels: Vec<_> = self.task.labels.iter().collect();
        labels.sort_unstable();
        labels.dedup();
        need(labels.len() == self.task.labels.len(), "task.labels", "distinct labels", "a label twice")?;
        Ok(())
    }

    fn check_train(&self) -> Result<(), CharterError> {
        let t = &self.train;
        check_name("train.optimizer", &t.optimizer)?;
        need(
            t.rate.is_finite() && t.rate > 0.0 && t.rate <= 10.0,
            "train.rate",
            "above 0, at most 10",
            t.rate,
        )?;
        need((1..=1 << 20).contains(&t.batch), "train.batch", "1 to 1048576", t.batch)?;
        need((0.0..=1.0).contains(&t.weight_decay), "train.weight_decay", "0 to 1", t.weight_decay)?;
        need(t.clip.is_finite() && t.clip >= 0.0, "train.clip", "0 or more", t.clip)?;
        need((0.0..=1.0).contains(&t.warmup_share), "train.warmup_share", "0 to 1", t.warmup_share)?;
        need((0.0..=1.0).contains(&t.decay_share), "train.decay_share", "0 to 1", t.decay_share)?;
        need(
            t.warmup_share + t.decay_share <= 1.0,
            "train.decay_share",
            "warm-up and decay together at most 1",
            t.warmup_share + t.decay_share,
        )?;
        let s = &self.schedule;
        need(
            (1..=10_000_000).contains(&s.outer_steps),
            "schedule.outer_steps",
            "1 to 10000000",
            s.outer_steps,
        )?;
        need(s.settle_steps <= 1_000, "schedule.settle_steps", "at most 1000", s.settle_steps)?;
        need(
            (1..=1_000_000).contains(&s.inner_steps),
            "schedule.inner_steps",
            "1 to 1000000",
            s.inner_steps,
        )?;
        need(s.patience_ms <= 3_600_000, "schedule.patience_ms", "at most 3600000 (an hour)", s.patience_ms)?;
        need(
            self.exchange.inner_steps_min <= s.inner_steps,
            "exchange.inner_steps_min",
            "at most schedule.inner_steps",
            self.exchange.inner_steps_min,
        )?;
        self.check_overlap()
    }

    /// Training while updates travel needs parameters that training can be carried over to.
    fn check_overlap(&self) -> Result<(), CharterError> {
        let against = [
            (self.schedule.synchronous, "schedule.synchronous: a barrier mixes nothing but whole steps"),
            (self.codistillation.is_some(), "codistillation: what is mixed there are predictions"),
            (
                self.exchange.epsilon_max.is_some(),
                "exchange.epsilon_max: training that a crash takes back would be spent twice",
            ),
        ];
        against.into_iter().filter(|(is_there, _)| *is_there).try_for_each(|(_, why)| {
            let expected = format!("false beside {why}");
            need(!self.schedule.overlap, "schedule.overlap", &expected, self.schedule.overlap)
        })?;
        Ok(())
    }

    fn check_mixing(&self) -> Result<(), CharterError> {
        let m = &self.mixing;
        need(
            (1..=PULLS_MAX).contains(&(m.pulls as usize)),
            "mixing.pulls",
            &format!("1 to {PULLS_MAX}"),
            m.pulls,
        )?;
        need(
            2 * m.byzantine < m.pulls + 1,
            "mixing.byzantine",
            "less than half of own and pulled (2b < s + 1)",
            m.byzantine,
        )?;
        need(
            (0.0..1.0).contains(&m.outer_momentum),
            "mixing.outer_momentum",
            "0 to below 1",
            m.outer_momentum,
        )?;
        need(
            m.outer_rate > 0.0 && m.outer_rate <= 2.0,
            "mixing.outer_rate",
            "above 0, at most 2",
            m.outer_rate,
        )?;
        need((1..=1_000).contains(&m.staleness_max), "mixing.staleness_max", "1 to 1000", m.staleness_max)?;
        let e = &self.exchange;
        need(e.settle_codec.is_fine(), "exchange.settle_codec", "f32, f16 or bf16", e.settle_codec)?;
        need(
            !e.codec.is_sparse() || m.rule == Rule::Mean,
            "mixing.rule",
            "mean: other rules would take what topk leaves unsaid for the author's word",
            m.rule,
        )?;
        need(
            e.shards || e.predictions,
            "exchange",
            "shards, predictions or both to be allowed",
            "neither: nothing could be learned together",
        )?;
        need(
            e.epsilon_max.is_none_or(|x| x.is_finite() && x > 0.0),
            "exchange.epsilon_max",
            "above 0",
            e.epsilon_max.unwrap_or_default(),
        )?;
        self.check_predictions()
    }

    /// What must hold where predictions travel in place of parameters, and what must be absent elsewhere.
    fn check_predictions(&self) -> Result<(), CharterError> {
        let e = &self.exchange;
        let word = |is_there| if is_there { "present" } else { "absent" };
        let is_codistilled = e.predictions && !e.shards;
        for (field, is_there) in
            [("codistillation", self.codistillation.is_some()), ("exchange.probe", e.probe.is_some())]
        {
            let expected = if is_codistilled {
                "present: exchange allows predictions and no shards"
            } else {
                "absent: it needs exchange.predictions = true and exchange.shards = false"
            };
            need(is_there == is_codistilled, field, expected, word(is_there))?;
        }
        let Some(terms) = &self.codistillation else { return Ok(()) };
        terms.check(self.task.labels.len())?;
        let m = &self.mixing;
        need(
            m.outer_momentum == 0.0 && m.outer_rate == 1.0,
            "mixing.outer_momentum",
            "0, with outer_rate 1: a mix of predictions is taken as it is",
            format!("{} and {}", m.outer_momentum, m.outer_rate),
        )?;
        need(
            self.schedule.settle_steps == 0,
            "schedule.settle_steps",
            "0: models that differ cannot settle on one",
            self.schedule.settle_steps,
        )?;
        Ok(())
    }
}

fn distinct_keys<'a>(
    field: &'static str,
    keys: impl Iterator<Item = &'a PeerId>,
) -> Result<(), CharterError> {
    let mut seen = BTreeSet::new();
    for key in keys {
        need(is_usable(key), field, "ed25519 public keys", key)?;
        need(seen.insert(*key), field, "each key once", key)?;
    }
    Ok(())
}
