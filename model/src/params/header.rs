//! The header of a safetensors file, checked before anything is allocated for the tensors.
//!
//! Format: eight bytes of little-endian header length, a JSON object from tensor name to `dtype`, `shape` and
//! `data_offsets`, then the data. The check is stricter than the format: no holes, no overlaps, no duplicate names.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// Longest header accepted, bytes. A model of 1,000 tensors needs about 100 kB.
pub const HEADER_BYTES_MAX: u64 = 8 << 20;

/// Most tensors accepted in one file.
pub const TENSORS_MAX: usize = 20_000;

/// A number format of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 16-bit float with the exponent of 32 bits.
    Bf16,
    /// Anything else; such a tensor may be in the file but cannot become a parameter.
    Other,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The number format.
    pub number: Number,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the end of the header.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// The tensors of a file by name, and where their bytes begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Tensors by name.
    pub entries: BTreeMap<String, Entry>,
    /// Byte of the file at which the data begins.
    pub data_start: u64,
}

/// The length of the header, from the first eight bytes of a file of `file_bytes`; the reason if it is refused.
pub fn header_length(first: [u8; 8], file_bytes: u64) -> Result<u64, String> {
    let length = u64::from_le_bytes(first);
    if length > HEADER_BYTES_MAX {
        return Err(format!("expected a header of at most {HEADER_BYTES_MAX} bytes, found {length}"));
    }
    if length + 8 > file_bytes {
        return Err(format!(
            "expected a header of {length} bytes, found a file of {file_bytes} bytes: it is cut short"
        ));
    }
    Ok(length)
}

/// Reads and checks the JSON of a header in a file of `file_bytes`; the reason if it is refused.
pub fn parse(json: &[u8], file_bytes: u64) -> Result<Header, String> {
    let raw: RawHeader =
        serde_json::from_slice(json).map_err(|error| format!("header is malformed: {error}"))?;
    let data_start = 8 + json.len() as u64;
    let data_bytes = file_bytes.checked_sub(data_start).ok_or("file ends inside its header")?;
    let mut entries = BTreeMap::new();
    let mut spans = Vec::with_capacity(raw.entries.len());
    for (name, raw) in raw.entries {
        let entry = check(&name, raw, data_bytes)?;
        spans.push((entry.start, entry.end));
        entries.insert(name, entry);
    }
    // Sorted and end to end from 0 to the last byte: neither holes, nor overlaps, nor anything behind.
    spans.sort_unstable();
    let mut expected = 0;
    for (start, end) in spans {
        if start != expected {
            return Err(format!(
                "tensors must lie end to end: expected one to start at byte {expected}, found {start}"
            ));
        }
        expected = end;
    }
    if expected != data_bytes {
        return Err(format!("expected {expected} bytes of tensors, found {data_bytes}"));
    }
    Ok(Header { entries, data_start })
}

fn check(name: &str, raw: RawEntry, data_bytes: u64) -> Result<Entry, String> {
    let (number, bits) = match raw.dtype.as_str() {
        "F32" => (Number::F32, 32),
        "F16" => (Number::F16, 16),
        "BF16" => (Number::Bf16, 16),
        "F64" | "I64" | "U64" => (Number::Other, 64),
        "I32" | "U32" => (Number::Other, 32),
        "I16" | "U16" => (Number::Other, 16),
        "I8" | "U8" | "BOOL" | "F8_E5M2" | "F8_E4M3" => (Number::Other, 8),
        other => return Err(format!("tensor `{name}` has the unknown number format `{other}`")),
    };
    if raw.shape.len() > 8 {
        return Err(format!("tensor `{name}` has {} dimensions, expected at most 8", raw.shape.len()));
    }
    let mut bytes: u64 = bits / 8;
    for size in &raw.shape {
        bytes = bytes.checked_mul(*size).ok_or_else(|| format!("the size of tensor `{name}` overflows"))?;
    }
    let [start, end] = raw.data_offsets;
    if start > end || end > data_bytes {
        return Err(format!(
            "tensor `{name}` lies at bytes {start} to {end}, expected a range within {data_bytes}"
        ));
    }
    if end - start != bytes {
        return Err(format!(
            "tensor `{name}` of shape {:?} and format {} needs {bytes} bytes, found {}",
            raw.shape,
            raw.dtype,
            end - start
        ));
    }
    Ok(Entry { number, shape: raw.shape, start, end })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The object as it stands, with duplicate names and too many tensors refused while reading.
struct RawHeader {
    entries: BTreeMap<String, RawEntry>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object from tensor name to its description")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                let _: BTreeMap<String, String> = map.next_value()?;
                continue;
            }
            if entries.len() == TENSORS_MAX {
                return Err(de::Error::custom(format!("more than {TENSORS_MAX} tensors")));
            }
            let entry = map.next_value()?;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(de::Error::custom(format!("tensor `{name}` appears twice")));
            }
        }
        Ok(RawHeader { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str, data: u64) -> Result<Header, String> {
        parse(json.as_bytes(), 8 + json.len() as u64 + data)
    }

    #[test]
    fn a_sound_header_is_read() {
        let json = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},
            "a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"c":{"dtype":"F32","shape":[0],"data_offsets":[28,28]}}"#;
        let header = parsed(json, 28).unwrap();
        assert_eq!(header.entries["b"].shape, [2, 3]);
        assert_eq!(header.entries["a"].number, Number::Bf16);
    }

    #[test]
    fn every_hostile_header_is_refused_with_a_reason() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let two = |first: &str, second: &str| {
            format!(
                r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":{first}}},"b":{{"dtype":"F32","shape":[1],"data_offsets":{second}}}}}"#
            )
        };
        let huge = "[4294967296,4294967296]";
        let cases = [
            ("overlap", two("[0,4]", "[0,4]"), 8, "end to end"),
            ("hole", two("[0,4]", "[8,12]"), 12, "end to end"),
            ("late start", one("F32", "[1]", "[4,8]"), 8, "end to end"),
            ("rest behind", one("F32", "[1]", "[0,4]"), 5, "expected 4 bytes"),
            ("beyond the file", one("F32", "[2]", "[0,8]"), 4, "within 4"),
            ("backwards", one("F32", "[1]", "[4,0]"), 4, "within 4"),
            ("lying type", one("F32", "[1]", "[0,2]"), 2, "needs 4 bytes"),
            ("unknown type", one("F33", "[1]", "[0,4]"), 4, "unknown number format"),
            ("overflow", one("F32", huge, "[0,4]"), 4, "overflows"),
            ("negative", one("F32", "[-1]", "[0,4]"), 4, "malformed"),
            ("fraction", one("F32", "[1.5]", "[0,4]"), 4, "malformed"),
            ("number too large", one("F32", "[99999999999999999999999]", "[0,4]"), 4, "malformed"),
            ("nine dimensions", one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "dimensions"),
            ("no json", "{".into(), 4, "malformed"),
            ("array", "[]".into(), 0, "malformed"),
            ("extra key", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#.into(), 4, "malformed"),
            (
                "duplicate",
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#.into(),
                8,
                "twice",
            ),
            ("deep", "[".repeat(100_000), 0, "malformed"),
        ];
        for (name, json, data, reason) in cases {
            let error = parsed(&json, data).expect_err(name);
            assert!(error.contains(reason), "{name}: {error}");
        }
    }

    #[test]
    fn too_many_tensors_are_refused() {
        let entries: Vec<String> = (0..100_000)
            .map(|k| format!(r#""t{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
            .collect();
        let error = parsed(&format!("{{{}}}", entries.join(",")), 0).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }

    #[test]
    fn a_header_longer_than_the_file_or_the_limit_is_refused_before_it_is_read() {
        assert!(header_length(100_u64.to_le_bytes(), 50).unwrap_err().contains("cut short"));
        assert!(header_length((100_u64 << 20).to_le_bytes(), u64::MAX).unwrap_err().contains("at most"));
        assert!(header_length(u64::MAX.to_le_bytes(), u64::MAX).is_err());
        assert_eq!(header_length(10_u64.to_le_bytes(), 18), Ok(10));
    }
}
