//! A curve that never grows beyond its cap: when it is full, neighbours are averaged.

use crate::board::limits::POINTS_MAX;

/// Values over outer steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    points: Vec<(f64, f64)>,
    /// Values behind each point but the last; a power of two.
    each: u32,
    /// Values gathered for the last point so far.
    gathered: u32,
}

impl Curve {
    /// Adds a value. A value for the outer step of the one before replaces it: a node that resumed measures again.
    pub fn push(&mut self, outer: f64, value: f64) {
        if !(outer.is_finite() && value.is_finite()) {
            return;
        }
        self.each = self.each.max(1);
        match self.points.last_mut() {
            Some(last) if self.each == 1 && last.0 == outer => last.1 = value,
            Some(last) if self.gathered < self.each => {
                let n = f64::from(self.gathered);
                *last = ((last.0 * n + outer) / (n + 1.0), (last.1 * n + value) / (n + 1.0));
                self.gathered += 1;
            }
            _ => {
                if self.points.len() == POINTS_MAX {
                    self.halve();
                }
                self.points.push((outer, value));
                self.gathered = 1;
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.points.chunks(2).map(|p| {
            let n = p.len() as f64;
            (p.iter().map(|p| p.0).sum::<f64>() / n, p.iter().map(|p| p.1).sum::<f64>() / n)
        });
        self.points = pairs.collect();
        self.each *= 2;
    }

    /// The points, `(outer step, value)`, oldest first.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The last value.
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|p| p.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_shape_in_a_bounded_number_of_points() {
        let mut curve = Curve::default();
        for k in 0..100_000 {
            curve.push(f64::from(k), 2.0 * f64::from(k));
        }
        let points = curve.points();
        assert!(points.len() <= POINTS_MAX && points.len() > POINTS_MAX / 4, "{}", points.len());
        assert!(points.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(points.iter().all(|(x, y)| (y - 2.0 * x).abs() < 1e-6), "a straight line stays straight");
        assert!(points[0].0 < 1_000.0 && points.last().unwrap().0 > 99_000.0);
    }

    #[test]
    fn a_value_measured_again_replaces_the_first_and_no_number_is_passed_over() {
        let mut curve = Curve::default();
        curve.push(1.0, 5.0);
        curve.push(1.0, 4.0);
        curve.push(2.0, f64::NAN);
        curve.push(f64::INFINITY, 1.0);
        assert_eq!(curve.points(), [(1.0, 4.0)]);
        assert_eq!(curve.last(), Some(4.0));
    }
}
