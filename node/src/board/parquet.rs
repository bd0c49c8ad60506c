//! Measured values as Parquet: the columns of the CSV with types of their own, for programs that read large tables.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::board::export::{Measured, each_measured};

/// Values kept in memory before they are written.
const GROUP: usize = 1 << 16;
const SCHEMA: &str = "message metrics {
    optional double t;
    optional binary node (UTF8);
    optional int64 step;
    optional int64 outer;
    optional binary name (UTF8);
    optional double value;
    required binary tags (UTF8);
}";

/// Writes every measured value of a directory; answers how many.
///
/// # Errors
/// The records cannot be read, or the writer fails.
pub fn parquet(dir: &Path, to: &mut (dyn Write + Send)) -> io::Result<u64> {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("the schema of the metrics is well formed"));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(to, schema, Arc::new(properties)).map_err(wrong)?;
    let mut kept: Vec<Measured> = Vec::new();
    let count = each_measured(dir, |measured| {
        kept.push(measured);
        if kept.len() == GROUP {
            write_group(&mut writer, &kept)?;
            kept.clear();
        }
        Ok(())
    })?;
    write_group(&mut writer, &kept)?;
    writer.close().map_err(wrong)?;
    Ok(count)
}

fn wrong(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

fn write_group<W: Write + Send>(writer: &mut SerializedFileWriter<W>, rows: &[Measured]) -> io::Result<()> {
    let text = |text: &Option<String>| text.as_deref().map(ByteArray::from);
    let mut group = writer.next_row_group().map_err(wrong)?;
    column::<DoubleType, _>(&mut group, rows.iter().map(|row| row.t))?;
    column::<ByteArrayType, _>(&mut group, rows.iter().map(|row| text(&row.node)))?;
    column::<Int64Type, _>(&mut group, rows.iter().map(|row| row.step))?;
    column::<Int64Type, _>(&mut group, rows.iter().map(|row| row.outer))?;
    column::<ByteArrayType, _>(&mut group, rows.iter().map(|row| text(&row.name)))?;
    column::<DoubleType, _>(&mut group, rows.iter().map(|row| row.value))?;
    column::<ByteArrayType, _>(&mut group, rows.iter().map(|row| Some(ByteArray::from(row.tags.as_str()))))?;
    group.close().map_err(wrong)?;
    Ok(())
}

/// Writes the next column; a value that is not there has a level of 0.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: impl Iterator<Item = Option<T::T>>,
) -> io::Result<()> {
    let cells: Vec<Option<T::T>> = cells.collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let mut column = group.next_column().map_err(wrong)?.expect("the schema names a column for each");
    column.typed::<T>().write_batch(&values, Some(&levels), None).map_err(wrong)?;
    column.close().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;
    use crate::store::status::{self, NodeStatus, STATUS_FILE};

    #[test]
    fn what_is_measured_is_read_back_with_its_types() {
        let dir = tempfile::tempdir().unwrap();
        status::write(&dir.path().join(STATUS_FILE), &NodeStatus::default()).unwrap();
        std::fs::write(dir.path().join("events.jsonl"), "").unwrap();
        let lines = [
            r#"{"t":1.5,"node":"ä,\"b","step":3,"outer":1,"name":"rejected","value":2.25,"tags":{"reason":"malformed"}}"#,
            r#"{"t":2,"node":"b","name":"loss","value":null}"#,
            r#"{"t":"#,
        ];
        std::fs::write(dir.path().join("metrics.jsonl"), lines.join("\n")).unwrap();
        let out = dir.path().join("metrics.parquet");
        let mut file = std::fs::File::create(&out).unwrap();
        assert_eq!(parquet(dir.path(), &mut file).unwrap(), 2);
        let reader = SerializedFileReader::new(std::fs::File::open(&out).unwrap()).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].get_double(0).unwrap(), rows[0].get_double(5).unwrap()), (1.5, 2.25));
        assert_eq!(rows[0].get_string(1).unwrap(), "ä,\"b");
        assert_eq!((rows[0].get_long(2).unwrap(), rows[0].get_long(3).unwrap()), (3, 1));
        assert_eq!(rows[0].get_string(6).unwrap(), "reason=malformed");
        assert!(rows[1].get_long(2).is_err() && rows[1].get_double(5).is_err(), "absent is no number");
        assert_eq!(rows[1].get_string(6).unwrap(), "");
    }
}
