//! Where records come from: our own files, IDX images, the `optdigits` tables, NLVR's statements, a folder of images.
//!
//! A folder is recognised by what lies in it. Everything becomes records of one form, so that one task and one set of
//! commands serve all of them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::data::idx;
use crate::data::image_folder;
use crate::data::json::Json;
use crate::data::labels::LabelSet;
use crate::data::load::{DataFiles, find};
use crate::data::png::Picture;
use crate::data::record_file;
use crate::data::records::{Form, Record, RecordPart, Records};
use crate::data::report::DataReport;
use crate::data::schema::Schema;
use crate::data::source;
use crate::error::{Error, Result};

/// Unpacked bytes of an archive at most.
const ARCHIVE_BYTES_MAX: u64 = 1 << 30;
/// Grey levels of `optdigits`.
const LEVELS: u16 = 16;

/// Records of every part.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// To train on, to choose settings by, to score on.
    pub parts: [Option<RecordPart>; 3],
    /// The classes of all parts.
    pub labels: LabelSet,
    /// One report per part.
    pub reports: Vec<DataReport>,
}

/// Records with their classes by name.
struct Draft {
    form: Form,
    rows: Vec<(String, Record)>,
    report: DataReport,
}

/// Reads a file or a folder.
///
/// # Errors
/// Nothing in it is known, or it cannot be used.
pub fn read(path: &Path, schema: &Schema) -> Result<Read> {
    if path.is_file() && !idx::is_images(path) {
        let file = path.to_owned();
        return own([Some(file), None, None], schema);
    }
    let drafts = if let Some(files) = digits_tables(path)? {
        files.map(|file| file.map(|file| digits(&file)).transpose())
    } else if let Some(files) = statements(path) {
        files.map(|file| file.map(|(json, archive)| judged(&json, &archive)).transpose())
    } else if idx::find(path).is_ok() {
        let parts = idx::load_parts(path)?;
        [parts.train, parts.dev, parts.test].map(|part| Ok((!part.is_empty()).then(|| of_idx(&part, path))))
    } else if let Ok(DataFiles { train, dev, test }) = find(path) {
        return own([train, dev, test], schema);
    } else {
        [folder(path).map(Some), Ok(None), Ok(None)]
    };
    let [train, dev, test] = drafts;
    finish([train?, dev?, test?], path, schema)
}

/// Whether a file, or every file of a folder, is of our own form.
pub fn is_own(path: &Path) -> bool {
    let is_records = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "records");
    if path.is_file() {
        return is_records(&path.to_owned());
    }
    find(path).is_ok_and(|files| [files.train, files.dev, files.test].iter().flatten().all(is_records))
}

/// Our own files; a part takes the labels of the part before.
fn own(files: [Option<PathBuf>; 3], schema: &Schema) -> Result<Read> {
    let mut schema = schema.clone();
    let (mut parts, mut reports, mut labels) = ([None, None, None], Vec::new(), None);
    for (place, file) in files.into_iter().enumerate() {
        let Some(file) = file else { continue };
        let read = record_file::read(&file, &schema)?;
        schema = schema.with_labels(&read.labels);
        labels = labels.or(Some(read.labels));
        reports.push(read.report);
        let part = read.records.whole();
        parts[place] = (!part.chosen.is_empty()).then_some(part);
    }
    let labels = labels.ok_or_else(|| Error::config("data", "expected a file of records, found none"))?;
    Ok(Read { parts, labels, reports })
}

fn finish(drafts: [Option<Draft>; 3], path: &Path, schema: &Schema) -> Result<Read> {
    let labels = match schema.label_set()? {
        Some(labels) => labels,
        None => {
            let rows = drafts.iter().flatten().flat_map(|draft| &draft.rows);
            let names: std::collections::BTreeSet<&str> = rows.map(|(class, _)| class.as_str()).collect();
            if names.is_empty() {
                return Err(Error::file(path, "expected records with classes, found none"));
            }
            LabelSet::classes(names)?
        }
    };
    let mut reports = Vec::new();
    let mut parts = [None, None, None];
    for (place, draft) in drafts.into_iter().enumerate() {
        let Some(Draft { form, rows, mut report }) = draft else { continue };
        let mut all = Vec::with_capacity(rows.len());
        for (number, (class, record)) in rows.into_iter().enumerate() {
            match labels.id(&class) {
                Some(label) => {
                    report.rows += 1;
                    report.good += 1;
                    *report.labels.entry(class).or_default() += 1;
                    all.push(Record { label: Some(label), ..record });
                }
                None => report.skip(number as u64 + 1, "a class that is not among the labels"),
            }
        }
        report.settle(schema.bad_share_max);
        if let Some(reason) = &report.refused {
            return Err(Error::file(path, reason.clone()));
        }
        reports.push(report);
        if !all.is_empty() {
            parts[place] = Some(Records { form, all, ..Records::default() }.whole());
        }
    }
    Ok(Read { parts, labels, reports })
}

fn of_idx(images: &idx::Images, path: &Path) -> Draft {
    let pixels = images.pixels.chunks_exact(images.features().max(1));
    let row = |(class, pixels): (&u8, &[u8])| {
        (class.to_string(), Record { image: Some(pixels.to_vec()), ..Record::default() })
    };
    Draft {
        form: Form { image: Some([1, images.height, images.width]), ..Form::default() },
        rows: images.classes.iter().zip(pixels).map(row).collect(),
        report: DataReport::new(path.display().to_string(), "idx"),
    }
}

/// The tables of a folder as UCI's `optdigits` has them: `.tra`, `.hol`, `.tes`.
fn digits_tables(path: &Path) -> Result<Option<[Option<PathBuf>; 3]>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let mut files = [None, None, None];
    let listing = std::fs::read_dir(path).map_err(|source| Error::io("list", path, source))?;
    for entry in listing.take(crate::data::load::FOLDER_ENTRIES_MAX) {
        let file = entry.map_err(|source| Error::io("list", path, source))?.path();
        let ending = file.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(place) = ["tra", "hol", "tes"].iter().position(|known| *known == ending) {
            files[place] = Some(file);
        }
    }
    Ok(files[0].is_some().then_some(files))
}

/// Rows of 64 grey levels from 0 to 16 and a class; lines that begin with `#` are remarks.
fn digits(file: &Path) -> Result<Draft> {
    let mut report = DataReport::new(file.display().to_string(), "optdigits");
    let mut rows = Vec::new();
    let mut lines = source::open(file)?;
    while let Some((number, text)) = lines.next_row(&mut report)? {
        if text.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let level = |cell: &&str| cell.parse::<u16>().ok().filter(|level| *level <= LEVELS);
        let levels: Option<Vec<u16>> = cells.iter().take(64).map(level).collect();
        match levels {
            Some(levels) if cells.len() == 65 && !cells[64].is_empty() => {
                let pixels = levels.iter().map(|level| (level * 255 / LEVELS) as u8).collect();
                let record = Record { image: Some(pixels), ..Record::default() };
                rows.push((cells[64].to_owned(), record));
            }
            _ => report.skip(number, "expected 64 levels from 0 to 16 and a class"),
        }
    }
    Ok(Draft { form: Form { image: Some([1, 8, 8]), ..Form::default() }, rows, report })
}

type Statements = [Option<(PathBuf, PathBuf)>; 3];

/// The files of a folder as NLVR has them: `dev.json` beside `dev-images-perm0.tar.gz`, likewise `train` and `test`.
fn statements(path: &Path) -> Option<Statements> {
    let pair = |part: &str| {
        let (json, archive) =
            (path.join(format!("{part}.json")), path.join(format!("{part}-images-perm0.tar.gz")));
        (json.is_file() && archive.is_file()).then_some((json, archive))
    };
    let files = ["train", "dev", "test"].map(pair);
    files.iter().any(Option::is_some).then_some(files)
}

/// Statements, one JSON object a line, each with the picture of its identifier.
fn judged(json: &Path, archive: &Path) -> Result<Draft> {
    let mut pictures = pictures(archive)?;
    let mut report = DataReport::new(json.display().to_string(), "nlvr");
    let mut rows = Vec::new();
    let mut side = None;
    let mut lines = source::open(json)?;
    while let Some((number, text)) = lines.next_row(&mut report)? {
        let member = |json: &Json, key: &str| json.member(key).and_then(Json::text).map(str::to_owned);
        let Ok(row) = Json::parse(&text) else {
            report.skip(number, "not valid JSON");
            continue;
        };
        let (Some(sentence), Some(label), Some(id)) =
            (member(&row, "sentence"), member(&row, "label"), member(&row, "identifier"))
        else {
            report.skip(number, "expected a sentence, a label and an identifier");
            continue;
        };
        let Some(picture) = pictures.remove(&id) else {
            report.skip(number, "there is no picture of this identifier");
            continue;
        };
        let side = *side.get_or_insert(picture.side());
        let image = Some(picture.squeezed(side));
        let group = id.split('-').next().map(str::to_owned);
        rows.push((label, Record { text: Some(sentence), image, group, ..Record::default() }));
    }
    let side = side.unwrap_or(1);
    let form = Form { has_text: true, image: Some([3, side, side]), ..Form::default() };
    Ok(Draft { form, rows, report })
}

/// The pictures of an archive by identifier: `.../dev-1373-0-0.png` is number 0 of `1373-0`.
fn pictures(archive: &Path) -> Result<BTreeMap<String, Picture>> {
    source::check_regular(archive)?;
    let file = std::fs::File::open(archive).map_err(|source| Error::io("open", archive, source))?;
    let mut bytes = Vec::new();
    GzDecoder::new(file)
        .take(ARCHIVE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io("unpack", archive, source))?;
    let mut found = BTreeMap::new();
    for (name, content) in members(&bytes).map_err(|reason| Error::file(archive, reason))? {
        let stem = name.rsplit('/').next().unwrap_or_default().strip_suffix(".png");
        let Some(parts) = stem.map(|stem| stem.split('-').collect::<Vec<_>>()) else { continue };
        let [_, set, number, "0"] = parts[..] else { continue };
        let picture =
            Picture::decode(content).map_err(|reason| Error::file(archive, format!("{name}: {reason}")))?;
        found.insert(format!("{set}-{number}"), picture);
    }
    Ok(found)
}

/// Names and contents of the files of a tar archive (POSIX ustar): a header of 512 bytes, then the content, filled up to
/// a multiple of 512.
fn members(bytes: &[u8]) -> std::result::Result<Vec<(String, &[u8])>, String> {
    const BLOCK: usize = 512;
    let mut all = Vec::new();
    let mut rest = bytes;
    while rest.len() >= BLOCK && rest[0] != 0 {
        let (header, behind) = rest.split_at(BLOCK);
        let text = |from: usize, to: usize| {
            let field = &header[from..to];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(124, 136), 8)
            .map_err(|_| "expected a tar archive, found another kind of file".to_owned())?;
        if size > behind.len() {
            return Err("the archive ends in the middle of a file".to_owned());
        }
        if header[156] == b'0' || header[156] == 0 {
            all.push((text(0, 100), &behind[..size]));
        }
        rest = &behind[size.next_multiple_of(BLOCK).min(behind.len())..];
    }
    Ok(all)
}

/// A folder of folders of images, each named by its class.
fn folder(path: &Path) -> Result<Draft> {
    let mut report = DataReport::new(path.display().to_string(), "images");
    let (mut rows, mut side) = (Vec::new(), None);
    for (class, files) in image_folder::list(path)? {
        for file in files {
            match image_folder::read(&file) {
                Ok(picture) => {
                    let side = *side.get_or_insert(picture.side());
                    let image = Some(picture.squeezed(side));
                    rows.push((class.clone(), Record { image, ..Record::default() }));
                }
                Err(error) => report.skip(rows.len() as u64 + 1, error.to_string()),
            }
        }
    }
    if rows.is_empty() {
        let reason = "expected .records files, IDX images, optdigits tables, NLVR statements, or folders of PNG images named by their class, found none";
        return Err(Error::file(path, reason));
    }
    let side = side.unwrap_or(1);
    Ok(Draft { form: Form { image: Some([3, side, side]), ..Form::default() }, rows, report })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::schema::TaskKind;

    fn schema() -> Schema {
        Schema::new(TaskKind::Records)
    }

    #[test]
    fn tables_of_digits_become_images() {
        let folder = tempfile::tempdir().unwrap();
        let row = |level: u16, class: u16| format!("{}{class}\n", format!("{level},").repeat(64));
        let text = format!("# remark\n{}{}7,8\n", row(16, 3), row(8, 9).repeat(30));
        std::fs::write(folder.path().join("a.tra"), text).unwrap();
        std::fs::write(folder.path().join("a.tes"), row(0, 3)).unwrap();
        let read = read(folder.path(), &schema()).unwrap();
        assert_eq!(read.labels.names(), ["3", "9"]);
        let train = read.parts[0].as_ref().unwrap();
        assert_eq!((train.chosen.len(), read.reports[0].bad_rows), (31, 1));
        assert_eq!(train.records.all[0].image.as_ref().unwrap()[..2], [255, 255]);
        assert!(read.parts[1].is_none() && read.parts[2].is_some());
    }

    #[test]
    fn an_archive_is_unpacked_by_name_and_a_torn_one_refused() {
        let mut bytes = vec![0_u8; 512 * 4];
        bytes[..5].copy_from_slice(b"a/b.t");
        bytes[124..135].copy_from_slice(b"00000000003");
        bytes[156] = b'0';
        bytes[512..515].copy_from_slice(b"xyz");
        assert_eq!(members(&bytes).unwrap(), [("a/b.t".to_owned(), &b"xyz"[..])]);
        assert!(members(&bytes[..514]).is_err());
        assert!(members(&[b'x'; 600]).is_err());
    }

    #[test]
    fn a_folder_with_nothing_known_is_refused_with_what_is() {
        let error = read(tempfile::tempdir().unwrap().path(), &schema()).unwrap_err().to_string();
        assert!(error.contains("optdigits") && error.contains("PNG"), "{error}");
    }
}
