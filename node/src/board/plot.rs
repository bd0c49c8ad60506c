//! Line charts as inline SVG, drawn on the server so that they need no script.

use maud::{Markup, html};

use crate::board::figures;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 38.0;

/// One line of a chart.
#[derive(Debug)]
pub struct Line<'a> {
    /// Whose.
    pub name: String,
    /// Class of its colour.
    pub class: String,
    /// `(outer step, value)`, in order.
    pub points: &'a [(f64, f64)],
}

/// Draws curves over outer steps; values are multiplied by `factor`.
pub fn curves(label: &str, lines: &[Line<'_>], factor: f64) -> Markup {
    let all = || lines.iter().flat_map(|l| l.points).map(|(x, y)| (*x, y * factor));
    let x = Axis::over(all().map(|p| p.0), true);
    let y = Axis::over(all().map(|p| p.1), false);
    let at = |(px, py): (f64, f64)| {
        let right = LEFT + x.share(px) * (WIDTH - LEFT - RIGHT);
        let down = TOP + (1.0 - y.share(py * factor)) * (HEIGHT - TOP - BOTTOM);
        (right, down)
    };
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            @for tick in y.ticks() {
                @let (_, down) = at((x.low, tick / factor));
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(down)) y2=(round(down)) {}
                text.tick x=(LEFT - 8.0) y=(round(down + 4.0)) text-anchor="end" { (y.label(tick)) }
            }
            @for tick in x.ticks() {
                @let (right, _) = at((tick, y.low / factor));
                text.tick x=(round(right)) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (x.label(tick)) }
            }
            text.axis x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 4.0) text-anchor="middle" { "outer step" }
            @for line in lines {
                @if let [only] = line.points {
                    @let (right, down) = at(*only);
                    circle class=(line.class) cx=(round(right)) cy=(round(down)) r="3.5" { title { (line.name) } }
                } @else {
                    path class=(format!("curve {}", line.class)) d=(path(line.points.iter().map(|p| at(*p)))) {
                        title { (line.name) ": " (line.points.last().map_or(String::new(), |p| figures::score(p.1 * factor))) }
                    }
                }
            }
        }
    }
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    for (x, y) in points {
        let verb = if d.is_empty() { 'M' } else { 'L' };
        d += &format!("{verb}{} {}", round(x), round(y));
    }
    d
}

/// One decimal is finer than any screen shows.
pub fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A range with round marks.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, is_whole: bool) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.abs() < 1e12) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-3) {
            // One value alone gives no scale: show it between nothing and twice as much.
            let reach = if is_whole {
                1.0
            } else if high == 0.0 {
                0.5
            } else {
                high.abs()
            };
            (low, high) = if high == 0.0 { (0.0, 2.0 * reach) } else { (low - reach, high + reach) };
        }
        let rough = (high - low) / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough);
        let mut step = step.unwrap_or(rough);
        if is_whole {
            step = step.round().max(1.0);
        } else {
            low = (low / step).floor() * step;
            high = (high / step).ceil() * step;
        }
        Self { low, high, step }
    }

    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil();
        let last = (self.high / self.step + 1e-9).floor();
        let count = ((last - first) as i64).clamp(0, 12);
        (0..=count).map(|k| (first + k as f64) * self.step).collect()
    }

    fn label(&self, value: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{value:.decimals$}");
        if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') { "0".to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_values_one_value_equal_values_and_wild_values_make_a_picture_without_nan() {
        let sets: [&[(f64, f64)]; 6] = [
            &[],
            &[(1.0, 2.0)],
            &[(1.0, 0.0), (2.0, 0.0)],
            &[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)],
            &[(1.0, 1e300), (2.0, -3.0)],
            &[(0.0, 1e-9), (5e8, 2e-9)],
        ];
        for points in sets {
            let svg =
                curves("loss", &[Line { name: "ada".into(), class: "c0".into(), points }], 1.0).into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
            assert!(svg.len() < 6_000);
        }
    }

    #[test]
    fn marks_are_round_numbers_that_span_the_values() {
        let axis = Axis::over([0.13, 0.87].into_iter(), false);
        let labels: Vec<_> = axis.ticks().into_iter().map(|t| axis.label(t)).collect();
        assert_eq!(labels, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let steps = Axis::over([1.0, 24.0].into_iter(), true);
        assert_eq!(steps.ticks(), [10.0, 20.0]);
    }
}
