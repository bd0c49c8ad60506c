//! From a batch to what a network reads: sizes checked, nothing copied.

use crate::arch::config::Head;
use crate::arch::input::Input;
use crate::arch::neighbourhood::Neighbourhood;
use crate::arch::records::{Nodes, Numbers, Records, Texts};
use crate::data::batch::{Batch, IGNORE, Inputs, NodeBatch, NumberBatch, RecordBatch, Targets};
use crate::error::{Error, Result};
use crate::ops::bag::Lists;
use crate::ops::wanted::Wanted;

/// What a network reads of a batch.
///
/// # Errors
/// The sizes do not fit together.
pub fn input_of(batch: &Batch) -> Result<Input<'_>> {
    let (found, input) = match &batch.inputs {
        Inputs::Tokens { ids, lengths } => {
            if lengths.len() != batch.rows {
                return Err(Error::shape("sequences in a batch", batch.rows, lengths.len()));
            }
            (ids.len(), Input::Tokens { ids, lengths, width: batch.width })
        }
        Inputs::Dense { values } => (values.len(), Input::Dense { values, width: batch.width }),
        Inputs::Nodes(nodes) => return Ok(Input::Nodes(nodes_of(nodes, batch.rows)?)),
        Inputs::Pairs(nodes) => return Ok(Input::Nodes(nodes_of(nodes, batch.rows.saturating_mul(2))?)),
        Inputs::Records(records) => return records_of(records, batch.rows),
    };
    let expected = batch.rows.checked_mul(batch.width);
    if expected == Some(found) && found > 0 {
        return Ok(input);
    }
    let expected =
        expected.map_or_else(|| "a size that fits memory".into(), |size| format!("{size}, at least 1"));
    Err(Error::shape("inputs in a batch", expected, found))
}

/// The nodes of a batch; the architecture checks that their lists fit together.
fn nodes_of(nodes: &NodeBatch, rows: usize) -> Result<Neighbourhood<'_>> {
    if nodes.hops.first().copied() != Some(rows as u32) {
        return Err(Error::shape("nodes in a batch", rows, nodes.hops.first().copied().unwrap_or(0)));
    }
    let lists = |starts, entries| Lists { starts, entries };
    Ok(Neighbourhood {
        hops: &nodes.hops,
        neighbours: lists(&nodes.neighbour_starts, &nodes.neighbours),
        features: lists(&nodes.feature_starts, &nodes.features),
    })
}

/// The modalities of a batch; the architecture checks rows and values.
fn records_of(batch: &RecordBatch, rows: usize) -> Result<Input<'_>> {
    let numbers = |of: &'_ NumberBatch| -> Result<()> {
        if of.rows.len().checked_mul(of.width) == Some(of.values.len()) {
            return Ok(());
        }
        Err(Error::shape(
            "values in a batch",
            format!("{} rows of {}", of.rows.len(), of.width),
            of.values.len(),
        ))
    };
    numbers(&batch.image)?;
    numbers(&batch.table)?;
    if batch.lengths.len() != batch.text_rows.len() {
        return Err(Error::shape("texts in a batch", batch.text_rows.len(), batch.lengths.len()));
    }
    let graph = match batch.graph_rows.len() {
        0 => None,
        count => Some(Nodes { rows: &batch.graph_rows, nodes: nodes_of(&batch.nodes, count)? }),
    };
    let given = |of: &'_ NumberBatch| (!of.rows.is_empty()).then_some(());
    Ok(Input::Records(Records {
        rows,
        text: (!batch.text_rows.is_empty()).then_some(Texts {
            rows: &batch.text_rows,
            ids: &batch.ids,
            lengths: &batch.lengths,
            width: batch.text_width,
        }),
        image: given(&batch.image).map(|()| borrowed(&batch.image)),
        table: given(&batch.table).map(|()| borrowed(&batch.table)),
        graph,
    }))
}

fn borrowed(of: &NumberBatch) -> Numbers<'_> {
    Numbers { rows: &of.rows, values: &of.values, width: of.width }
}

/// Checks the targets of a batch whose inputs were checked, and lays them out by output; `targets` is room for that.
///
/// # Errors
/// They are of another task, out of range, or too many or few.
pub fn targets_of<'a>(head: &Head, batch: &'a Batch, targets: &'a mut Vec<i32>) -> Result<Wanted<'a>> {
    let labels = head.labels();
    let check = |target: i32| {
        if target == IGNORE || usize::try_from(target).is_ok_and(|target| target < labels) {
            return Ok(());
        }
        Err(Error::shape("target label", format!("{IGNORE} or 0 to {}", labels - 1), target))
    };
    targets.clear();
    match (head, &batch.targets, &batch.inputs) {
        (
            Head::Tagging { .. } | Head::Language { .. },
            Targets::Tags(tags),
            Inputs::Tokens { lengths, .. },
        ) => {
            if tags.len() != batch.rows * batch.width || lengths.len() != batch.rows {
                return Err(Error::shape("tags in a batch", batch.rows * batch.width, tags.len()));
            }
            for (row, length) in tags.chunks_exact(batch.width.max(1)).zip(lengths) {
                let (tokens, padding) = row.split_at((*length as usize).min(row.len()));
                tokens.iter().try_for_each(|tag| check(*tag))?;
                if padding.iter().any(|tag| *tag != IGNORE) {
                    return Err(Error::shape("target at padding", IGNORE, "a label"));
                }
                targets.extend_from_slice(tokens);
            }
        }
        (Head::Classification { .. } | Head::Pair { .. }, Targets::Classes(classes), _) => {
            if classes.len() != batch.rows {
                return Err(Error::shape("classes in a batch", batch.rows, classes.len()));
            }
            classes.iter().try_for_each(|class| check(*class))?;
            targets.extend_from_slice(classes);
        }
        (Head::Classification { .. }, Targets::Marks(values), _) => {
            numbers_of(values, batch.rows, labels, |mark| mark == 0.0 || mark == 1.0, "0 or 1")?;
            return Ok(Wanted::Marks(values));
        }
        (Head::Classification { .. }, Targets::Numbers(values), _) => {
            numbers_of(values, batch.rows, labels, f32::is_finite, "a finite number")?;
            return Ok(Wanted::Numbers(values));
        }
        (_, Targets::None, _) => return Err(Error::shape("targets in a batch", "labels", "none")),
        (Head::Tagging { .. } | Head::Language { .. }, ..) => {
            return Err(Error::shape("targets of a head with a label per token", "tags", "classes"));
        }
        (Head::Classification { .. } | Head::Pair { .. }, ..) => {
            return Err(Error::shape("targets of this head", "one for a row", "others"));
        }
    }
    Ok(Wanted::Classes(targets))
}

/// Refuses numbers that are not one for every label of every row, or not what they must be.
fn numbers_of(
    values: &[f32],
    rows: usize,
    labels: usize,
    is_good: fn(f32) -> bool,
    expected: &str,
) -> Result<()> {
    if rows.checked_mul(labels) != Some(values.len()) {
        return Err(Error::shape("targets in a batch", format!("{rows} x {labels}"), values.len()));
    }
    match values.iter().find(|value| !is_good(**value)) {
        Some(wrong) => Err(Error::shape("target", expected, wrong)),
        None => Ok(()),
    }
}

/// Whether attention has anything to choose from: sequences of one token give queries and keys no gradient.
pub fn has_context(batch: &Batch) -> bool {
    match &batch.inputs {
        Inputs::Tokens { lengths, .. } => lengths.iter().any(|length| *length > 1),
        Inputs::Dense { .. } => true,
        // Nodes without features or neighbours give some tensors no gradient; a batch like that proves nothing.
        Inputs::Nodes(nodes) | Inputs::Pairs(nodes) => {
            !nodes.features.is_empty() && !nodes.neighbours.is_empty()
        }
        // As long as one modality is absent, or no row has two to weigh, some tensors rightly get none.
        Inputs::Records(records) => records.shows_all(),
    }
}
