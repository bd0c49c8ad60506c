//! One name for everything in a model folder that its answers depend on.
//!
//! Fusions and cards name models by it. Notes and pictures beside a model do not count, so that they may change.

use std::path::Path;

use model::error::{Error, Result};

/// Files of a model folder that its answers depend on.
const ANSWERING_FILES: [&str; 4] = ["model.safetensors", "config.json", "tokenizer.json", "starling.json"];

/// The hash of everything in a model folder that its answers depend on, in hexadecimal.
pub fn hash_model(dir: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("starling model folder v1");
    for name in ANSWERING_FILES {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                hasher.update(name.as_bytes());
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(&bytes);
            }
            // Models of images have no tokenizer.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::io("read", &path, source)),
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_folder_changes_with_every_file_that_matters_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("model.safetensors", "weights");
        write("config.json", "{}");
        let mut seen = vec![hash_model(dir.path()).unwrap()];
        write("README.md", "notes");
        assert_eq!(hash_model(dir.path()).unwrap(), seen[0]);
        for (name, text) in
            [("tokenizer.json", "t"), ("config.json", "{ }"), ("model.safetensors", "Weights")]
        {
            write(name, text);
            let hash = hash_model(dir.path()).unwrap();
            assert!(!seen.contains(&hash), "{name}");
            seen.push(hash);
        }
    }
}
