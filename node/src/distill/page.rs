//! The report of a distillation as one HTML page.

use std::fmt::Write;

use crate::distill::outcome::{Line, Outcome};
use crate::distill::picture::picture;
use crate::telemetry::html::{begin, meanings, table, text};

/// The whole page.
pub fn html(outcome: &Outcome) -> String {
    let metric = if outcome.metric == "f1" { "F1" } else { "accuracy" };
    let mut page = begin("Starling distillation", "");
    let _ = write!(
        page,
        "<header>\n<h1>One teacher, {} students</h1>\n<p>{}</p>\n<p class=\"soft\">{} examples trained on, {} scored \
         on, {} epochs, device {}, seed {}, {:.0} s</p>\n</header>\n<main>\n",
        outcome.students.len(),
        text(&outcome.data.display().to_string()),
        outcome.samples_train,
        outcome.samples_score,
        outcome.settings.epochs,
        text(&outcome.device),
        outcome.seed,
        outcome.wall_s
    );
    let _ = write!(
        page,
        "<h2>Score against size</h2>\n<figure class=\"chart\">\n{}<figcaption>Blue: the teacher. Green: students that \
         learned from it. Brown: the same students on labels alone, where compared.</figcaption>\n</figure>\n",
        picture(outcome)
    );
    let cells = |line: &Line| {
        let size = line.parameters as f64 / outcome.teacher.parameters.max(1) as f64;
        vec![
            line.name.clone(),
            line.parameters.to_string(),
            format!("{:.1} %", 100.0 * size),
            line.bytes.to_string(),
            format!("{:.2}", line.latency_ms),
            format!("{:.4}", line.score),
        ]
    };
    let mut rows = vec![cells(&outcome.teacher)];
    rows[0].resize(9, "-".to_owned());
    for student in &outcome.students {
        let mut row = cells(&student.line);
        let interval = student.verdict.difference_interval;
        row.push(format!("{:.1} %", 100.0 * student.kept));
        row.push(student.score_without_teacher.map_or("-".to_owned(), |score| format!("{score:.4}")));
        let word = if student.verdict.is_adopted { "adopted" } else { "refused" };
        row.push(format!(
            "{word}, {:+.4} ({:+.4} to {:+.4})",
            student.verdict.difference, interval.low, interval.high
        ));
        rows.push(row);
    }
    let head =
        ["model", "parameters", "size", "bytes", "latency, ms", metric, "kept", "without teacher", "gate"];
    page += &table("Models", &head, &rows, &[8]);
    page += &meanings(&[
        ("size", "Parameters over the teacher's."),
        ("latency", "Median time to answer one example by itself on this device."),
        ("kept", "The student's score over the teacher's."),
        ("without teacher", "The same student from the same start, trained on labels alone."),
        (
            "gate",
            "Whether the student may take its teacher's place: its score may be lower by the stated margin at most. In \
             brackets the middle 95 % of the difference over examples drawn with replacement.",
        ),
    ]);
    page += "</main>\n</body>\n</html>\n";
    page
}

#[cfg(test)]
mod tests {
    use model::distill::run::Settings;
    use model::fuse::fit::Interval;
    use model::fuse::gate::Verdict;

    use super::*;
    use crate::distill::outcome::Student;

    fn sample(name: &str) -> Outcome {
        let line = |name: &str, parameters, score| Line {
            name: name.to_owned(),
            parameters,
            bytes: 4 * parameters as u64,
            latency_ms: 1.5,
            score,
        };
        let verdict = Verdict {
            is_adopted: true,
            score_candidate: 0.79,
            score_incumbent: 0.8,
            margin: 0.03,
            difference: -0.01,
            difference_interval: Interval { low: -0.02, high: 0.0 },
            samples: 100,
        };
        Outcome {
            teacher: line("teacher", 1000, 0.8),
            students: vec![Student {
                line: line(name, 600, 0.79),
                kept: 0.9875,
                score_without_teacher: Some(0.7),
                verdict,
                model: name.into(),
            }],
            teachers: vec![name.into()],
            metric: "f1".into(),
            settings: Settings::default(),
            data: name.into(),
            samples_train: 10,
            samples_score: 100,
            answers_cached: 0,
            device: "cpu".into(),
            seed: 7,
            wall_s: 1.0,
        }
    }

    #[test]
    fn the_page_shows_every_model_and_loads_nothing() {
        let page = html(&sample("half"));
        for shown in ["0.7900", "98.8 %", "0.7000", "60.0 %", "adopted", "no teacher"] {
            assert!(page.contains(shown), "{shown}");
        }
        let without = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").replace("http-equiv=", "");
        assert!(!without.contains("http") && !without.contains("<script") && !without.contains("src="));
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let page = html(&sample("<script>alert(1)</script>"));
        assert!(!page.contains("<script"));
    }
}
