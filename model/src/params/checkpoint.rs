//! Safetensors files: checked reading, whole-or-nothing writing.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::arch::slot::Slots;
use crate::error::{Error, Result};
use crate::ops::vector::all_finite;
use crate::params::header::{Entry, Header, Number, header_length, parse};
use crate::params::names::candidates;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// A checked safetensors file, open for reading.
#[derive(Debug)]
pub struct Checkpoint {
    path: String,
    file: File,
    header: Header,
}

/// Whether a tensor of the model was in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was read.
    Yes,
    /// The file has no tensor of that name.
    Absent,
    /// The file has one of another shape.
    OtherShape,
}

impl Checkpoint {
    /// Opens a file and checks its whole header. Pickle formats are refused by name: reading them can run code.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        if matches!(extension, "bin" | "pt" | "pth" | "pkl" | "pickle" | "ckpt") {
            return Err(refuse(format!(
                "`.{extension}` files can run code when read and are refused; convert it with \
                 `safetensors.torch.save_file` where you trust it"
            )));
        }
        let io = |source| Error::io("read", path, source);
        let kind = std::fs::metadata(path).map_err(io)?;
        if !kind.is_file() {
            return Err(refuse("expected a regular file".into()));
        }
        let mut file = File::open(path).map_err(io)?;
        let bytes = kind.len();
        if bytes < 8 {
            return Err(refuse(format!("expected at least 8 bytes, found {bytes}")));
        }
        let mut first = [0; 8];
        file.read_exact(&mut first).map_err(io)?;
        let length = header_length(first, bytes).map_err(refuse)?;
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json).map_err(io)?;
        let header = parse(&json, bytes).map_err(refuse)?;
        Ok(Self { path: path.display().to_string(), file, header })
    }

    /// The checked header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The tensor under the first of the names that exists.
    pub fn entry(&self, names: &[String]) -> Option<(&str, &Entry)> {
        names
            .iter()
            .find_map(|name| self.header.entries.get_key_value(name))
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// Reads one parameter tensor into `values` if the file has it with this shape. Refuses numbers that are not finite
    /// and tensors of integers.
    pub fn read(&mut self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<Found> {
        let names = candidates(name);
        let Some((stored, entry)) = self.entry(&names) else { return Ok(Found::Absent) };
        let (stored, entry) = (stored.to_owned(), entry.clone());
        if !entry.shape.iter().copied().eq(shape.iter().map(|size| *size as u64)) {
            return Ok(Found::OtherShape);
        }
        let width = match entry.number {
            Number::F32 => 4,
            Number::F16 | Number::Bf16 => 2,
            Number::Other => {
                return Err(self.refuse(format!("tensor `{stored}` holds no floating-point numbers")));
            }
        };
        let start = SeekFrom::Start(self.header.data_start + entry.start);
        let io = |source| Error::io("read", Path::new(&self.path), source);
        self.file.seek(start).map_err(io)?;
        let mut bytes = vec![0; BLOCK.min(values.len() * width)];
        for values in values.chunks_mut((BLOCK / width).max(1)) {
            let bytes = &mut bytes[..values.len() * width];
            self.file.read_exact(bytes).map_err(io)?;
            decode(entry.number, bytes, values);
        }
        if !all_finite(values) {
            return Err(self.refuse(format!("tensor `{stored}` holds a number that is not finite")));
        }
        Ok(Found::Yes)
    }

    /// An error about this file.
    pub fn refuse(&self, reason: String) -> Error {
        Error::Checkpoint { file: self.path.clone(), reason }
    }
}

fn decode(number: Number, bytes: &[u8], values: &mut [f32]) {
    match number {
        Number::F32 | Number::Other => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Number::F16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        Number::Bf16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
    }
}

/// Writes flat parameters as a safetensors file in the flat order. The file appears under its name only when it is
/// complete and on the disk.
pub fn write(path: &Path, slots: &Slots, flat: &[f32]) -> Result<()> {
    if flat.len() != slots.total() {
        return Err(Error::shape("flat parameters", slots.total(), flat.len()));
    }
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    for slot in slots.by_name() {
        let entry = json!({
            "dtype": "F32",
            "shape": slot.shape,
            "data_offsets": [4 * slot.flat, 4 * (slot.flat + slot.range.len())],
        });
        header.insert(slot.name.clone(), entry);
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    // Readers expect the data to begin at a multiple of eight.
    json.resize(json.len().next_multiple_of(8), b' ');
    replace(path, |out| {
        out.write_all(&(json.len() as u64).to_le_bytes())?;
        out.write_all(&json)?;
        let mut bytes = Vec::with_capacity(BLOCK);
        for values in flat.chunks(BLOCK / 4) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            out.write_all(&bytes)?;
        }
        Ok(())
    })
}

/// Writes a file beside its name, forces it to the disk and moves it into place.
pub fn replace(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let result = File::create(&beside).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&beside, path)
    });
    if result.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = std::fs::remove_file(&beside);
    }
    result.map_err(|source| Error::io("write", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::slot::Init;
    use crate::seed::Seed;

    fn slots() -> Slots {
        let mut slots = Slots::default();
        slots.add("w", &[3, 2], Init::Normal(1.0));
        slots.add("bert.LayerNorm.weight", &[2], Init::Ones);
        slots.seal();
        slots
    }

    #[test]
    fn a_file_is_read_back_bit_for_bit_here_and_by_the_safetensors_library() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let slots = slots();
        let flat = slots.initial(&Seed::from_u64(4));
        write(&path, &slots, &flat).unwrap();
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        let mut w = [0.0; 6];
        assert_eq!(checkpoint.read("w", &[3, 2], &mut w).unwrap(), Found::Yes);
        assert_eq!(w, flat[2..]);
        assert_eq!(checkpoint.read("w", &[2, 3], &mut w).unwrap(), Found::OtherShape);
        assert_eq!(checkpoint.read("v", &[6], &mut w).unwrap(), Found::Absent);
        let bytes = std::fs::read(&path).unwrap();
        let library = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(library.tensor("w").unwrap().shape(), [3, 2]);
        assert_eq!(library.tensor("w").unwrap().data()[..4], flat[2].to_le_bytes());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn half_precision_and_older_names_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.safetensors");
        let json = r#"{"LayerNorm.gamma":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"w":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}}"#;
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        for half in [f16::from_f32(1.5).to_bits(), f16::from_f32(-2.0).to_bits(), 0x3f80, 0xc040] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        let mut values = [0.0; 2];
        assert_eq!(checkpoint.read("bert.LayerNorm.weight", &[2], &mut values).unwrap(), Found::Yes);
        assert_eq!(values, [1.5, -2.0]);
        assert_eq!(checkpoint.read("w", &[2], &mut values).unwrap(), Found::Yes);
        assert_eq!(values, [1.0, -3.0]);
    }

    #[test]
    fn a_file_cut_at_any_length_or_holding_a_nan_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let slots = slots();
        write(&path, &slots, &[1.0; 8]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let cut = dir.path().join("cut.safetensors");
        for length in 0..bytes.len() {
            std::fs::write(&cut, &bytes[..length]).unwrap();
            assert!(Checkpoint::open(&cut).is_err(), "{length}");
        }
        let mut spoiled = bytes.clone();
        let end = spoiled.len();
        spoiled[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&cut, &spoiled).unwrap();
        let mut values = [0.0; 6];
        let error = Checkpoint::open(&cut).unwrap().read("w", &[3, 2], &mut values).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }

    #[test]
    fn formats_that_can_run_code_and_things_that_are_no_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["model.bin", "model.pt", "model.pkl"] {
            let error = Checkpoint::open(&dir.path().join(name)).unwrap_err().to_string();
            assert!(error.contains("safetensors.torch.save_file"), "{error}");
        }
        assert!(Checkpoint::open(dir.path()).unwrap_err().to_string().contains("regular file"));
        assert!(Checkpoint::open(&dir.path().join("absent.safetensors")).is_err());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept");
        std::fs::write(&path, b"old").unwrap();
        let failed = replace(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
