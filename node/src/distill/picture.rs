//! The picture of a distillation: score against size.
//!
//! It deliberately draws for light paper with colours that keep their contrast on a dark page too.

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::distill::outcome::Outcome;
use crate::telemetry::escape;

/// Width and height in the picture's own units; the page scales it.
const SIZE: (u32, u32) = (960, 520);

/// Size of text, in the same units.
const TEXT: i32 = 26;

/// Text and axes, grid, the teacher, students, students without a teacher.
const INK: RGBColor = RGBColor(0x6B, 0x75, 0x84);
const GRID: RGBColor = RGBColor(0xC3, 0xC9, 0xD1);
const TEACHER: RGBColor = RGBColor(0x2A, 0x6F, 0xBB);
const STUDENT: RGBColor = RGBColor(0x1D, 0xA3, 0x71);
const ALONE: RGBColor = RGBColor(0xB5, 0x6A, 0x1C);

/// A dot with its name.
struct Dot {
    name: String,
    size: f64,
    score: f64,
    colour: RGBColor,
}

type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// An `<svg>` element; empty where it could not be drawn.
pub fn picture(outcome: &Outcome) -> String {
    let mut svg = String::new();
    let drawn = {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&canvas, &dots(outcome), &outcome.metric).and_then(|()| canvas.present())
    };
    if drawn.is_ok() { svg } else { String::new() }
}

fn dots(outcome: &Outcome) -> Vec<Dot> {
    let mut dots =
        vec![Dot { name: "teacher".to_owned(), size: 100.0, score: outcome.teacher.score, colour: TEACHER }];
    for student in &outcome.students {
        let size = 100.0 * student.size(&outcome.teacher);
        let name = escape::line(&student.line.name);
        if let Some(score) = student.score_without_teacher {
            dots.push(Dot { name: format!("{name}, no teacher"), size, score, colour: ALONE });
        }
        dots.push(Dot { name, size, score: student.line.score, colour: STUDENT });
    }
    dots
}

fn draw(canvas: &DrawingArea<SVGBackend<'_>, Shift>, dots: &[Dot], metric: &str) -> Drawn {
    let scores = || dots.iter().map(|dot| dot.score);
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(0.0, f64::max));
    let room = (0.25 * (high - low)).max(0.01);
    let widest = dots.iter().map(|dot| dot.size).fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(canvas)
        .margin(12)
        .margin_right(40)
        .x_label_area_size(70)
        .y_label_area_size(100)
        .build_cartesian_2d(0.0..1.12 * widest, (low - room).max(0.0)..(high + room).min(1.05))?;
    let words = ("sans-serif", TEXT).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(1))
        .light_line_style(TRANSPARENT)
        .axis_style(INK.stroke_width(2))
        .label_style(words.clone())
        .x_desc("parameters, % of the teacher's")
        .y_desc(if metric == "f1" { "F1" } else { "accuracy" })
        .y_label_formatter(&|score| format!("{score:.3}"))
        .x_label_formatter(&|size| format!("{size:.0}"))
        .draw()?;
    for dot in dots {
        let at = (dot.size, dot.score);
        chart.draw_series([Circle::new(at, 8, dot.colour.filled())])?;
        // Names to the left of dots at the right edge, so that they stay inside.
        let shift = if dot.size > 0.8 * widest {
            (-14 - 13 * dot.name.chars().count() as i32, -34)
        } else {
            (12, -30)
        };
        let name = EmptyElement::at(at) + Text::new(dot.name.clone(), shift, words.clone());
        chart.draw_series([name])?;
    }
    Ok(())
}
