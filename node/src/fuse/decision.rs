//! One decision of members whose answers nobody can check against labels.
//!
//! Members near the median of all weigh more; one that is far from it is marked as out of line. It deliberately does not
//! say who is right: with more liars than honest members the honest ones are out of line.

use model::fuse::evidence::Evidence;
use model::fuse::fit::Calibration;
use model::fuse::rule::Rule;
use model::task::answers::Answers;
use serde_json::{Value, json};
use thiserror::Error;

use crate::fuse::heard::Heard;
use crate::trainer::translate::TranslateError;

/// A member is out of line when it is so many times as far from the median of all as the middle member ...
const OUT_OF_LINE_TIMES: f64 = 3.0;

/// ... and at least so far: members of one mind differ by rounding alone.
const OUT_OF_LINE_LEAST: f64 = 0.02;

/// No decision.
#[derive(Debug, Error)]
pub enum DecideError {
    /// Too few members answered.
    #[error("expected answers of at least {least} members, found {found}")]
    TooFew {
        /// How many must.
        least: usize,
        /// How many did.
        found: usize,
        /// Everybody who was asked.
        members: Vec<Heard>,
    },
    /// Their answers do not fit each other.
    #[error(transparent)]
    Translate(#[from] TranslateError),
}

impl From<model::error::Error> for DecideError {
    fn from(error: model::error::Error) -> Self {
        Self::Translate(error.into())
    }
}

/// What the members say together.
pub struct Decision {
    /// Everybody who was asked.
    pub members: Vec<Heard>,
    /// Weight of each that answered, by its place among the members.
    pub weights: Vec<Option<f64>>,
    /// Mean squared distance of each that answered from the median of all.
    pub distances: Vec<Option<f64>>,
    /// The fused answers.
    pub fused: Answers,
}

/// Decides together by the default rule for answers without labels.
///
/// # Errors
/// Fewer than `least` members answered, or their answers do not fit each other.
pub fn decide(members: Vec<Heard>, least: usize) -> Result<Decision, DecideError> {
    let present: Vec<usize> = (0..members.len()).filter(|&i| members[i].answers.is_some()).collect();
    let least = least.max(1);
    if present.len() < least {
        return Err(DecideError::TooFew { least, found: present.len(), members });
    }
    let answers: Vec<&Answers> = present.iter().filter_map(|&i| members[i].answers.as_ref()).collect();
    let calibration = Calibration::new(&answers, None)?;
    let pool = calibration.fit(Rule::usual(false), &calibration.all())?;
    let evidence = Evidence::gather(&answers, None)?;
    let distances = evidence.distances(true, &calibration.all());
    let fused = pool.fuse(&answers)?;
    let spread = |values: Vec<f64>| {
        let mut all = vec![None; members.len()];
        present.iter().zip(values).for_each(|(&place, value)| all[place] = Some(value));
        all
    };
    let (weights, distances) = (spread(pool.weights()), spread(distances));
    Ok(Decision { members, weights, distances, fused })
}

impl Decision {
    /// Whether a member is far from what the others say.
    pub fn is_out_of_line(&self, member: usize) -> bool {
        let mut known: Vec<f64> = self.distances.iter().flatten().copied().collect();
        known.sort_by(f64::total_cmp);
        let Some(middle) = known.get(known.len().saturating_sub(1) / 2) else { return false };
        self.distances[member].is_some_and(|d| d > OUT_OF_LINE_TIMES * middle && d > OUT_OF_LINE_LEAST)
    }

    /// Members as data.
    pub fn json(&self) -> Value {
        let member = |place: usize| {
            let mut data = json!(self.members[place]);
            data["weight"] = json!(self.weights[place]);
            data["distance"] = json!(self.distances[place]);
            data["is_out_of_line"] = json!(self.is_out_of_line(place));
            data
        };
        (0..self.members.len()).map(member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(name: &str, values: Option<&[f32]>) -> Heard {
        let answers = values.map(|values| Answers::of_texts(3, values.to_vec()).unwrap());
        let said = Heard::here(name, 1, 1.0, Answers::of_texts(3, vec![1.0, 0.0, 0.0]).unwrap());
        Heard { answers, ..said }
    }

    #[test]
    fn a_liar_is_out_of_line_and_an_absent_member_has_no_weight() {
        let honest: [&[f32]; 3] = [&[0.8, 0.1, 0.1], &[0.7, 0.2, 0.1], &[0.75, 0.1, 0.15]];
        let mut members: Vec<Heard> = honest.iter().map(|row| heard("honest", Some(row))).collect();
        members.push(heard("liar", Some(&[0.0, 0.0, 1.0])));
        members.push(heard("away", None));
        let decision = decide(members, 3).unwrap();
        assert_eq!(
            (0..5).map(|k| decision.is_out_of_line(k)).collect::<Vec<_>>(),
            [false, false, false, true, false]
        );
        assert!(decision.weights[3] < Some(0.05) && decision.weights[4].is_none(), "{:?}", decision.weights);
        assert!(decision.fused.unit(0)[0] > 0.6);
        assert_eq!(decision.json()[3]["is_out_of_line"], true);
    }

    #[test]
    fn too_few_answers_are_no_decision_and_nobody_is_lost() {
        let members = vec![heard("a", Some(&[0.8, 0.1, 0.1])), heard("b", None)];
        let Err(DecideError::TooFew { least: 2, found: 1, members }) = decide(members, 2) else {
            panic!("expected too few")
        };
        assert_eq!(crate::fuse::heard::absent(&members), [("b", "answered")]);
        assert!(decide(Vec::new(), 0).is_err());
    }
}
