//! What cooperation brought: the same terms alone and with pooled data, and every model on the same test file.

use std::path::Path;

use model::eval::report::Report;

use crate::testnet::launch::Job;
use crate::trainer::translate::Place;

/// Trains on this data under the charter's terms; the model goes to `out`.
pub fn train_job(name: &str, bundle: &Path, data: &Path, steps: u64, place: &Place, out: &Path) -> Job {
    let mut args = vec![
        "train".to_owned(),
        "--charter".to_owned(),
        bundle.display().to_string(),
        "--data".to_owned(),
        data.display().to_string(),
        "--out".to_owned(),
        out.display().to_string(),
        "--steps".to_owned(),
        steps.to_string(),
        "--device".to_owned(),
        place.device.clone(),
    ];
    args.extend(place.variant.iter().flat_map(|name| ["--variant".to_owned(), name.clone()]));
    Job { name: name.to_owned(), args, log: out.with_extension("log"), threads: place.threads }
}

/// Scores a model on the test file; the result goes to `out`.
pub fn eval_job(name: &str, model: &Path, test: &Path, out: &Path) -> Job {
    let args = [
        "eval",
        "--format",
        "json",
        "--model",
        &model.display().to_string(),
        "--data",
        &test.display().to_string(),
    ];
    let args = args.iter().map(ToString::to_string).collect();
    Job { name: name.to_owned(), args, log: out.to_owned(), threads: 1 }
}

/// Reads what an evaluation job printed.
pub fn read_evaluation(out: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let line = text
        .lines()
        .find(|l| l.starts_with('{'))
        .ok_or_else(|| format!("{}: no result in it", out.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|e| format!("{}: {e}", out.display()))?;
    serde_json::from_value(value["data"].clone()).map_err(|e| format!("{}: {e}", out.display()))
}

/// Relative consensus distance of several models: root mean square distance from their mean over its norm.
pub fn consensus_relative(models: &[Vec<f32>]) -> f64 {
    let Some(first) = models.first() else { return 0.0 };
    let n = models.len() as f64;
    let (mut spread, mut size) = (0.0, 0.0);
    for k in 0..first.len() {
        let mean = models.iter().map(|m| f64::from(m[k])).sum::<f64>() / n;
        spread += models.iter().map(|m| (f64::from(m[k]) - mean).powi(2)).sum::<f64>() / n;
        size += mean * mean;
    }
    if size > 0.0 { (spread / size).sqrt() } else { 0.0 }
}
