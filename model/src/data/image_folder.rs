//! PNG images: a folder of folders named by class, and single files shrunk to one size.
//!
//! Images are squeezed to a square of at most [`SIDE_MAX`] pixels by averaging areas, because the patch encoder reads
//! squares; transparent pixels are shown on white.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::data::load::FOLDER_ENTRIES_MAX;
use crate::data::png::{PIXELS_MAX, Picture};
use crate::data::source::check_regular;
use crate::error::{Error, Result};

/// Pixels on a side at most.
pub const SIDE_MAX: usize = 64;
/// Classes of a folder at most.
const CLASSES_MAX: usize = 1_000;

impl Picture {
    /// The image squeezed to a square of `side` pixels, channel by channel and row by row; each pixel is the mean of the
    /// area it stands for.
    pub fn squeezed(&self, side: usize) -> Vec<u8> {
        let mut to = vec![0; 3 * side * side];
        let range = |place: usize, whole: usize| {
            let from = place * whole / side;
            from..((place + 1) * whole / side).max(from + 1)
        };
        for y in 0..side {
            for x in 0..side {
                for channel in 0..3 {
                    let (mut sum, mut count) = (0_u64, 0_u64);
                    for row in range(y, self.height) {
                        for column in range(x, self.width) {
                            sum += u64::from(self.pixels[(row * self.width + column) * 3 + channel]);
                            count += 1;
                        }
                    }
                    to[(channel * side + y) * side + x] = (sum / count.max(1)) as u8;
                }
            }
        }
        to
    }

    /// Pixels on a side that an image of this size is squeezed to.
    pub fn side(&self) -> usize {
        self.width.max(self.height).min(SIDE_MAX)
    }
}

/// Reads a PNG file.
///
/// # Errors
/// It cannot be read, or is no such image.
pub fn read(path: &Path) -> Result<Picture> {
    check_regular(path)?;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PIXELS_MAX).read_to_end(&mut bytes))
        .map_err(|source| Error::io("read", path, source))?;
    Picture::decode(&bytes).map_err(|reason| Error::file(path, reason))
}

/// The PNG files of a folder by the folder they lie in, which is their class; sorted.
///
/// # Errors
/// The folder cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<(String, Vec<PathBuf>)>> {
    let mut classes = Vec::new();
    for class in entries(folder)?.into_iter().filter(|path| path.is_dir()).take(CLASSES_MAX) {
        let name = class.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_png = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        let files: Vec<PathBuf> = entries(&class)?.into_iter().filter(is_png).collect();
        if !files.is_empty() && !name.starts_with('.') {
            classes.push((name, files));
        }
    }
    Ok(classes)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = std::fs::read_dir(folder).map_err(|source| Error::io("list", folder, source))?;
    let mut names = Vec::new();
    for entry in listing.take(FOLDER_ENTRIES_MAX) {
        names.push(entry.map_err(|source| Error::io("list", folder, source))?.path());
    }
    names.sort(); // a folder has no order of its own
    Ok(names)
}

#[cfg(test)]
mod tests {
    use ::png::{BitDepth, ColorType};

    use super::*;
    use crate::data::png::tests::png;

    /// A PNG of 4 x 2 pixels: red, half transparent black on the right.
    fn sample() -> Vec<u8> {
        let row = [[[255, 0, 0, 255]; 2].concat(), [[0, 0, 0, 127]; 2].concat()].concat();
        png([4, 2], BitDepth::Eight, ColorType::Rgba, &row.repeat(2))
    }

    #[test]
    fn a_picture_is_read_put_on_white_and_squeezed() {
        let picture = Picture::decode(&sample()).unwrap();
        assert_eq!((picture.width, picture.height, picture.side()), (4, 2, 4));
        assert_eq!(picture.squeezed(2), [255, 128, 255, 128, 0, 128, 0, 128, 0, 128, 0, 128]);
        assert_eq!(
            picture.squeezed(4)[..4],
            [255, 255, 128, 128],
            "rows are repeated where there are too few"
        );
    }

    #[test]
    fn folders_are_classes() {
        let folder = tempfile::tempdir().unwrap();
        for (class, name) in [("cat", "1.png"), ("cat", "2.PNG"), ("dog", "1.png"), ("notes", "x.txt")] {
            std::fs::create_dir_all(folder.path().join(class)).unwrap();
            std::fs::write(folder.path().join(class).join(name), sample()).unwrap();
        }
        let found = list(folder.path()).unwrap();
        assert_eq!(
            found.iter().map(|(c, files)| (c.as_str(), files.len())).collect::<Vec<_>>(),
            [("cat", 2), ("dog", 1)]
        );
        assert_eq!(read(&found[0].1[0]).unwrap().width, 4);
    }
}
