//! Pictures of a testnet: curves over outer steps and the comparison of scores, as inline SVG.
//!
//! It exists so that a report shows how the nodes came together, not only where they ended. It deliberately draws for
//! light paper and names the same colours for a dark screen in a style sheet, so that one picture fits both.

#![allow(clippy::format_push_string, reason = "a report is written once, and a line per piece reads best")]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::testnet::outcome::{Outcome, Series};
use crate::testnet::table::{percent, score, short};

/// Line colours, on white and on the dark background of the page.
///
/// Any two of them stay at least 18 apart in CIELAB for full and for each kind of two-colour vision, and each has a
/// contrast of at least 3 to its background.
const LINES: [(RGBColor, &str); 6] = [
    (RGBColor(0x0F, 0x4C, 0x8A), "#9DB8FA"),
    (RGBColor(0x6E, 0x2E, 0x00), "#C4792B"),
    (RGBColor(0x1D, 0xA3, 0x71), "#4FF1A2"),
    (RGBColor(0xDC, 0x32, 0xC0), "#E0489A"),
    (RGBColor(0xAF, 0x8C, 0x1C), "#F4DA16"),
    (RGBColor(0x7A, 0x2B, 0xE0), "#8F55FF"),
];

/// Text and axes.
const INK: (RGBColor, &str) = (RGBColor(0x3A, 0x42, 0x4E), "#C6CCD6");

/// Grid lines.
const GRID: (RGBColor, &str) = (RGBColor(0xE1, 0xE5, 0xEA), "#2B313B");

/// The page itself, inside of rings.
const PAPER: (RGBColor, &str) = (RGBColor(0xFF, 0xFF, 0xFF), "#14171C");

/// Nodes that get a line style of their own: every colour solid, then every colour dashed.
const STYLED_MAX: usize = 2 * LINES.len();

/// Rows of the comparison; beyond them the table has to do.
const ROWS_MAX: usize = 40;

/// Points per curve; more are averaged.
const POINTS_MAX: usize = 240;

/// Values beyond this are no measurement, and axes for them cannot be labelled.
const VALUE_MAX: f64 = 1e12;

/// Width of a picture in its own units; the page scales it.
const WIDTH: u32 = 960;

/// Height of a picture of curves in its own units.
const HEIGHT: u32 = 520;

/// Size of text, in the same units.
const TEXT: i32 = 31;

/// One picture with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// An `<svg>` element; empty where it could not be drawn, and the caption says why.
    pub svg: String,
}

/// Which line belongs to which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The node.
    pub name: String,
    /// Colour, an index that [`style_sheet`] names `.line-N`.
    pub slot: usize,
    /// Whether the line is dashed.
    pub is_dashed: bool,
}

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The pictures that the outcome has data for.
pub fn charts(outcome: &Outcome) -> Vec<Chart> {
    let metric = outcome.metric_label();
    let mut charts = vec![comparison(outcome)];
    let plans = [
        ("loss", "Training loss".to_owned(), "Mean over the inner steps of each outer step.", 1.0),
        (
            "score",
            format!("{metric} while training"),
            "Each node on held-out examples of its own; the comparison is on the common test data.",
            1.0,
        ),
        (
            "consensus_distance_relative",
            "Consensus distance, %".to_owned(),
            "Each node's estimate from the sketches of its peers, relative to the distance from genesis.",
            100.0,
        ),
    ];
    for (name, title, caption, factor) in plans {
        let curves = outcome.curves(name);
        if curves.is_empty() {
            continue;
        }
        let lines = lines(outcome, &curves, factor);
        let longest = curves.iter().map(|c| c.points.len()).max().unwrap_or(0);
        let mut caption = caption.to_owned();
        if longest > POINTS_MAX {
            caption += &format!(" Each point is the mean of {} values.", longest.div_ceil(POINTS_MAX));
        }
        charts.push(picture(title, caption, HEIGHT, |canvas| curves_on(canvas, &lines)));
    }
    charts
}

/// The legend of the curves; empty where there are too many nodes to tell apart.
pub fn legend(outcome: &Outcome) -> Vec<Key> {
    if outcome.nodes.len() > STYLED_MAX {
        return Vec::new();
    }
    let key = |(i, name): (usize, &String)| Key {
        name: name.clone(),
        slot: i % LINES.len(),
        is_dashed: i >= LINES.len(),
    };
    outcome.nodes.iter().map(|n| &n.name).enumerate().map(key).collect()
}

/// CSS: the colours of a dark screen for everything drawn here, and `.line-N` for legends.
pub fn style_sheet() -> String {
    let css = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let mut light = String::new();
    let mut dark = String::new();
    for (slot, (colour, on_dark)) in LINES.iter().enumerate() {
        light += &format!(".line-{slot}{{color:{}}}\n", css(*colour));
        dark += &format!(".line-{slot}{{color:{on_dark}}}\n");
    }
    for (colour, on_dark) in LINES.iter().chain([&INK, &GRID, &PAPER]) {
        let colour = css(*colour);
        dark += &format!(".chart [fill=\"{colour}\"]{{fill:{on_dark}}}\n");
        dark += &format!(".chart [stroke=\"{colour}\"]{{stroke:{on_dark}}}\n");
    }
    format!("{light}@media (prefers-color-scheme:dark){{\n{dark}}}\n")
}

/// One line of a picture.
struct Line {
    points: Vec<(f64, f64)>,
    colour: RGBAColor,
    stroke: u32,
    is_dashed: bool,
}

/// The lines of some curves: one style per node, or all alike with their mean where there are many.
fn lines(outcome: &Outcome, curves: &[&Series], factor: f64) -> Vec<Line> {
    let scaled = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let usable = points.iter().map(|(x, y)| (*x, y * factor));
        thinned(&usable.filter(|(x, y)| x.abs() <= VALUE_MAX && y.abs() <= VALUE_MAX).collect::<Vec<_>>())
    };
    let keys = legend(outcome);
    if keys.is_empty() {
        let thin = |c: &&Series| Line {
            points: scaled(&c.points),
            colour: INK.0.mix(0.35),
            stroke: 2,
            is_dashed: false,
        };
        let mut lines: Vec<Line> = curves.iter().map(thin).collect();
        let points = scaled(&mean(curves));
        lines.push(Line { points, colour: LINES[0].0.to_rgba(), stroke: 6, is_dashed: false });
        return lines;
    }
    curves
        .iter()
        .filter_map(|curve| {
            let key = keys.iter().find(|key| key.name == curve.node)?;
            let colour = LINES[key.slot].0.to_rgba();
            Some(Line { points: scaled(&curve.points), colour, stroke: 4, is_dashed: key.is_dashed })
        })
        .collect()
}

/// Mean over the curves at every outer step at which one of them has a value.
fn mean(curves: &[&Series]) -> Vec<(f64, f64)> {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (outer, value) in curves.iter().flat_map(|c| &c.points) {
        let sum = sums.entry(*outer as u64).or_default();
        *sum = (sum.0 + value, sum.1 + 1.0);
    }
    sums.into_iter().map(|(outer, (sum, count))| (outer as f64, sum / count)).collect()
}

/// At most [`POINTS_MAX`] points, each the mean of as many neighbours.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS_MAX).max(1);
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        (part.iter().map(|p| p.0).sum::<f64>() / n, part.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(each).map(mean).collect()
}

/// Draws into an `<svg>` element.
fn picture(title: String, caption: String, height: u32, draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Chart {
    let mut svg = String::new();
    let drawn = {
        let canvas = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&canvas).and_then(|()| canvas.present())
    };
    match drawn {
        Ok(()) => {
            let svg = svg.replacen("<svg ", "<svg role=\"img\" aria-hidden=\"true\" ", 1);
            Chart { title, caption, svg }
        }
        Err(why) => Chart { title, caption: format!("{caption} Not drawn: {why}."), svg: String::new() },
    }
}

fn curves_on(canvas: &Canvas<'_>, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x = padded(points().map(|p| p.0), None);
    let y = padded(points().map(|p| p.1), Some(0.0));
    let mut chart = ChartBuilder::on(canvas)
        .margin(8)
        .margin_right(28)
        .x_label_area_size(80)
        .y_label_area_size(96)
        .build_cartesian_2d(x, y.clone())?;
    let decimals = decimals(&y);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.0.stroke_width(2))
        .axis_style(INK.0.stroke_width(2))
        .label_style(words())
        .x_desc("outer step")
        .x_labels(8)
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() })
        .y_labels(6)
        .y_label_formatter(&|y| format!("{y:.decimals$}"))
        .draw()?;
    for line in lines {
        let style = line.colour.stroke_width(line.stroke);
        if let [only] = line.points[..] {
            chart.draw_series([Circle::new(only, 7, line.colour.filled())])?;
        } else if line.is_dashed {
            chart.draw_series(DashedLineSeries::new(line.points.iter().copied(), 16, 10, style))?;
        } else {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        }
    }
    Ok(())
}

/// Scores alone and together, a row per node, with the pooled score as a line through all rows.
fn comparison(outcome: &Outcome) -> Chart {
    let metric = outcome.metric_label();
    let shown = &outcome.nodes[..outcome.nodes.len().min(ROWS_MAX)];
    let has_alone = shown.iter().any(|n| n.score_alone.is_some());
    let title = if has_alone { format!("{metric} alone and together") } else { format!("{metric} together") };
    let mut caption = if has_alone {
        "Hollow: trained alone. Filled: trained together.".to_owned()
    } else {
        "Filled: trained together.".to_owned()
    };
    if let Some(pooled) = outcome.score_pooled {
        caption += &format!(" Line: pooled data, one machine ({}).", score(pooled));
    }
    if shown.len() < outcome.nodes.len() {
        caption += &format!(" The first {} of {} nodes.", shown.len(), outcome.nodes.len());
    }
    let rows: Vec<(String, Option<f64>, f64)> = shown
        .iter()
        .filter(|n| n.score_together.abs() <= VALUE_MAX)
        .map(|n| (short(&n.name, 14), n.score_alone.filter(|v| v.abs() <= VALUE_MAX), n.score_together))
        .collect();
    let pooled = outcome.score_pooled.filter(|v| v.abs() <= VALUE_MAX);
    let height = 130 + 64 * rows.len().max(1) as u32;
    picture(title, caption, height, |canvas| comparison_on(canvas, &rows, pooled))
}

fn comparison_on(canvas: &Canvas<'_>, rows: &[(String, Option<f64>, f64)], pooled: Option<f64>) -> Drawn {
    let values = rows.iter().flat_map(|row| [row.1, Some(row.2)]).flatten().chain(pooled);
    let x = padded(values, None);
    let longest = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    let top = rows.len().max(1) as f64 - 0.5;
    let mut chart = ChartBuilder::on(canvas)
        .margin(8)
        .margin_right(40)
        .x_label_area_size(46)
        // About 0.62 of the height of the text per letter.
        .y_label_area_size(30 + longest as u32 * 17)
        .build_cartesian_2d(x.clone(), -0.5..top)?;
    let decimals = decimals(&x).max(1);
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.0.stroke_width(2))
        .axis_style(INK.0.stroke_width(2))
        .label_style(words())
        .x_labels(8)
        .x_label_formatter(&|x| format!("{x:.decimals$}"))
        .draw()?;
    if let Some(pooled) = pooled {
        let style = INK.0.stroke_width(3);
        chart.draw_series(DashedLineSeries::new([(pooled, -0.5), (pooled, top)], 12, 8, style))?;
    }
    let name_style = words().pos(Pos::new(HPos::Right, VPos::Center));
    for (i, (name, alone, together)) in rows.iter().enumerate() {
        let y = (rows.len() - 1 - i) as f64;
        let label = Text::new(name.clone(), (-18, 0), name_style.clone());
        chart.draw_series([EmptyElement::at((x.start, y)) + label])?;
        let colour = LINES[0].0;
        if let Some(alone) = *alone {
            chart.draw_series([PathElement::new([(alone, y), (*together, y)], colour.stroke_width(4))])?;
            chart.draw_series([Circle::new((alone, y), 11, PAPER.0.filled())])?;
            chart.draw_series([Circle::new((alone, y), 11, colour.stroke_width(5))])?;
        }
        chart.draw_series([Circle::new((*together, y), 13, colour.filled())])?;
    }
    Ok(())
}

fn words() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&INK.0)
}

/// A range around the values, from `floor` where that is given and below them; never empty, always finite.
fn padded(values: impl Iterator<Item = f64>, floor: Option<f64>) -> Range<f64> {
    let (mut low, mut high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    if let Some(floor) = floor.filter(|f| *f <= low) {
        low = floor;
    }
    // A range that is too narrow for the numbers at its ends has no labels between them.
    let least = (low.abs().max(high.abs()) * 1e-3).max(1e-6);
    if high - low < least {
        (low, high) = (low - least / 2.0, high + least / 2.0);
    }
    let pad = (high - low) * 0.04;
    let low = if floor == Some(low) { low } else { low - pad };
    low..high + pad
}

/// Decimals that tell the labels of an axis apart.
fn decimals(range: &Range<f64>) -> usize {
    let step = (range.end - range.start) / 6.0;
    (-(step.log10().floor())).clamp(0.0, 9.0) as usize
}

/// What the pictures say, in one sentence for those who cannot see them.
pub fn in_words(outcome: &Outcome) -> String {
    let ends = |name: &str, write: fn(f64) -> String| {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for curve in outcome.curves(name) {
            first.extend(curve.points.first().map(|p| p.1));
            last.extend(curve.points.last().map(|p| p.1));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        (!first.is_empty()).then(|| format!("from {} to {}", write(mean(&first)), write(mean(&last))))
    };
    let parts = [
        ends("loss", score).map(|t| format!("the training loss went {t}")),
        ends("score", score).map(|t| format!("{} on held-out examples {t}", outcome.metric_label())),
        ends("consensus_distance_relative", percent).map(|t| format!("the estimated consensus distance {t}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("As a mean over the nodes, {}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::outcome::tests::sample;

    fn titles(outcome: &Outcome) -> Vec<String> {
        charts(outcome).into_iter().map(|chart| chart.title).collect()
    }

    #[test]
    fn there_is_a_picture_for_every_metric_that_was_measured() {
        let mut outcome = sample();
        assert_eq!(
            titles(&outcome),
            ["F1 alone and together", "Training loss", "F1 while training", "Consensus distance, %"]
        );
        outcome.series.retain(|s| s.name == "loss");
        outcome.nodes.iter_mut().for_each(|n| n.score_alone = None);
        assert_eq!(titles(&outcome), ["F1 together", "Training loss"]);
    }

    #[test]
    fn every_node_has_its_own_line_style_and_a_crowd_has_a_mean() {
        let mut outcome = sample();
        let node = outcome.nodes[0].clone();
        let curve = outcome.series[1].clone();
        for (n, keys, lines) in [(12, 12, 12), (30, 0, 31)] {
            outcome.nodes = (0..n)
                .map(|i| crate::testnet::outcome::NodeOutcome { name: format!("n{i}"), ..node.clone() })
                .collect();
            outcome.series = (0..n)
                .map(|i| Series { node: format!("n{i}"), name: "loss".into(), ..curve.clone() })
                .collect();
            let mut styles: Vec<(usize, bool)> =
                legend(&outcome).iter().map(|key| (key.slot, key.is_dashed)).collect();
            styles.sort_unstable();
            styles.dedup();
            assert_eq!(styles.len(), keys);
            assert_eq!(super::lines(&outcome, &outcome.curves("loss"), 1.0).len(), lines);
        }
    }

    #[test]
    fn a_curve_is_where_its_values_are() {
        let mut outcome = sample();
        outcome.nodes.truncate(1);
        outcome.series.retain(|s| s.node == "ada" && s.name == "loss");
        outcome.series[0].points = vec![(1.0, 4.0), (2.0, 2.0), (3.0, 0.0)];
        let svg = charts(&outcome)[1].svg.clone();
        let at = svg.find("stroke=\"#0F4C8A\"").unwrap();
        let points = svg[at..].split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(i32, i32)> = points
            .split_whitespace()
            .map(|p| p.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        let [a, b, c] = points[..] else { panic!("three points, found {points:?}") };
        assert!(a.1 < b.1 && b.1 < c.1, "less is lower: {points:?}");
        assert!((b.0 - a.0 - (c.0 - b.0)).abs() <= 1 && (b.1 - a.1 - (c.1 - b.1)).abs() <= 1, "{points:?}");
    }

    #[test]
    fn no_value_breaks_a_picture() {
        let mut outcome = sample();
        let odd: [&[(f64, f64)]; 6] = [
            &[(1.0, 1e300), (2.0, 1.0)],
            &[(1.0, 5.0)],
            &[(7.0, 1e11), (8.0, 1e11)],
            &[(1.0, -3.0), (4e9, -3.0 - 1e-15)],
            &[(1.0, 0.0), (1.0, 0.0)],
            &[(1.0, f64::NAN), (f64::INFINITY, 0.0)],
        ];
        for points in odd {
            for series in &mut outcome.series {
                series.points = points.to_vec();
            }
            outcome.nodes[0].score_together = points[0].1;
            outcome.score_pooled = Some(points[0].1);
            for chart in charts(&outcome) {
                assert!(chart.svg.ends_with("</svg>\n"), "{points:?} {chart:?}");
                assert!(!chart.svg.contains("NaN") && !chart.svg.contains("inf"), "{points:?} {}", chart.svg);
            }
        }
        outcome.nodes.clear();
        outcome.series.clear();
        assert_eq!(charts(&outcome).len(), 1);
        assert_eq!(in_words(&outcome), "");
    }

    #[test]
    fn a_long_run_makes_no_long_picture() {
        let mut outcome = sample();
        outcome.series.truncate(1);
        outcome.series[0].points = (0..100_000).map(|k| (f64::from(k), f64::from(k % 7))).collect();
        let chart = &charts(&outcome)[1];
        assert!(chart.svg.len() < 20_000, "{} bytes", chart.svg.len());
        assert!(chart.caption.ends_with("Each point is the mean of 417 values."), "{}", chart.caption);
    }

    #[test]
    fn the_words_say_where_the_curves_begin_and_end() {
        let mut outcome = sample();
        outcome.series.retain(|s| s.name == "loss");
        outcome.series[0].points = vec![(1.0, 2.0), (2.0, 1.0)];
        outcome.series[1].points = vec![(1.0, 3.0), (2.0, 0.5)];
        assert_eq!(
            in_words(&outcome),
            "As a mean over the nodes, the training loss went from 2.500 to 0.750."
        );
    }
}
