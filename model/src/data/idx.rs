//! IDX: images and their classes as MNIST keeps them, plain or gzipped.
//!
//! A file is `0, 0, 8` (unsigned bytes), the number of dimensions, each dimension as a big-endian `u32`, and the bytes.
//! Images and classes lie in two files; a folder may hold a pair to train on and pairs to choose and to score by. What a
//! header promises is checked before anything of its size is allocated, and a gzipped file never unpacks to more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use flate2::{Compression, write::GzEncoder};

use crate::data::batch::IGNORE;
use crate::data::dataset::Dataset;
use crate::data::labels::LabelSet;
use crate::data::load::FOLDER_ENTRIES_MAX;
use crate::data::source::check_regular;
use crate::error::{Error, Result};

/// Most bytes one file may hold unpacked: about forty times the training images of MNIST.
const BYTES_MAX: u64 = 2 << 30;

/// The mark of unsigned bytes.
const BYTE: u8 = 8;

/// Images with a class each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Images {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Grey values, `(images, height, width)`.
    pub pixels: Vec<u8>,
    /// The class of every image, a number from the file.
    pub classes: Vec<u8>,
}

/// The files of one part: images and classes.
type Pair = (PathBuf, PathBuf);

/// The pairs of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFiles {
    /// To train on.
    pub train: Option<Pair>,
    /// To choose settings by.
    pub dev: Option<Pair>,
    /// To report a score on.
    pub test: Option<Pair>,
}

/// The parts of a folder, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageParts {
    /// To train on; without images when there is no such pair.
    pub train: Images,
    /// To choose settings by.
    pub dev: Images,
    /// To report a score on.
    pub test: Images,
}

impl Images {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Pixels of one image.
    pub fn features(&self) -> usize {
        self.height * self.width
    }

    /// The classes that occur, named by their numbers.
    ///
    /// # Errors
    /// There are none.
    pub fn labels(&self) -> Result<LabelSet> {
        let found: BTreeSet<u8> = self.classes.iter().copied().collect();
        LabelSet::classes(found.into_iter().map(|class| class.to_string()))
    }

    /// Rows of grey values from 0 to 1 with the place of their class among the labels.
    ///
    /// # Errors
    /// A class is not among the labels.
    pub fn rows(&self, labels: &LabelSet) -> Result<Dataset> {
        let classes = self.class_labels(labels)?.into_iter().map(|label| label as i32).collect();
        Dataset::dense(self.pixels.iter().map(|p| f32::from(*p) / 255.0).collect(), self.features(), classes)
    }

    /// The same rows without classes, to be answered.
    pub fn unlabelled(&self) -> Dataset {
        let values = self.pixels.iter().map(|p| f32::from(*p) / 255.0).collect();
        Dataset::dense(values, self.features().max(1), vec![IGNORE; self.len()])
            .expect("bytes are finite, and as many as the images have")
    }

    /// The place of every image's class among the labels.
    ///
    /// # Errors
    /// A class is not among them.
    pub fn class_labels(&self, labels: &LabelSet) -> Result<Vec<u32>> {
        let class = |class: &u8| {
            labels.id(&class.to_string()).ok_or_else(|| {
                let known = labels.names().join(", ");
                Error::shape("class of an image", format!("one of {known}"), class)
            })
        };
        self.classes.iter().map(class).collect()
    }

    /// The images at the given places.
    ///
    /// # Panics
    /// If a place is not below [`Images::len`]: the caller made it up.
    pub fn chosen(&self, places: &[usize]) -> Self {
        let size = self.features();
        let pixels = places.iter().flat_map(|k| &self.pixels[k * size..(k + 1) * size]).copied().collect();
        let classes = places.iter().map(|k| self.classes[*k]).collect();
        Self { height: self.height, width: self.width, pixels, classes }
    }
}

/// Whether a file has a name as IDX images have.
pub fn is_images(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.contains("images") && name.contains("idx3")
}

/// Recognises the pairs of a folder, or the pair a file of images belongs to, which is then the training pair.
///
/// Names are those of MNIST: `train-images-idx3-ubyte` beside `train-labels-idx1-ubyte`, `t10k-...` for the test pair,
/// with or without `.gz`, with a hyphen or a dot before `idx`.
///
/// # Errors
/// The path cannot be read, two pairs claim one part, or images have no classes beside them.
pub fn find(path: &Path) -> Result<ImageFiles> {
    if path.is_file() {
        return Ok(ImageFiles { train: Some(pair(path)?), ..ImageFiles::default() });
    }
    let listing = std::fs::read_dir(path).map_err(|source| Error::io("list", path, source))?;
    let mut names = Vec::new();
    for entry in listing.take(FOLDER_ENTRIES_MAX) {
        names.push(entry.map_err(|source| Error::io("list", path, source))?.path());
    }
    names.sort(); // a folder has no order of its own
    let mut files = ImageFiles::default();
    for images in names.into_iter().filter(|name| is_images(name)) {
        let name = images.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let place = if name.contains("dev") || name.contains("valid") {
            &mut files.dev
        } else if name.contains("t10k") || name.contains("test") {
            &mut files.test
        } else {
            &mut files.train
        };
        if let Some((first, _)) = place {
            let reason = format!(
                "two files of images fit one part: {} and {}; name the file itself",
                first.display(),
                images.display()
            );
            return Err(Error::file(path, reason));
        }
        *place = Some(pair(&images)?);
    }
    if files == ImageFiles::default() {
        let reason = "expected files named as in MNIST (train-images-idx3-ubyte and train-labels-idx1-ubyte, .gz or not)";
        return Err(Error::file(path, reason));
    }
    Ok(files)
}

/// The classes that lie beside images.
fn pair(images: &Path) -> Result<Pair> {
    let name = images.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let partner = name.replace("images", "labels").replace("idx3", "idx1");
    let other = partner.strip_suffix(".gz").map_or_else(|| format!("{partner}.gz"), str::to_owned);
    [partner.clone(), other]
        .into_iter()
        .map(|name| images.with_file_name(name))
        .find(|path| path.is_file() && !is_images(path))
        .map(|classes| (images.to_owned(), classes))
        .ok_or_else(|| {
            Error::file(images, format!("expected the classes beside it as {partner}, found none"))
        })
}

/// Reads every pair of a folder, or of a file of images.
///
/// # Errors
/// As [`find`] and [`read`], and when the parts have images of different sizes.
pub fn load_parts(path: &Path) -> Result<ImageParts> {
    let files = find(path)?;
    let part = |pair: &Option<Pair>| pair.as_ref().map_or_else(|| Ok(Images::default()), read);
    let parts = ImageParts { train: part(&files.train)?, dev: part(&files.dev)?, test: part(&files.test)? };
    let found: Vec<&Images> =
        [&parts.train, &parts.dev, &parts.test].into_iter().filter(|images| !images.is_empty()).collect();
    let size = |images: &Images| format!("images of {} x {}", images.height, images.width);
    if let Some(pair) = found.windows(2).find(|pair| size(pair[0]) != size(pair[1])) {
        return Err(Error::shape("parts of a folder", size(pair[0]), size(pair[1])));
    }
    Ok(parts)
}

/// Reads images that have no classes beside them; all have class 0.
///
/// # Errors
/// The file cannot be read or is not what its header says.
pub fn read_images(path: &Path) -> Result<Images> {
    let (sizes, pixels) = array(path, 3)?;
    if sizes[1] * sizes[2] == 0 {
        return Err(Error::file(path, "expected images of at least one pixel, found none"));
    }
    Ok(Images { height: sizes[1], width: sizes[2], pixels, classes: vec![0; sizes[0]] })
}

/// Reads images and their classes.
///
/// # Errors
/// A file cannot be read or is not what its header says, or there is not one class per image.
pub fn read((images, classes): &Pair) -> Result<Images> {
    let found = read_images(images)?;
    let (counts, numbers) = array(classes, 1)?;
    if found.len() != counts[0] {
        let reason = format!("expected {} classes, one per image, found {}", found.len(), counts[0]);
        return Err(Error::file(classes, reason));
    }
    Ok(Images { classes: numbers, ..found })
}

/// The gzipped pair of a part (`train`, `dev`, `t10k`): names and bytes of its two files.
pub fn packed(part: &str, images: &Images) -> [(String, Vec<u8>); 2] {
    let pack = |sizes: &[usize], bytes: &[u8]| {
        // No time and no name in the header: equal images give equal files.
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        let mut put = |bytes: &[u8]| packed.write_all(bytes).expect("memory can be written to");
        put(&[0, 0, BYTE, sizes.len() as u8]);
        sizes.iter().for_each(|size| put(&(*size as u32).to_be_bytes()));
        put(bytes);
        packed.finish().expect("memory can be written to")
    };
    let sizes = [images.len(), images.height, images.width];
    [
        (format!("{part}-images-idx3-ubyte.gz"), pack(&sizes, &images.pixels)),
        (format!("{part}-labels-idx1-ubyte.gz"), pack(&sizes[..1], &images.classes)),
    ]
}

/// Sizes and bytes of an array of unsigned bytes.
fn array(path: &Path, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    check_regular(path)?;
    let io = |source| Error::io("read", path, source);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let is_packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let read =
        if is_packed { parse(GzDecoder::new(&mut file), dimensions) } else { parse(&mut file, dimensions) };
    read.map_err(|reason| Error::file(path, reason))
}

/// Reads a header and exactly what it promises.
fn parse(mut source: impl Read, dimensions: usize) -> std::result::Result<(Vec<usize>, Vec<u8>), String> {
    let mut fill = |bytes: &mut [u8], what: &str| {
        source.read_exact(bytes).map_err(|e| format!("the {what} cannot be read: {e}"))
    };
    let mut head = [0; 4];
    fill(&mut head, "header")?;
    if head != [0, 0, BYTE, dimensions as u8] {
        return Err(format!(
            "expected an IDX file of unsigned bytes in {dimensions} dimensions, found {head:?}"
        ));
    }
    let mut sizes = Vec::with_capacity(dimensions);
    let mut total = 1_u64;
    for _ in 0..dimensions {
        let mut size = [0; 4];
        fill(&mut size, "header")?;
        let size = u32::from_be_bytes(size);
        total = total.saturating_mul(u64::from(size));
        sizes.push(size as usize);
    }
    if total > BYTES_MAX {
        return Err(format!("expected at most {BYTES_MAX} bytes of data, found {total} in the header"));
    }
    let mut bytes = Vec::new();
    // Memory grows with what is really there, not with what the header says.
    let found = source.by_ref().take(total).read_to_end(&mut bytes).map_err(|e| e.to_string())? as u64;
    if found < total {
        return Err(format!("expected {total} bytes of data as in the header, found {found}"));
    }
    match source.read(&mut [0]) {
        Ok(0) => Ok((sizes, bytes)),
        Ok(_) => Err(format!("expected {total} bytes of data as in the header, found more")),
        Err(error) => Err(format!("the end cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: usize) -> Images {
        let pixels = (0..count * 6).map(|k| (k * 41 % 256) as u8).collect();
        Images { height: 2, width: 3, pixels, classes: (0..count).map(|k| (k % 3) as u8).collect() }
    }

    fn write(dir: &Path, part: &str, images: &Images) {
        for (name, bytes) in packed(part, images) {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }

    #[test]
    fn a_written_pair_is_read_back_and_its_bytes_are_always_the_same() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &two] {
            write(dir.path(), "train", &sample(7));
            write(dir.path(), "t10k", &sample(4));
        }
        let parts = load_parts(one.path()).unwrap();
        assert_eq!((parts.train, parts.dev.len(), parts.test), (sample(7), 0, sample(4)));
        let bytes = |dir: &Path| std::fs::read(dir.join("train-images-idx3-ubyte.gz")).unwrap();
        assert_eq!(bytes(one.path()), bytes(two.path()));
        let named = load_parts(&one.path().join("t10k-images-idx3-ubyte.gz")).unwrap();
        assert_eq!(named.train, sample(4));
    }

    #[test]
    fn rows_are_grey_values_with_the_place_of_their_class() {
        let images = sample(4).chosen(&[1, 3, 2]);
        let labels = LabelSet::classes(["2", "0", "1"]).unwrap();
        let rows = images.rows(&labels).unwrap();
        let batch = rows.batch(&[0, 1, 2]);
        assert_eq!(batch.targets, crate::data::batch::Targets::Classes(vec![2, 1, 0]));
        let crate::data::batch::Inputs::Dense { values } = batch.inputs else { panic!("numbers expected") };
        assert_eq!(values[0], 246.0 / 255.0);
        assert!(images.rows(&LabelSet::classes(["0", "1"]).unwrap()).is_err());
        assert_eq!(images.labels().unwrap().names(), ["0", "1", "2"]);
    }

    /// A plain file of images with this header and these bytes, and classes beside it.
    fn refused(header: &[u8], data: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("train-images-idx3-ubyte");
        std::fs::write(&images, [header, data].concat()).unwrap();
        std::fs::write(dir.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 5]).unwrap();
        load_parts(dir.path()).expect_err("a bad file").to_string()
    }

    #[test]
    fn headers_that_lie_are_refused_before_memory_is_taken() {
        let header = |count: u32, height: u32, width: u32| {
            [&[0, 0, 8, 3][..], &count.to_be_bytes(), &height.to_be_bytes(), &width.to_be_bytes()].concat()
        };
        for (error, reason) in [
            (refused(&header(u32::MAX, u32::MAX, u32::MAX), &[]), "at most"),
            (refused(&header(1, 2, 2), &[1, 2, 3]), "found 3"),
            (refused(&header(1, 2, 2), &[1, 2, 3, 4, 5]), "found more"),
            (refused(&header(2, 1, 1), &[1, 2]), "one per image"),
            (refused(&header(1, 0, 9), &[]), "at least one pixel"),
            (refused(&[0, 0, 9, 3, 0, 0, 0, 1], &[]), "unsigned bytes"),
            (refused(&[0, 0], &[]), "header"),
        ] {
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_packed_file_is_not_unpacked_beyond_its_header_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train", &sample(50));
        let path = dir.path().join("train-images-idx3-ubyte.gz");
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 5, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(load_parts(dir.path()).is_err(), "{length}");
        }
        let mut changed = whole.clone();
        let end = changed.len();
        changed[end - 8] ^= 1; // the checksum
        std::fs::write(&path, changed).unwrap();
        assert!(load_parts(dir.path()).is_err());
        // A hundred megabytes of zeros behind a header of one image.
        let mut bomb = GzEncoder::new(Vec::new(), Compression::default());
        bomb.write_all(&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]).unwrap();
        bomb.write_all(&vec![0; 100 << 20]).unwrap();
        std::fs::write(&path, bomb.finish().unwrap()).unwrap();
        let error = load_parts(dir.path()).unwrap_err().to_string();
        assert!(error.contains("found more"), "{error}");
    }

    #[test]
    fn folders_without_pairs_or_with_two_for_one_part_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load_parts(dir.path()).unwrap_err().to_string().contains("as in MNIST"));
        write(dir.path(), "train", &sample(2));
        std::fs::remove_file(dir.path().join("train-labels-idx1-ubyte.gz")).unwrap();
        assert!(load_parts(dir.path()).unwrap_err().to_string().contains("classes beside it"));
        write(dir.path(), "train", &sample(2));
        write(dir.path(), "other", &sample(2));
        assert!(load_parts(dir.path()).unwrap_err().to_string().contains("two files"));
    }
}
