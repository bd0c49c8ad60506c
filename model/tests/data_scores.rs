//! Scores against those of seqeval 1.2.2 and scikit-learn, digit for digit (golden/make_scores.py made the numbers).

use std::collections::BTreeMap;

use model::data::labels::LabelSet;
use model::eval::report::{Report, Score};
use model::eval::tagging::{Matching, score};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    tagging: Vec<TaggingCase>,
    classes: Vec<ClassesCase>,
}

#[derive(Deserialize)]
struct TaggingCase {
    types: Vec<String>,
    truth: Vec<String>,
    guess: Vec<String>,
    accuracy: f64,
    default: Said,
    strict: Said,
}

#[derive(Deserialize)]
struct Said {
    text: String,
    numbers: BTreeMap<String, (f64, f64, f64, u64)>,
}

#[derive(Deserialize)]
struct ClassesCase {
    names: Vec<String>,
    truth: String,
    guess: String,
    text: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/scores.json")).expect("the golden file is JSON")
}

fn ids(labels: &LabelSet, text: &str) -> Vec<u32> {
    text.split_whitespace().map(|name| labels.id(name).expect("a known label")).collect()
}

fn assert_numbers(report: &Report, said: &Said) {
    let mut ours: BTreeMap<String, Score> =
        report.per_label.iter().map(|entry| (entry.label.clone(), entry.score)).collect();
    ours.insert("micro avg".into(), report.micro.expect("tagging has a micro average"));
    ours.insert("macro avg".into(), report.macro_average);
    ours.insert("weighted avg".into(), report.weighted);
    assert_eq!(ours.keys().collect::<Vec<_>>(), said.numbers.keys().collect::<Vec<_>>());
    for (name, (precision, recall, f1, support)) in &said.numbers {
        let score = ours[name];
        assert_eq!(score.support, *support, "{name}");
        // A mean over many labels is summed in another order there: the last bit or two may differ.
        for (ours, theirs) in [(score.precision, precision), (score.recall, recall), (score.f1, f1)] {
            assert!((ours - theirs).abs() < 1e-14, "{name}: {ours} {theirs}");
        }
    }
}

#[test]
fn entity_scores_and_their_table_equal_those_of_seqeval_in_both_modes() {
    for (number, case) in golden().tagging.iter().enumerate() {
        let labels = LabelSet::tagging(case.types.clone()).unwrap();
        let truth: Vec<Vec<u32>> = case.truth.iter().map(|tags| ids(&labels, tags)).collect();
        let guess: Vec<Vec<u32>> = case.guess.iter().map(|tags| ids(&labels, tags)).collect();
        for (matching, said) in [(Matching::Default, &case.default), (Matching::Strict, &case.strict)] {
            let report = score(&labels, matching, &truth, &guess).unwrap();
            assert_eq!(report.to_string(), said.text, "case {number}, {matching:?}");
            assert_numbers(&report, said);
            assert!((report.accuracy - case.accuracy).abs() < 1e-14, "case {number}");
        }
    }
}

#[test]
fn class_scores_and_their_table_equal_those_of_scikit_learn() {
    for case in golden().classes {
        let labels = LabelSet::classes(case.names).unwrap();
        let report =
            model::eval::classify::score(&labels, &ids(&labels, &case.truth), &ids(&labels, &case.guess))
                .unwrap();
        assert_eq!(report.to_string(), case.text);
    }
}
