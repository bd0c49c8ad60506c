//! The report of a fusion as one HTML page.

use std::fmt::Write;

use model::fuse::compare::Used;
use model::fuse::quality::Quality;

use crate::fuse::outcome::{JudgedOn, Outcome};
use crate::telemetry::html::{begin, meanings, table, text};

/// Widest bar of a weight, in pixels.
const BAR: f64 = 320.0;

/// The whole page.
pub fn html(outcome: &Outcome) -> String {
    let metric = if outcome.metric == "f1" { "F1" } else { "accuracy" };
    let mut page = begin("Starling fusion", "");
    let _ = write!(
        page,
        "<header>\n<h1>{} members, one decision</h1>\n<p>{}</p>\n<p class=\"soft\">rule {}{}, {} examples fitted to, \
         {}, {:.0} s</p>\n</header>\n<main>\n",
        outcome.members.len(),
        text(&outcome.calibrate.display().to_string()),
        outcome.rule,
        match outcome.guard.map(|guard| guard.used) {
            Some(Used::Uniform) => " replaced by equal weights, which did better out of the fit",
            Some(Used::BestSingle) => " replaced by the best member, which did better out of the fit",
            Some(Used::Rule) | None => "",
        },
        outcome.samples_calibrate,
        match outcome.judged_on {
            JudgedOn::Validation => format!("judged on {} others", outcome.samples_judged),
            JudgedOn::CrossValidation => "each judged by a fit without it".to_owned(),
            JudgedOn::Nothing => "none with a label".to_owned(),
        },
        outcome.wall_s
    );
    if let Some(warning) = &outcome.warning {
        let _ = writeln!(page, "<p><strong>Warning:</strong> {}</p>", text(warning));
    }
    for member in &outcome.left_out {
        let (name, why) = (text(&member.name), text(&member.why));
        let _ = writeln!(page, "<p>Left out, because it did not answer: {name} ({why}).</p>");
    }
    if let Some(verdict) = &outcome.verdict {
        let _ = writeln!(
            page,
            "<p>The gate {} it: {metric} {:.4} against {:.4} of the incumbent, difference {:+.4} (95 % {:+.4} to \
             {:+.4}), margin {:.4}.</p>",
            if verdict.is_adopted { "adopted" } else { "refused" },
            verdict.score_candidate,
            verdict.score_incumbent,
            verdict.difference,
            verdict.difference_interval.low,
            verdict.difference_interval.high,
            verdict.margin
        );
    }
    page += &weights(outcome);
    page += &member_table(outcome, metric);
    page += &rule_table(outcome, metric);
    page += &meanings(&[
        (
            "weight",
            "The member's part in the decision; in brackets the middle 95 % over examples drawn with replacement.",
        ),
        ("NLL", "Mean of minus the logarithm of the probability given to the truth; smaller is better."),
        (
            "ECE",
            "Expected calibration error: mean gap between confidence and accuracy over 15 bins of confidence.",
        ),
        (
            "squared",
            "Mean squared distance of the probabilities from the truth: the loss that simplex minimises.",
        ),
        (
            "mean of parameters",
            "One model whose parameters are the mean of all members', where their shapes agree.",
        ),
    ]);
    page += "</main>\n</body>\n</html>\n";
    page
}

/// The weights as bars with their intervals.
fn weights(outcome: &Outcome) -> String {
    let row = 30.0;
    let top = outcome.weights.iter().map(|w| w.abs()).fold(1e-9, f64::max);
    let scale = |value: f64| (BAR * value.abs() / top).min(BAR);
    let height = row * outcome.members.len() as f64;
    let mut svg = format!(
        "<h2>Weights</h2>\n<figure class=\"chart\">\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 {height}\" \
         role=\"img\" aria-label=\"weights of the members\">\n"
    );
    for (number, member) in outcome.members.iter().enumerate() {
        let y = row * number as f64;
        let colour = if member.weight < 0.0 { "#B56A1C" } else { "#1DA371" };
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{:.0}\" font-size=\"14\" fill=\"#6B7584\">{}</text><rect x=\"200\" y=\"{:.0}\" \
             width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.0}\" font-size=\"13\" \
             fill=\"#6B7584\">{:.3}</text>",
            y + 18.0,
            text(&member.name.chars().take(24).collect::<String>()),
            y + 5.0,
            scale(member.weight),
            210.0 + BAR,
            y + 18.0,
            member.weight
        );
        if let Some(interval) = member.interval {
            let _ = writeln!(
                svg,
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y2:.0}\" y2=\"{y2:.0}\" stroke=\"#6B7584\" stroke-width=\"2\"/>",
                200.0 + scale(interval.low),
                200.0 + scale(interval.high),
                y2 = y + 13.0
            );
        }
    }
    svg + "</svg>\n<figcaption>Lines: 95 % intervals.</figcaption>\n</figure>\n"
}

fn member_table(outcome: &Outcome, metric: &str) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let rows: Vec<Vec<String>> = outcome
        .members
        .iter()
        .map(|member| {
            let interval =
                member.interval.map_or(String::new(), |i| format!(" ({:.3} to {:.3})", i.low, i.high));
            vec![
                member.name.clone(),
                format!("{:.3}{interval}", member.weight),
                number(member.score),
                number(member.quality.map(|quality| quality.nll)),
                number(member.quality.map(|quality| quality.ece)),
                number(member.quality.map(|quality| quality.squared)),
                member.hash.chars().take(16).collect(),
            ]
        })
        .collect();
    table(
        "Members, on the calibration set",
        &["member", "weight", metric, "NLL", "ECE", "squared", "hash"],
        &rows,
        &[6],
    )
}

fn rule_table(outcome: &Outcome, metric: &str) -> String {
    if outcome.rules.is_empty() {
        return String::new();
    }
    let row = |name: &str, quality: &Quality| {
        let mut row = vec![name.to_owned()];
        let numbers = [quality.score, quality.nll, quality.ece, quality.squared];
        row.extend(numbers.map(|value| format!("{value:.4}")));
        row
    };
    let mut rows: Vec<Vec<String>> =
        outcome.rules.iter().map(|rule| row(rule.rule.name(), &rule.quality)).collect();
    if let Some(score) = outcome.score_best_single {
        let dash = || "-".to_owned();
        rows.push(vec!["best single".to_owned(), format!("{score:.4}"), dash(), dash(), dash()]);
    }
    if let Some(score) = outcome.score_spans {
        let dash = || "-".to_owned();
        rows.push(vec!["votes for whole entities".to_owned(), format!("{score:.4}"), dash(), dash(), dash()]);
    }
    rows.extend(outcome.averaged.iter().map(|quality| row("mean of parameters", quality)));
    table(
        "Rules, on examples they were not fitted to",
        &["rule", metric, "NLL", "ECE", "squared"],
        &rows,
        &[],
    )
}
