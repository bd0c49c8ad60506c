//! The gate a Parquet file passes before the Parquet library sees it.
//!
//! The file may come from a stranger, and the library trusts what it states of itself: a length beyond the file, a schema
//! nested without end, a page of a few bytes that unpacks to gigabytes. Whatever decides how much is read, unpacked or
//! nested is read here first, from the footer and from the header of every page, and refused with a reason when it lies
//! outside bounds. Values are not looked at.
//!
//! Layout after the format's own description (`parquet.thrift`, compact protocol); numbers of fields are from there.

use std::io::{Read, Seek, SeekFrom};

/// Longest footer, in bytes.
pub const FOOTER_BYTES_MAX: u64 = 16 << 20;
/// Largest page when unpacked, in bytes; writers make pages of one megabyte.
pub const PAGE_BYTES_MAX: i64 = 64 << 20;
/// Most values in a page.
pub const PAGE_VALUES_MAX: i64 = 1 << 24;
/// Most values in a column of a row group, and most rows of a file.
pub const VALUES_MAX: i64 = 1 << 26;
/// Most pages.
pub const PAGES_MAX: usize = 1 << 20;
/// Deepest nesting of a schema; a list of texts is three deep.
const DEPTH_MAX: usize = 16;
/// Most values of any kind in a footer.
const PARTS_MAX: usize = 2 << 20;
/// Bytes of a page header that are tried first, and at most.
const HEADER_BYTES: [u64; 2] = [4 << 10, 256 << 10];
/// First and last bytes of a file.
const MAGIC: &[u8; 4] = b"PAR1";
/// Length of the footer and magic bytes, behind it.
const TAIL_BYTES: u64 = 8;

/// Names of the ways to pack pages, by their number.
const CODECS: [&str; 8] = ["none", "snappy", "gzip", "lzo", "brotli", "lz4 of hadoop", "zstd", "lz4"];

/// Checks a file of `length` bytes.
///
/// # Errors
/// The reason why the file is refused.
pub fn inspect(file: &mut (impl Read + Seek), length: u64) -> Result<(), String> {
    let footer = footer(file, length)?;
    let metadata = Reader::new(&footer).whole()?;
    depth(metadata.list(2))?;
    bounded("rows", metadata.integer(3).unwrap_or(0), 0, VALUES_MAX)?;
    let mut pages = 0;
    for group in metadata.list(4) {
        bounded("rows of a row group", group.integer(3).unwrap_or(0), 0, VALUES_MAX)?;
        for chunk in group.list(1) {
            if chunk.field(1).is_some() {
                return Err("expected all columns in the file itself, found a name of another".into());
            }
            let column = chunk.field(3).ok_or("expected a description of a column, found none")?;
            pages += check_pages(file, length, column, PAGES_MAX - pages)?;
        }
    }
    Ok(())
}

fn footer(file: &mut (impl Read + Seek), length: u64) -> Result<Vec<u8>, String> {
    if length < MAGIC.len() as u64 + TAIL_BYTES {
        return Err(format!("expected a Parquet file, found {length} bytes"));
    }
    let mut tail = [0; TAIL_BYTES as usize];
    read_at(file, length - TAIL_BYTES, &mut tail)?;
    let (stated, magic) = tail.split_at(4);
    if magic == b"PARE" {
        return Err("expected a file anybody can read, found an encrypted one".into());
    }
    if magic != MAGIC {
        return Err("expected a Parquet file, found another or one that was cut short".into());
    }
    let stated = u64::from(u32::from_le_bytes([stated[0], stated[1], stated[2], stated[3]]));
    let room = length - TAIL_BYTES - MAGIC.len() as u64;
    if stated > room.min(FOOTER_BYTES_MAX) {
        return Err(format!(
            "expected a footer of at most {} bytes, found {stated}",
            room.min(FOOTER_BYTES_MAX)
        ));
    }
    let mut footer = vec![0; stated as usize];
    read_at(file, length - TAIL_BYTES - stated, &mut footer)?;
    Ok(footer)
}

fn read_at(file: &mut (impl Read + Seek), at: u64, bytes: &mut [u8]) -> Result<(), String> {
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes)).map_err(|e| e.to_string())
}

/// Walks the elements of a schema, of which each says how many children follow it.
fn depth(elements: &[Part]) -> Result<(), String> {
    // Children still to come at every level that is open.
    let mut open: Vec<i64> = Vec::new();
    for element in elements {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let children = element.integer(5).unwrap_or(0);
        bounded("children of a column", children, 0, elements.len() as i64)?;
        if children > 0 {
            open.push(children);
        }
        if open.len() > DEPTH_MAX {
            return Err(format!("expected columns nested at most {DEPTH_MAX} deep, found more"));
        }
    }
    Ok(())
}

/// Walks the headers of all pages of a column; answers how many there are.
fn check_pages(
    file: &mut (impl Read + Seek),
    length: u64,
    column: &Part,
    pages_max: usize,
) -> Result<usize, String> {
    let codec = column.integer(4).unwrap_or(0);
    if !matches!(codec, 0 | 1) {
        let name =
            usize::try_from(codec).ok().and_then(|codec| CODECS.get(codec)).unwrap_or(&"something unknown");
        return Err(format!(
            "expected pages packed with snappy or not at all, found {name}; write the file anew"
        ));
    }
    bounded("values of a column", column.integer(5).unwrap_or(0), 0, VALUES_MAX)?;
    let first = column.integer(9).unwrap_or(-1);
    // A dictionary stands before the data; some writers state 0 for none.
    let start = column.integer(11).filter(|place| *place > 0).map_or(first, |place| place.min(first));
    let size = column.integer(7).unwrap_or(-1);
    let is_inside = start >= MAGIC.len() as i64
        && size >= 0
        && start.checked_add(size).is_some_and(|end| end as u64 <= length - TAIL_BYTES);
    if !is_inside {
        return Err(format!("expected a column inside the file, found one of {size} bytes at {start}"));
    }
    let (mut at, end) = (start as u64, (start + size) as u64);
    let (mut pages, mut values) = (0, 0_i64);
    while at < end {
        if pages == pages_max {
            return Err(format!("expected at most {PAGES_MAX} pages, found more"));
        }
        let (header, bytes) = page_header(file, at, end)?;
        bounded("bytes of a page when unpacked", header.integer(2).unwrap_or(-1), 0, PAGE_BYTES_MAX)?;
        let packed = header.integer(3).unwrap_or(-1);
        bounded("bytes of a page", packed, 0, (end - at - bytes) as i64)?;
        for kind in [5, 7, 8] {
            let Some(own) = header.field(kind) else { continue };
            let count = own.integer(1).unwrap_or(-1);
            bounded("values of a page", count, 0, PAGE_VALUES_MAX)?;
            values += count;
        }
        bounded("values of all pages of a column", values, 0, 2 * VALUES_MAX)?;
        at += bytes + packed as u64;
        pages += 1;
    }
    Ok(pages)
}

/// The header of the page at a place, and its length.
fn page_header(file: &mut (impl Read + Seek), at: u64, end: u64) -> Result<(Part, u64), String> {
    let mut last = String::new();
    for tried in HEADER_BYTES {
        let mut bytes = vec![0; tried.min(end - at) as usize];
        read_at(file, at, &mut bytes)?;
        let mut reader = Reader::new(&bytes);
        match reader.whole() {
            Ok(header) => return Ok((header, reader.at as u64)),
            Err(reason) => last = reason,
        }
    }
    Err(format!("page header: {last}"))
}

fn bounded(what: &str, found: i64, least: i64, most: i64) -> Result<(), String> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(format!("{what}: expected {least} to {most}, found {found}"))
}

/// A value of the compact protocol, as far as anybody here asks.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Integer(i64),
    List(Vec<Part>),
    Struct(Vec<(i64, Part)>),
    /// Text, fractions, truth values and maps.
    Other,
}

impl Part {
    fn field(&self, number: i64) -> Option<&Self> {
        let Self::Struct(fields) = self else { return None };
        fields.iter().find(|(known, _)| *known == number).map(|(_, value)| value)
    }

    fn integer(&self, number: i64) -> Option<i64> {
        match self.field(number) {
            Some(Self::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    fn list(&self, number: i64) -> &[Self] {
        match self.field(number) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }
}

/// Reads the compact protocol.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    parts: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, parts: 0 }
    }

    /// One struct.
    fn whole(&mut self) -> Result<Part, String> {
        self.value(12, 0)
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied().ok_or("expected more bytes, found the end")?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: u64) -> Result<Part, String> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(format!("expected {count} more bytes, found {left}"));
        }
        self.at += count as usize;
        Ok(Part::Other)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("expected a number of at most 64 bits, found more".into())
    }

    fn signed(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Part, String> {
        self.parts += 1;
        if depth > DEPTH_MAX || self.parts > PARTS_MAX {
            return Err(format!(
                "expected at most {PARTS_MAX} values nested at most {DEPTH_MAX} deep, found more"
            ));
        }
        match kind {
            1 | 2 => Ok(Part::Other), // of a field, where the kind is the value
            3 => self.byte().map(|byte| Part::Integer(i64::from(byte as i8))),
            4..=6 => self.signed().map(Part::Integer),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let (count, kind) = self.list_head()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.item(kind, depth + 1)?);
                }
                Ok(Part::List(items))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                for _ in 0..count {
                    self.item(kinds >> 4, depth + 1)?;
                    self.item(kinds & 15, depth + 1)?;
                }
                Ok(Part::Other)
            }
            12 => self.fields(depth),
            13 => self.skip(16),
            other => Err(format!("expected a kind of value from 1 to 13, found {other}")),
        }
    }

    /// A value in a list or a map; truth values take a byte there.
    fn item(&mut self, kind: u8, depth: usize) -> Result<Part, String> {
        if matches!(kind, 1 | 2) {
            self.parts += 1;
            return self.skip(1);
        }
        self.value(kind, depth)
    }

    fn list_head(&mut self) -> Result<(u64, u8), String> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Ok((count, head & 15))
    }

    fn fields(&mut self, depth: usize) -> Result<Part, String> {
        let mut fields = Vec::new();
        let mut number = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Part::Struct(fields));
            }
            number = match head >> 4 {
                0 => self.signed()?,
                step => number.saturating_add(i64::from(step)),
            };
            let value = self.value(head & 15, depth + 1)?;
            fields.push((number, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn inspected(bytes: &[u8]) -> Result<(), String> {
        inspect(&mut Cursor::new(bytes), bytes.len() as u64)
    }

    /// A count as the protocol writes it.
    fn unsigned(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    /// A number as the protocol writes it.
    fn integer(value: i64) -> Vec<u8> {
        unsigned(((value << 1) ^ (value >> 63)) as u64)
    }

    /// A struct of fields with rising numbers, each an encoded value of a kind.
    fn structure(fields: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
        let (mut bytes, mut before) = (Vec::new(), 0);
        for (number, kind, value) in fields {
            bytes.push((number - before) << 4 | kind);
            bytes.extend_from_slice(value);
            before = *number;
        }
        bytes.push(0);
        bytes
    }

    /// A list of structs.
    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        [vec![0xfc], unsigned(items.len() as u64), items.concat()].concat()
    }

    /// A file of one column of one page, with what is stated changed by the caller.
    struct Made {
        children: Vec<i64>,
        codec: i64,
        size: Option<i64>,
        unpacked: i64,
        packed: i64,
        values: i64,
        rows: i64,
    }

    impl Default for Made {
        fn default() -> Self {
            Self { children: vec![1, 0], codec: 1, size: None, unpacked: 9, packed: 4, values: 3, rows: 3 }
        }
    }

    impl Made {
        fn bytes(&self) -> Vec<u8> {
            let data = structure(&[(1, 5, integer(self.values))]);
            let header = structure(&[
                (1, 5, integer(0)),
                (2, 5, integer(self.unpacked)),
                (3, 5, integer(self.packed)),
                (5, 12, data),
            ]);
            let mut file = MAGIC.to_vec();
            file.extend(&header);
            file.extend([7; 4]);
            let size = self.size.unwrap_or(header.len() as i64 + 4);
            let column = structure(&[
                (4, 5, integer(self.codec)),
                (5, 6, integer(3)),
                (7, 6, integer(size)),
                (9, 6, integer(4)),
            ]);
            let chunk = structure(&[(3, 12, column)]);
            let group = structure(&[(1, 9, list(&[chunk])), (3, 6, integer(self.rows))]);
            let elements: Vec<Vec<u8>> =
                self.children.iter().map(|count| structure(&[(5, 5, integer(*count))])).collect();
            let footer = structure(&[
                (1, 5, integer(1)),
                (2, 9, list(&elements)),
                (3, 6, integer(self.rows)),
                (4, 9, list(&[group])),
            ]);
            file.extend(&footer);
            file.extend((footer.len() as u32).to_le_bytes());
            file.extend(MAGIC);
            file
        }
    }

    #[test]
    fn a_sound_file_passes_and_every_lie_about_sizes_is_refused() {
        assert_eq!(inspected(&Made::default().bytes()), Ok(()));
        let deep = [vec![1; 40], vec![0]].concat();
        let cases = [
            (Made { children: deep, ..Made::default() }, "nested at most 16"),
            (Made { children: vec![-1], ..Made::default() }, "children of a column"),
            (Made { children: vec![1 << 40], ..Made::default() }, "children of a column"),
            (Made { codec: 6, ..Made::default() }, "found zstd"),
            (Made { codec: 2, ..Made::default() }, "found gzip"),
            (Made { codec: 99, ..Made::default() }, "something unknown"),
            (Made { size: Some(1 << 40), ..Made::default() }, "inside the file"),
            (Made { size: Some(-1), ..Made::default() }, "inside the file"),
            (Made { size: Some(i64::MAX), ..Made::default() }, "inside the file"),
            (Made { unpacked: 1 << 30, ..Made::default() }, "bytes of a page when unpacked"),
            (Made { unpacked: -5, ..Made::default() }, "bytes of a page when unpacked"),
            (Made { packed: 1 << 30, ..Made::default() }, "bytes of a page"),
            (Made { packed: -1, ..Made::default() }, "bytes of a page"),
            (Made { values: 1 << 30, ..Made::default() }, "values of a page"),
            (Made { values: -1, ..Made::default() }, "values of a page"),
            (Made { rows: 1 << 40, ..Made::default() }, "rows"),
        ];
        for (made, reason) in cases {
            let found = inspected(&made.bytes()).unwrap_err();
            assert!(found.contains(reason), "{reason}: {found}");
        }
    }

    #[test]
    fn a_wide_schema_is_not_a_deep_one() {
        let wide: Vec<i64> = [vec![100], vec![0; 100]].concat();
        assert_eq!(inspected(&Made { children: wide, ..Made::default() }.bytes()), Ok(()));
    }

    #[test]
    fn footers_that_lie_about_their_length_or_are_none_are_refused() {
        let good = Made::default().bytes();
        let with_length = |length: u32| {
            let mut bytes = good.clone();
            let place = bytes.len() - 8;
            bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
            bytes
        };
        for length in [u32::MAX, good.len() as u32, good.len() as u32 - 11] {
            assert!(inspected(&with_length(length)).unwrap_err().contains("footer of at most"), "{length}");
        }
        assert!(inspected(b"PAR1").is_err());
        assert!(inspected(&[0; 64]).unwrap_err().contains("found another"));
        for end in 0..good.len() {
            assert!(inspected(&good[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn nesting_without_end_and_counts_without_items_are_refused() {
        let footed = |footer: &[u8]| {
            let mut file = MAGIC.to_vec();
            file.extend(footer);
            file.extend((footer.len() as u32).to_le_bytes());
            file.extend(MAGIC);
            file
        };
        // A struct in a struct in a struct ..., a list of 2^60 items, a text of 2^60 bytes.
        assert!(inspected(&footed(&vec![0x1c; 100_000])).unwrap_err().contains("deep"));
        let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(inspected(&footed(&[&[0x19, 0xf5][..], &long].concat())).is_err());
        assert!(inspected(&footed(&[&[0x19, 0xf1][..], &long].concat())).is_err());
        assert!(inspected(&footed(&[&[0x18][..], &long].concat())).unwrap_err().contains("more bytes"));
        assert!(inspected(&footed(&[&[0x1b][..], &long, &[0x11]].concat())).is_err());
    }
}
