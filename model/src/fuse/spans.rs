//! Fusing taggers by entity: members vote for whole entities, not for the tag of each word.
//!
//! A member's entities come from its own probabilities, decoded as a whole sentence. An entity is the same for two members
//! when it has the same first and last word and the same type; its support is the weight of the members that say it. What
//! more than half of all weight says is taken: two such entities have a member in common, and no member's entities overlap,
//! so the taken ones never do. Where boundaries are disputed nobody has a majority and nothing is said; probabilities put
//! together word by word would say something there, with a boundary that perhaps no member chose.

use crate::data::labels::{LabelSet, Tag};
use crate::error::{Error, Result};
use crate::eval::tagging::{Entity, Matching, entities};
use crate::fuse::pool::check_members;
use crate::task::answers::Answers;
use crate::task::decode::decode;

/// An entity that at least one member says.
#[derive(Debug, Clone, PartialEq)]
pub struct Support {
    /// The entity.
    pub entity: Entity,
    /// Weight of the members that say it, 0 to 1.
    pub weight: f64,
    /// Those members, in order.
    pub members: Vec<usize>,
}

impl Support {
    /// Whether more than half of all weight says it.
    pub fn is_taken(&self) -> bool {
        // Rounding must not make a majority of two equal halves.
        self.weight > 0.5 + 1e-9
    }
}

/// All entities that the members say of one example, by place; `weights` are not negative and sum to 1.
///
/// # Errors
/// The members do not fit each other, the weights do not fit the members, or the labels are no tags of these answers.
pub fn supports(
    members: &[&Answers],
    weights: &[f64],
    example: usize,
    labels: &LabelSet,
) -> Result<Vec<Support>> {
    check(members, weights, labels)?;
    Ok(gather(members, weights, example, labels))
}

/// The tags of every example by the weighted majority of entities.
///
/// # Errors
/// As [`supports`].
pub fn fuse_spans(members: &[&Answers], weights: &[f64], labels: &LabelSet) -> Result<Vec<Vec<u32>>> {
    check(members, weights, labels)?;
    let outside = labels.tag_id(Tag::Outside).unwrap_or(0);
    let tags = |example: usize| {
        let mut tags = vec![outside; members[0].units_of(example).len()];
        for support in gather(members, weights, example, labels).iter().filter(|support| support.is_taken()) {
            let Entity { start, end, entity_type } = support.entity;
            let tag = |tag| labels.tag_id(tag).unwrap_or(outside);
            tags[start..end].fill(tag(Tag::Inside(entity_type)));
            tags[start] = tag(Tag::Begin(entity_type));
        }
        tags
    };
    Ok((0..members[0].examples()).map(tags).collect())
}

fn check(members: &[&Answers], weights: &[f64], labels: &LabelSet) -> Result<()> {
    check_members(members)?;
    if weights.len() != members.len() {
        return Err(Error::shape("weights of the members", members.len(), weights.len()));
    }
    if members[0].labels() != labels.len() || labels.entity_types().is_empty() {
        return Err(Error::shape("tags of the members", labels.len(), members[0].labels()));
    }
    let sum: f64 = weights.iter().sum();
    if !weights.iter().all(|weight| *weight >= 0.0) || (sum - 1.0).abs() > 1e-6 {
        let reason = format!("expected weights from 0 that sum to 1, found the sum {sum}");
        return Err(Error::config("weights", reason));
    }
    Ok(())
}

fn gather(members: &[&Answers], weights: &[f64], example: usize, labels: &LabelSet) -> Vec<Support> {
    let mut all: Vec<Support> = Vec::new();
    for (number, (member, weight)) in members.iter().zip(weights).enumerate() {
        let tags: Vec<u32> =
            decode(member.example(example), labels).iter().map(|choice| choice.label).collect();
        for entity in entities(&tags, labels, Matching::Default) {
            match all.iter_mut().find(|support| support.entity == entity) {
                Some(support) => {
                    support.weight += weight;
                    support.members.push(number);
                }
                None => all.push(Support { entity, weight: *weight, members: vec![number] }),
            }
        }
    }
    all.sort_by_key(|support| (support.entity.start, support.entity.end, support.entity.entity_type));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> LabelSet {
        LabelSet::tagging(["LOC", "ORG"]).unwrap() // O B-LOC I-LOC B-ORG I-ORG
    }

    /// A member certain of these tags of one sentence.
    fn member(tags: &[usize]) -> Answers {
        let row = |tag: usize| (0..5).map(move |k| if k == tag { 0.92 } else { 0.02 });
        Answers::new(5, &[tags.len()], tags.iter().copied().flat_map(row).collect()).unwrap()
    }

    #[test]
    fn a_majority_of_whole_entities_is_taken_and_disputed_boundaries_are_not_made_up() {
        // Two say ORG over words 0 to 2, one over 0 to 1; all say LOC at word 4.
        let all = [member(&[3, 4, 4, 0, 1]), member(&[3, 4, 4, 0, 1]), member(&[3, 4, 0, 0, 1])];
        let members: Vec<&Answers> = all.iter().collect();
        let third = [1.0 / 3.0; 3];
        assert_eq!(fuse_spans(&members, &third, &labels()).unwrap(), [[3, 4, 4, 0, 1]]);
        let found = supports(&members, &third, 0, &labels()).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].entity.end, &found[0].members[..], found[0].is_taken()), (2, &[2][..], false));
        assert!((found[1].weight - 2.0 / 3.0).abs() < 1e-12 && found[2].members == [0, 1, 2]);
        // With the weight on the third its boundary is the one; with three boundaries nobody's is.
        assert_eq!(fuse_spans(&members, &[0.2, 0.2, 0.6], &labels()).unwrap(), [[3, 4, 0, 0, 1]]);
        let split = [member(&[3, 4, 4, 0, 1]), member(&[3, 0, 0, 0, 1]), member(&[3, 4, 0, 0, 1])];
        let members: Vec<&Answers> = split.iter().collect();
        assert_eq!(fuse_spans(&members, &third, &labels()).unwrap(), [[0, 0, 0, 0, 1]]);
    }

    #[test]
    fn halves_are_no_majority_and_adjacent_entities_stay_apart() {
        let all = [member(&[1, 1]), member(&[1, 2])];
        let members: Vec<&Answers> = all.iter().collect();
        assert_eq!(fuse_spans(&members, &[0.5, 0.5], &labels()).unwrap(), [[0, 0]]);
        assert_eq!(fuse_spans(&members, &[0.6, 0.4], &labels()).unwrap(), [[1, 1]]);
        assert_eq!(fuse_spans(&members, &[0.4, 0.6], &labels()).unwrap(), [[1, 2]]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = member(&[0, 1]);
        let classes = LabelSet::classes(["a", "b", "c", "d", "e"]).unwrap();
        assert!(fuse_spans(&[&one], &[1.0], &classes).is_err());
        assert!(fuse_spans(&[&one], &[0.5, 0.5], &labels()).is_err());
        assert!(fuse_spans(&[&one], &[0.5], &labels()).is_err());
        assert!(fuse_spans(&[&one, &member(&[0])], &[0.5, 0.5], &labels()).is_err());
        assert!(fuse_spans(&[], &[], &labels()).is_err());
    }
}
