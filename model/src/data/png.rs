//! PNG images, as far as data sets use them: 8 bits a value (fewer for grey and palettes), not interlaced.
//!
//! Written out because it is a page, and a decoder from a library brings a second inflater with it. What is not supported
//! is refused by name.

use std::io::Read;

use flate2::bufread::ZlibDecoder;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Pixels at most.
pub const PIXELS_MAX: u64 = 1 << 26;

/// An image: red, green and blue from 0 to 255, transparent pixels on white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `(height, width, 3)`.
    pub pixels: Vec<u8>,
}

/// What stands in the header.
struct Header {
    width: usize,
    height: usize,
    depth: usize,
    colour: u8,
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, String> {
        let &[w1, w2, w3, w4, h1, h2, h3, h4, depth, colour, _, _, interlace] = data else {
            return Err("expected a header of 13 bytes".to_owned());
        };
        let (width, height) = (u32::from_be_bytes([w1, w2, w3, w4]), u32::from_be_bytes([h1, h2, h3, h4]));
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > PIXELS_MAX {
            return Err(format!("expected 1 to {PIXELS_MAX} pixels, found {width} x {height}"));
        }
        let is_known = match colour {
            0 | 3 => matches!(depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => depth == 8,
            _ => false,
        };
        if !is_known || interlace != 0 {
            return Err(
                "expected 8 bits a value and no interlacing, found another kind: save it so".to_owned()
            );
        }
        Ok(Self { width: width as usize, height: height as usize, depth: usize::from(depth), colour })
    }

    /// Values of a pixel.
    fn channels(&self) -> usize {
        match self.colour {
            2 => 3,
            4 => 2,
            6 => 4,
            _ => 1,
        }
    }

    /// Bytes of a row without its filter.
    fn row(&self) -> usize {
        (self.width * self.channels() * self.depth).div_ceil(8)
    }
}

impl Picture {
    /// Reads a PNG from bytes.
    ///
    /// # Errors
    /// It is none, is torn, too large, or of a kind that is not supported; the error says so.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes.strip_prefix(SIGNATURE).ok_or("expected a PNG image, found another file")?;
        let (mut header, mut packed) = (None, Vec::new());
        let (mut palette, mut opacity): (&[u8], &[u8]) = (&[], &[]);
        while let Some((head, behind)) = rest.split_first_chunk::<8>() {
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let (Some(data), Some(next)) = (behind.get(..length), behind.get(length + 4..)) else {
                return Err("the image ends in the middle".to_owned());
            };
            match &head[4..] {
                b"IHDR" => header = Some(Header::read(data)?),
                b"PLTE" => palette = data,
                b"tRNS" => opacity = data,
                b"IDAT" => packed.extend_from_slice(data),
                b"IEND" => break,
                _ => {}
            }
            rest = next;
        }
        let header = header.ok_or("expected a header, found none")?;
        let rows = unfiltered(&header, &packed)?;
        let mut pixels = Vec::with_capacity(header.width * header.height * 3);
        for row in rows.chunks_exact(header.row()) {
            for x in 0..header.width {
                pixels.extend(colour(&header, row, x, palette, opacity)?);
            }
        }
        Ok(Self { width: header.width, height: header.height, pixels })
    }
}

/// The rows without their filters (PNG specification, section 9).
fn unfiltered(header: &Header, packed: &[u8]) -> Result<Vec<u8>, String> {
    let length = header.row();
    let mut raw = Vec::new();
    // Never more than the header says, whatever the packed bytes unpack to.
    let expected = ((length + 1) * header.height) as u64;
    ZlibDecoder::new(packed)
        .take(expected)
        .read_to_end(&mut raw)
        .map_err(|e| format!("the pixels cannot be unpacked: {e}"))?;
    if raw.len() as u64 != expected {
        return Err(format!("expected {expected} bytes of pixels, found {}", raw.len()));
    }
    let step = (header.channels() * header.depth / 8).max(1);
    let mut rows: Vec<u8> = Vec::with_capacity(length * header.height);
    let mut above = vec![0_u8; length];
    for line in raw.chunks_exact(length + 1) {
        let mut row = line[1..].to_vec();
        for x in 0..length {
            let left = if x >= step { row[x - step] } else { 0 };
            let corner = if x >= step { above[x - step] } else { 0 };
            let guess = match line[0] {
                0 => 0,
                1 => left,
                2 => above[x],
                3 => u8::midpoint(left, above[x]),
                4 => nearest(left, above[x], corner),
                other => return Err(format!("expected a filter from 0 to 4, found {other}")),
            };
            row[x] = row[x].wrapping_add(guess);
        }
        rows.extend_from_slice(&row);
        above = row;
    }
    Ok(rows)
}

/// Paeth's choice: whichever of the three is nearest to left + above - corner.
fn nearest(left: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, above, corner].map(i16::from);
    let guess = a + b - c;
    let [da, db, dc] = [a, b, c].map(|value| (guess - value).abs());
    if da <= db && da <= dc {
        left
    } else if db <= dc {
        above
    } else {
        corner
    }
}

/// Red, green and blue of a pixel.
fn colour(header: &Header, row: &[u8], x: usize, palette: &[u8], opacity: &[u8]) -> Result<[u8; 3], String> {
    let on_white = |value: u8, opacity: u8| {
        let (value, opacity) = (u32::from(value), u32::from(opacity));
        ((value * opacity + 255 * (255 - opacity)) / 255) as u8
    };
    let at = |channel: usize| row[x * header.channels() + channel];
    Ok(match header.colour {
        2 => [at(0), at(1), at(2)],
        4 => [on_white(at(0), at(1)); 3],
        6 => [at(0), at(1), at(2)].map(|value| on_white(value, at(3))),
        kind => {
            // Small values lie packed in a byte, the first in the highest bits.
            let bit = x * header.depth;
            let most = ((1_u16 << header.depth) - 1) as u8;
            let value = (row[bit / 8] >> (8 - header.depth - bit % 8)) & most;
            if kind == 0 {
                [(u32::from(value) * 255 / u32::from(most)) as u8; 3]
            } else {
                let place = usize::from(value);
                let entry = palette.get(3 * place..3 * place + 3);
                let entry =
                    entry.ok_or_else(|| format!("expected a palette of more than {place} colours"))?;
                let opacity = opacity.get(place).copied().unwrap_or(255);
                [entry[0], entry[1], entry[2]].map(|value| on_white(value, opacity))
            }
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// A PNG of filtered rows; checksums are left 0, nobody reads them.
    pub(crate) fn png(
        width: u32,
        height: u32,
        depth: u8,
        colour: u8,
        palette: &[u8],
        rows: &[u8],
    ) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed.write_all(rows).unwrap();
        let mut header = Vec::new();
        header.extend(width.to_be_bytes());
        header.extend(height.to_be_bytes());
        header.extend([depth, colour, 0, 0, 0]);
        let mut bytes = SIGNATURE.to_vec();
        let packed = packed.finish().unwrap();
        for (name, data) in
            [(b"IHDR", &header[..]), (b"PLTE", palette), (b"IDAT", &packed[..]), (b"IEND", &[][..])]
        {
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(name);
            bytes.extend(data);
            bytes.extend([0; 4]);
        }
        bytes
    }

    #[test]
    fn every_filter_gives_back_what_was_filtered() {
        // Grey, four rows of three, each the same values 10, 20, 40 under another filter.
        let rows = [[1, 10, 10, 20], [2, 0, 0, 0], [3, 5, 5, 10], [4, 0, 0, 0]].concat();
        let picture = Picture::decode(&png(3, 4, 8, 0, &[], &rows)).unwrap();
        let greys: Vec<u8> = picture.pixels.iter().step_by(3).copied().collect();
        assert_eq!(greys, [10, 20, 40].repeat(4));
    }

    #[test]
    fn opacity_palettes_and_small_values_are_read() {
        let half = Picture::decode(&png(2, 1, 8, 6, &[], &[0, 255, 0, 0, 255, 0, 0, 0, 127])).unwrap();
        assert_eq!(half.pixels, [255, 0, 0, 128, 128, 128]);
        let bits = Picture::decode(&png(3, 1, 1, 3, &[9, 8, 7, 1, 2, 3], &[0, 0b1010_0000])).unwrap();
        assert_eq!(bits.pixels, [1, 2, 3, 9, 8, 7, 1, 2, 3]);
        let grey = Picture::decode(&png(2, 1, 4, 0, &[], &[0, 0xf0])).unwrap();
        assert_eq!(grey.pixels, [255, 255, 255, 0, 0, 0]);
    }

    #[test]
    fn torn_strange_and_lying_files_are_refused() {
        let good = png(2, 1, 8, 0, &[], &[0, 1, 2]);
        assert!(Picture::decode(&good).is_ok());
        for (wrong, said) in [
            (b"GIF89a".to_vec(), "PNG"),
            (good[..good.len() - 18].to_vec(), "middle"),
            (png(2, 1, 16, 0, &[], &[0, 1, 2]), "8 bits"),
            (png(1 << 16, 1 << 16, 8, 0, &[], &[0]), "pixels"),
            (png(2, 2, 8, 0, &[], &[0, 1, 2]), "expected 6 bytes"),
            (png(2, 1, 8, 0, &[], &[9, 1, 2]), "filter"),
            (png(1, 1, 8, 3, &[1, 2, 3], &[0, 5]), "palette"),
        ] {
            let error = Picture::decode(&wrong).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
