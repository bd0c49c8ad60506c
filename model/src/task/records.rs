//! Records to rows: several modalities for joined towers, images alone for a perceptron or a patch encoder.

use std::sync::Arc;

use crate::arch::config::ArchConfig;
use crate::data::batch::IGNORE;
use crate::data::dataset::Dataset;
use crate::data::neighbourhoods::Surroundings;
use crate::data::record_rows::{RecordRows, Row};
use crate::data::records::RecordPart;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// Encodes records with their classes for a model.
///
/// # Errors
/// The records lack what the model reads, or have it in another size.
pub fn encode(
    part: &RecordPart,
    arch: &ArchConfig,
    tokenizer: Option<&Tokenizer>,
    tokens_max: usize,
) -> Result<Dataset> {
    let classes = part.iter().map(|record| record.label.map_or(IGNORE, |label| label as i32)).collect();
    let pixels = part.records.form.pixels();
    let ArchConfig::Multimodal(config) = arch else {
        let mut values = Vec::with_capacity(part.chosen.len() * pixels);
        for (record, number) in part.iter().zip(&part.chosen) {
            let image = record.image.as_ref().ok_or_else(|| {
                Error::shape(format!("record {number}"), "an image, as this model reads nothing else", "none")
            })?;
            values.extend(image.iter().map(|pixel| f32::from(*pixel) / 255.0));
        }
        return Dataset::dense(values, pixels.max(1), classes);
    };
    let form = &part.records.form;
    let image =
        config.image.as_ref().map_or(0, |image| image.num_channels * image.image_size * image.image_size);
    if image > 0 && pixels > 0 && image != pixels {
        return Err(Error::shape("values of an image", image, pixels));
    }
    let columns = config.table.as_ref().map_or(0, |table| table.columns);
    if columns > 0 && !form.columns.is_empty() && columns != form.columns.len() {
        return Err(Error::shape("columns of a record", columns, form.columns.len()));
    }
    let surroundings = match (&config.graph, part.records.graph()) {
        (Some(sizes), Some(graph)) => {
            Some(Arc::new(Surroundings::new(graph, sizes.num_layers, sizes.fan_out)))
        }
        _ => None,
    };
    let tokenizer = match (&config.text, tokenizer) {
        (Some(_), None) => {
            let reason = "expected a tokenizer beside a model that reads texts, found none";
            return Err(Error::config("tokenizer", reason));
        }
        (Some(_), Some(tokenizer)) => Some(tokenizer),
        (None, _) => None,
    };
    let has_graph = surroundings.is_some();
    let pad = tokenizer.map_or(0, Tokenizer::pad);
    let mut rows = RecordRows::new(tokenizer.is_some(), pad, image, columns, surroundings);
    for (record, number) in part.iter().zip(&part.chosen) {
        let ids = match (&record.text, tokenizer) {
            (Some(text), Some(tokenizer)) => tokenizer.encode_text(text, tokens_max)?.ids,
            _ => Vec::new(),
        };
        rows.push(Row {
            ids: &ids,
            image: record.image.as_deref().filter(|_| image > 0),
            table: if columns > 0 { &record.table } else { &[] },
            node: has_graph.then_some(*number),
        });
    }
    Dataset::records(rows, classes)
}
