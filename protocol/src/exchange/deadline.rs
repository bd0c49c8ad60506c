//! Deadlines that adapt: a multiple of the median time that answers took lately.

use crate::limits::{ASK_DEADLINE_FIRST, ASK_DEADLINE_MAX, ASK_DEADLINE_MIN};
use crate::time::Span;

/// Answers remembered.
const REMEMBERED: usize = 64;
/// Deadline as a multiple of the median.
const MULTIPLE: u64 = 8;

/// Answers that say little: a node that stood still for a while found all of its first ones late.
const FEW: usize = 8;

/// Times that answers took, per byte for bulk and per answer for small things.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    taken: Vec<Span>,
    next: usize,
}

impl Deadlines {
    /// Notes how long an answer took.
    pub fn note(&mut self, taken: Span) {
        if self.taken.len() < REMEMBERED {
            self.taken.push(taken);
        } else {
            self.taken[self.next] = taken;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// The deadline of the next question.
    pub fn deadline(&self) -> Span {
        let mut sorted = self.taken.clone();
        sorted.sort_unstable();
        match sorted.get(sorted.len() / 2) {
            None => ASK_DEADLINE_FIRST,
            Some(median) => {
                let most = if sorted.len() < FEW { ASK_DEADLINE_FIRST } else { ASK_DEADLINE_MAX };
                median.times(MULTIPLE).clamp(ASK_DEADLINE_MIN, most)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_follow_the_median_not_the_slowest() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.deadline(), ASK_DEADLINE_FIRST);
        (0..63).for_each(|_| deadlines.note(Span::seconds(1)));
        deadlines.note(Span::seconds(1_000));
        assert_eq!(deadlines.deadline(), Span::seconds(8));
        (0..64).for_each(|_| deadlines.note(Span::millis(1)));
        assert_eq!(deadlines.deadline(), ASK_DEADLINE_MIN);
    }

    #[test]
    fn a_few_late_answers_make_nobody_wait_longer_than_none() {
        let mut deadlines = Deadlines::default();
        (1..FEW).for_each(|_| deadlines.note(Span::seconds(12)));
        assert_eq!(deadlines.deadline(), ASK_DEADLINE_FIRST);
        deadlines.note(Span::seconds(12));
        assert_eq!(deadlines.deadline(), Span::seconds(96));
    }
}
