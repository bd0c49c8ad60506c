//! The scale of a quantity that a model learns to say: its name and the range that becomes -1 to 1.
//!
//! A network learns numbers near 1 well and others badly, and members of a run that scale differently would pull one
//! model two ways. The only label of such a task is therefore a quantity with its range, as in `stars 1..5`: it stands in
//! the charter like any label. The range is a ruler, no fence: values up to its length beyond either end are taken.

use std::fmt;

use crate::data::labels::{LabelSet, shown};
use crate::error::{Error, Result};

/// A quantity and its range.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// What is measured.
    pub name: String,
    /// The value that becomes -1.
    pub least: f64,
    /// The value that becomes 1; above `least`.
    pub most: f64,
}

impl Scale {
    /// Reads a label such as `stars 1..5`.
    ///
    /// # Errors
    /// It is laid out otherwise, or its range is empty.
    pub fn stated(label: &str) -> Result<Self> {
        let parsed = || {
            let (name, range) = label.rsplit_once(' ')?;
            let (least, most) = range.split_once("..")?;
            let (least, most): (f64, f64) = (least.parse().ok()?, most.parse().ok()?);
            let is_range = least < most && (most - least).is_finite();
            (is_range && !name.trim().is_empty()).then(|| Self { name: name.trim().to_owned(), least, most })
        };
        parsed().ok_or_else(|| {
            let found = shown(label);
            Error::config(
                "labels",
                format!("expected a quantity and its range as in `stars 1..5`, found `{found}`"),
            )
        })
    }

    /// The scale of a task's only label.
    ///
    /// # Errors
    /// There are several labels, or the one is no scale.
    pub fn of(labels: &LabelSet) -> Result<Self> {
        match labels.names() {
            [label] => Self::stated(label),
            several => {
                let found = several.len();
                Err(Error::config("labels", format!("expected one quantity with its range, found {found}")))
            }
        }
    }

    /// The scale on which these values reach from end to end; 0 to 1 where there is none, one wide where all are equal.
    pub fn spanning(name: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let ends = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
        let (least, most) = values.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        let (least, most) = match least.partial_cmp(&most) {
            Some(std::cmp::Ordering::Less) => (least, most),
            Some(std::cmp::Ordering::Equal) => (least - 0.5, least + 0.5),
            _ => (0.0, 1.0),
        };
        Self { name: name.to_owned(), least, most }
    }

    /// The label that states it.
    pub fn labels(&self) -> Result<LabelSet> {
        LabelSet::classes([self.to_string()])
    }

    /// What the network should say for a value.
    pub fn inward(&self, value: f32) -> f32 {
        ((2.0 * f64::from(value) - self.least - self.most) / (self.most - self.least)) as f32
    }

    /// The value the network means.
    pub fn outward(&self, said: f32) -> f32 {
        (0.5 * (f64::from(said) * (self.most - self.least) + self.least + self.most)) as f32
    }

    /// Reads a value; one that lies further off the range than its length is taken for another unit.
    ///
    /// # Errors
    /// It is no number, or too far off; the reason says what was expected.
    pub fn value(&self, text: &str) -> Result<f32, String> {
        let value = number(text)?;
        let length = self.most - self.least;
        if value >= self.least - length && value <= self.most + length {
            return Ok(value as f32);
        }
        Err(format!(
            "expected a value about {} to {} (another unit?), found one far off",
            self.least, self.most
        ))
    }
}

/// A number that single precision can hold.
///
/// # Errors
/// The text is none; the reason does not repeat it.
pub fn number(text: &str) -> Result<f64, String> {
    let parsed = text.trim().parse::<f64>().ok().filter(|value| (*value as f32).is_finite());
    parsed.ok_or_else(|| "expected a finite number, found another text".to_owned())
}

impl fmt::Display for Scale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}..{}", self.name, self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_read_as_it_is_written() {
        for (text, least, most) in
            [("stars 1..5", 1.0, 5.0), ("air temperature -40..60.5", -40.0, 60.5), ("p 0..0.001", 0.0, 0.001)]
        {
            let scale = Scale::stated(text).unwrap();
            assert_eq!((scale.least, scale.most, scale.to_string().as_str()), (least, most, text));
        }
        for wrong in
            ["stars", "1..5", " 1..5", "stars 5..1", "stars 1..1", "stars 0..inf", "stars 0..NaN", "a 1-5"]
        {
            assert!(Scale::stated(wrong).is_err(), "{wrong}");
        }
        assert!(Scale::of(&LabelSet::classes(["a 0..1", "b 0..1"]).unwrap()).is_err());
    }

    #[test]
    fn values_go_in_and_come_out_again() {
        let scale = Scale::stated("stars 1..5").unwrap();
        assert_eq!([1.0, 3.0, 5.0, 7.0].map(|value| scale.inward(value)), [-1.0, 0.0, 1.0, 2.0]);
        assert_eq!([-1.0, 0.0, 0.5].map(|said| scale.outward(said)), [1.0, 3.0, 4.0]);
        assert_eq!(scale.value(" 9 "), Ok(9.0));
        for wrong in ["9.1", "-3.5", "1e400", "NaN", "inf", "four", ""] {
            assert!(scale.value(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_scale_is_found_for_any_values() {
        assert_eq!(Scale::spanning("value", [2.0, -1.0]).to_string(), "value -1..2");
        assert_eq!(Scale::spanning("value", [3.0, 3.0]).to_string(), "value 2.5..3.5");
        assert_eq!(Scale::spanning("value", []).to_string(), "value 0..1");
    }
}
