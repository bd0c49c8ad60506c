//! What a student looks like, as a person writes it.
//!
//! `half`, `quarter` and `tiny` are names for common shapes; `depth3`, `width0.5` and `depth3+width0.5` say it exactly.
//! An architecture of one's own comes as a configuration and starts fresh.

use std::fmt;
use std::str::FromStr;

use crate::arch::config::ArchConfig;
use crate::error::{Error, Result};

/// How many of the teacher's blocks a student keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Depth {
    /// All of them.
    Whole,
    /// This share, at least one.
    Share(f64),
    /// This many.
    Blocks(usize),
}

/// What a student looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// The teacher with fewer blocks and narrower ones; parameters are copied.
    Cut {
        /// Blocks kept, spread evenly from the first to the last.
        depth: Depth,
        /// Share of heads and features kept, the most important ones; 1 keeps all.
        width: f64,
    },
    /// An architecture of its own, with fresh parameters.
    Config(Box<ArchConfig>),
}

/// A student to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its name in tables and folders.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
}

impl Depth {
    /// Blocks kept of `blocks`.
    ///
    /// # Errors
    /// More are asked for than there are.
    pub fn of(self, blocks: usize) -> Result<usize> {
        match self {
            Self::Whole => Ok(blocks),
            Self::Share(share) => Ok(((blocks as f64 * share).round() as usize).clamp(1, blocks.max(1))),
            Self::Blocks(wanted) if (1..=blocks).contains(&wanted) => Ok(wanted),
            Self::Blocks(wanted) => {
                let reason =
                    format!("expected 1 to {blocks} blocks, as many as the teacher has, found {wanted}");
                Err(Error::config("students", reason))
            }
        }
    }
}

impl Plan {
    /// A student of an architecture of its own.
    pub fn of_config(name: impl Into<String>, arch: ArchConfig) -> Self {
        Self { name: name.into(), shape: Shape::Config(Box::new(arch)) }
    }
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let reason = format!(
                "expected half, quarter, tiny, depthN (N blocks), widthS (share S of heads and features, as in \
                 width0.5) or both joined by +, found `{text}`"
            );
            Error::config("students", reason)
        };
        let (depth, width) = match text {
            "half" => (Depth::Share(0.5), 1.0),
            "quarter" => (Depth::Share(0.25), 1.0),
            "tiny" => (Depth::Share(0.25), 0.5),
            _ => {
                let (mut depth, mut width) = (Depth::Whole, 1.0);
                for part in text.split('+') {
                    if let Some(blocks) = part.strip_prefix("depth").and_then(|n| n.parse().ok()) {
                        depth = Depth::Blocks(blocks);
                    } else if let Some(share) = part.strip_prefix("width").and_then(|s| s.parse::<f64>().ok())
                        && share > 0.0
                        && share <= 1.0
                    {
                        width = share;
                    } else {
                        return Err(wrong());
                    }
                }
                (depth, width)
            }
        };
        Ok(Self { name: text.to_owned(), shape: Shape::Cut { depth, width } })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

/// `kept` of `blocks` block numbers, spread evenly, the first and the last among them; one alone is the first.
pub fn spread(blocks: usize, kept: usize) -> Vec<usize> {
    if kept <= 1 {
        return (0..kept.min(blocks)).collect();
    }
    // Rounded to the nearest, halves up, in whole numbers.
    (0..kept).map(|k| (2 * k * (blocks - 1) + (kept - 1)) / (2 * (kept - 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_from_its_name_and_rubbish_is_refused() {
        let shape = |text: &str| text.parse::<Plan>().map(|plan| plan.shape);
        let cut = |depth, width| Shape::Cut { depth, width };
        assert_eq!(shape("half").unwrap(), cut(Depth::Share(0.5), 1.0));
        assert_eq!(shape("tiny").unwrap(), cut(Depth::Share(0.25), 0.5));
        assert_eq!(shape("depth3+width0.25").unwrap(), cut(Depth::Blocks(3), 0.25));
        assert_eq!(shape("width1").unwrap(), cut(Depth::Whole, 1.0));
        for wrong in
            ["", "third", "depth", "depth-1", "width0", "width1.5", "widthNaN", "half+half", "depth2+"]
        {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn kept_blocks_are_spread_from_the_first_to_the_last() {
        assert_eq!(spread(6, 3), [0, 3, 5]);
        assert_eq!(spread(12, 6), [0, 2, 4, 7, 9, 11]);
        assert_eq!(spread(4, 4), [0, 1, 2, 3]);
        assert_eq!(spread(4, 1), [0]);
        assert!(spread(5, 0).is_empty() && spread(0, 0).is_empty());
    }

    #[test]
    fn a_share_keeps_at_least_one_block_and_a_number_must_be_there() {
        assert_eq!(Depth::Share(0.25).of(2).unwrap(), 1);
        assert_eq!(Depth::Share(0.5).of(5).unwrap(), 3);
        assert_eq!(Depth::Whole.of(5).unwrap(), 5);
        assert!(Depth::Blocks(6).of(5).is_err() && Depth::Blocks(0).of(5).is_err());
    }
}
