//! PNG images of every kind, as red, green and blue.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Transformations};

/// Pixels at most.
pub const PIXELS_MAX: u64 = 1 << 26;
/// Bytes the decoder may take beside the pixels.
const DECODER_BYTES_MAX: usize = 64 << 20;

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

impl Picture {
    /// Reads a PNG from bytes; of an animated one the first image.
    ///
    /// # Errors
    /// It is none, is torn or changed, or has too many pixels; the error says so.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |e: png::DecodingError| format!("expected a whole PNG image: {e}");
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: DECODER_BYTES_MAX });
        // Palettes, small and large values all become eight bits a value.
        decoder.set_transformations(Transformations::normalize_to_color8());
        let header = decoder.read_header_info().map_err(wrong)?;
        let (width, height) = (header.width, header.height);
        let found = u64::from(width) * u64::from(height);
        if found > PIXELS_MAX {
            return Err(format!("expected at most {PIXELS_MAX} pixels, found {width} x {height}"));
        }
        let mut reader = decoder.read_info().map_err(wrong)?;
        let size = reader.output_buffer_size().ok_or("the image does not fit into memory")?;
        let mut values = vec![0; size];
        let (frame, (colour, _)) =
            (reader.next_frame(&mut values).map_err(wrong)?, reader.output_color_type());
        values.truncate(frame.buffer_size());
        let pixels =
            values.chunks_exact(colour.samples()).flat_map(|pixel| on_white(colour, pixel)).collect();
        Ok(Self { width: width as usize, height: height as usize, pixels })
    }
}

/// Red, green and blue of a pixel, shown on white as far as it is transparent.
fn on_white(colour: ColorType, pixel: &[u8]) -> [u8; 3] {
    let (values, opacity) = match colour {
        ColorType::GrayscaleAlpha => ([pixel[0]; 3], pixel[1]),
        ColorType::Rgba => ([pixel[0], pixel[1], pixel[2]], pixel[3]),
        ColorType::Rgb => ([pixel[0], pixel[1], pixel[2]], 255),
        ColorType::Grayscale | ColorType::Indexed => ([pixel[0]; 3], 255),
    };
    let opacity = u32::from(opacity);
    values.map(|value| ((u32::from(value) * opacity + 255 * (255 - opacity)) / 255) as u8)
}

#[cfg(test)]
pub(super) mod tests {
    use png::{BitDepth, Encoder};

    use super::*;

    /// A PNG of this kind.
    pub(crate) fn png(size: [u32; 2], depth: BitDepth, colour: ColorType, rows: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, size[0], size[1]);
        encoder.set_depth(depth);
        encoder.set_color(colour);
        if colour == ColorType::Indexed {
            encoder.set_palette(&[9, 8, 7, 1, 2, 3][..]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(rows).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_pixel_becomes_red_green_and_blue_on_white() {
        let pixels = |bytes: &[u8]| Picture::decode(bytes).unwrap().pixels;
        let rgba = png([2, 1], BitDepth::Eight, ColorType::Rgba, &[255, 0, 0, 255, 0, 0, 0, 127]);
        assert_eq!(pixels(&rgba), [255, 0, 0, 128, 128, 128]);
        let rgb = png([1, 2], BitDepth::Eight, ColorType::Rgb, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(pixels(&rgb), [1, 2, 3, 4, 5, 6]);
        let shaded = png([2, 1], BitDepth::Eight, ColorType::GrayscaleAlpha, &[10, 255, 10, 0]);
        assert_eq!(pixels(&shaded), [10, 10, 10, 255, 255, 255]);
        let bits = png([3, 1], BitDepth::One, ColorType::Indexed, &[0b1010_0000]);
        assert_eq!(pixels(&bits), [1, 2, 3, 9, 8, 7, 1, 2, 3]);
        let grey = png([2, 1], BitDepth::Four, ColorType::Grayscale, &[0xf0]);
        assert_eq!(pixels(&grey), [255, 255, 255, 0, 0, 0]);
        let fine = png([1, 1], BitDepth::Sixteen, ColorType::Grayscale, &[0x40, 0xff]);
        assert_eq!(pixels(&fine), [64, 64, 64]);
    }

    #[test]
    fn strange_torn_changed_and_huge_files_are_refused() {
        let good = png([2, 1], BitDepth::Eight, ColorType::Grayscale, &[1, 2]);
        assert!(Picture::decode(&good).is_ok());
        assert!(Picture::decode(b"GIF89a").unwrap_err().contains("PNG"));
        for end in 0..good.len() - 12 {
            assert!(Picture::decode(&good[..end]).is_err(), "torn after {end} bytes");
        }
        // The checksum of the pixels is behind them, before the twelve bytes of the last chunk.
        let mut changed = good.clone();
        changed[good.len() - 13] ^= 1;
        assert!(Picture::decode(&changed).is_err());
        let mut huge = Vec::new();
        Encoder::new(&mut huge, 1 << 16, 1 << 16).write_header().unwrap();
        assert!(Picture::decode(&huge).unwrap_err().contains("pixels"));
    }
}
