//! Curves over virtual time as inline SVG.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use protocol::sim::meter::Row;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 420;
const LINES: [RGBColor; 2] = [RGBColor(0x0F, 0x4C, 0x8A), RGBColor(0xB3, 0x5A, 0x00)];
const INK: RGBColor = RGBColor(0x5A, 0x64, 0x72);
const GRID: RGBColor = RGBColor(0xD5, 0xDA, 0xE0);
/// The least value a logarithmic axis shows.
const LEAST: f64 = 1e-9;

/// One curve.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// The pictures of a run: title and `<svg>` element.
pub fn pictures(rows: &[Row]) -> Vec<(&'static str, String)> {
    let curve = |name, value: &dyn Fn(&Row) -> Option<f64>| Curve {
        name,
        points: rows.iter().filter_map(|row| Some((row.at_s, value(row)?))).collect(),
    };
    let consensus = curve("consensus", &|row| {
        (row.consensus_distance_relative > 0.0).then(|| row.consensus_distance_relative.max(LEAST))
    });
    let steps = [
        curve("middle", &|row| Some(row.step_median.into())),
        curve("last", &|row| Some(row.step_least.into())),
    ];
    let score = curve("score", &|row| row.score);
    let up = curve("up", &|row| Some(row.up.into()));
    let megabytes = curve("MB", &|row| Some(row.bytes as f64 / 1e6));
    vec![
        ("Consensus distance, relative", logarithmic(&consensus)),
        ("Score of a few peers", linear(&[score])),
        ("Outer step: of the middle peer and of the last", linear(&steps)),
        ("Honest peers that are up", linear(&[up])),
        ("Megabytes sent by all", linear(&[megabytes])),
    ]
}

fn spread<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

fn range((low, high): (f64, f64)) -> Range<f64> {
    if low > high {
        return 0.0..1.0;
    }
    let low = low.min(0.0);
    low..high.max(low + 1e-6) * 1.04
}

fn linear(curves: &[Curve]) -> String {
    let y = range(spread(curves.iter().flat_map(|c| c.points.iter().map(|p| &p.1))));
    drawn(curves, y, |y| if y.fract() == 0.0 { format!("{y:.0}") } else { format!("{y:.2}") })
}

fn logarithmic(curve: &Curve) -> String {
    let (low, high) = spread(curve.points.iter().map(|p| &p.1));
    let y = if low > high { 1e-3..1.0 } else { low / 1.5..(high * 1.5).max(low * 10.0) };
    drawn(std::slice::from_ref(curve), y.log_scale(), |y| format!("{y:.0e}"))
}

/// Draws curves; an error of the drawing library becomes a sentence in the picture's place.
fn drawn<Y>(curves: &[Curve], y: Y, label: impl Fn(&f64) -> String) -> String
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let x = range(spread(curves.iter().flat_map(|c| c.points.iter().map(|p| &p.0))));
    let mut svg = String::new();
    let result = {
        let canvas = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let draw = || -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
            let words = || ("sans-serif", 24).into_font().color(&INK);
            let mut chart = ChartBuilder::on(&canvas)
                .margin(10)
                .margin_right(30)
                .x_label_area_size(60)
                .y_label_area_size(90)
                .build_cartesian_2d(x, y)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(GRID)
                .axis_style(INK)
                .label_style(words())
                .x_desc("virtual seconds")
                .y_labels(6)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&label)
                .draw()?;
            for (curve, colour) in curves.iter().zip(LINES) {
                chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(3)))?;
                if let (true, Some(last)) = (curves.len() > 1, curve.points.last()) {
                    chart.draw_series([Text::new(curve.name, *last, words())])?;
                }
            }
            canvas.present()
        };
        draw()
    };
    match result {
        Ok(()) => svg,
        Err(why) => format!("<p>not drawn: {why}</p>"),
    }
}
