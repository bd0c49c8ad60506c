//! A recipe's architecture with the sizes that follow from the data: vocabulary, pixels, columns, features, classes.

use model::arch::config::ArchConfig;
use model::data::sizes::Sizes;
use toml::{Table, Value};

/// Fills in what the data says.
///
/// A perceptron's `layers` are its hidden ones. Towers for what the data does not have are left out.
///
/// # Errors
/// The table is no architecture, or the data does not fit it; the error says why.
pub fn fit(table: &Table, sizes: &Sizes, labels: usize, vocabulary: usize) -> Result<ArchConfig, String> {
    let mut table = table.clone();
    match table.get("kind").and_then(Value::as_str) {
        Some("graph") => set(&mut table, "features", sizes.features.max(1)),
        Some("patch") => image(&mut table, sizes)?,
        Some("mlp") => {
            let pixels = sizes.image.map_or(0, |sizes| sizes.iter().product::<usize>());
            let inner = table.get("layers").and_then(Value::as_array).cloned().unwrap_or_default();
            let ends = |size: usize| Value::Integer(size as i64);
            let layers = [vec![ends(pixels)], inner, vec![ends(labels)]].concat();
            table.insert("layers".to_owned(), Value::Array(layers));
        }
        Some("multimodal") => towers(&mut table, sizes, vocabulary)?,
        _ => set(&mut table, "vocab_size", vocabulary),
    }
    table.try_into().map_err(|e: toml::de::Error| e.to_string())
}

fn set(table: &mut Table, key: &str, size: usize) {
    table.insert(key.to_owned(), Value::Integer(size as i64));
}

fn image(table: &mut Table, sizes: &Sizes) -> Result<(), String> {
    match sizes.image {
        Some([channels, height, width]) if height == width => {
            set(table, "num_channels", channels);
            set(table, "image_size", height);
            Ok(())
        }
        Some([_, height, width]) => {
            Err(format!("expected square images for patches, found {height} x {width}: use an mlp"))
        }
        None => Err("expected images in the data, found none".to_owned()),
    }
}

fn towers(table: &mut Table, sizes: &Sizes, vocabulary: usize) -> Result<(), String> {
    let has = [
        ("text", sizes.has_text),
        ("image", sizes.image.is_some()),
        ("table", sizes.columns > 0),
        ("graph", sizes.features > 0),
    ];
    for (name, has) in has {
        if !has {
            table.remove(name);
            continue;
        }
        let Some(Value::Table(tower)) = table.get_mut(name) else { continue };
        match name {
            "text" => set(tower, "vocab_size", vocabulary),
            "image" => image(tower, sizes)?,
            "table" => set(tower, "columns", sizes.columns),
            _ => set(tower, "features", sizes.features),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::arch::join::Join;

    use super::*;

    fn fitted(text: &str, sizes: &Sizes) -> Result<ArchConfig, String> {
        fit(&text.parse().unwrap(), sizes, 3, 50)
    }

    #[test]
    fn sizes_follow_from_the_data() {
        let sizes = Sizes { image: Some([1, 8, 8]), columns: 4, ..Sizes::default() };
        let ArchConfig::Mlp(mlp) = fitted("kind = \"mlp\"\nlayers = [20]", &sizes).unwrap() else { panic!() };
        assert_eq!(mlp.layers, [64, 20, 3]);
        let towers = "kind = \"multimodal\"\nwidth = 8\nhidden_size = 8\ntable = { hidden_size = 8 }\n\
            graph = { hidden_size = 8 }\n[image]\npatch_size = 4\nhidden_size = 8\nnum_hidden_layers = 1\n\
            num_attention_heads = 2\nintermediate_size = 8\n";
        let ArchConfig::Multimodal(of) = fitted(towers, &sizes).unwrap() else { panic!() };
        assert_eq!(of.image.as_ref().unwrap().image_size, 8);
        assert_eq!((of.table.as_ref().unwrap().columns, of.graph.is_none()), (4, true));
        assert_eq!((of.join, of.num_attention_heads), (Join::GatedSum, None));
        let cross = format!("join = \"cross-attention\"\nnum_attention_heads = 2\n{towers}");
        let ArchConfig::Multimodal(of) = fitted(&cross, &sizes).unwrap() else { panic!() };
        assert_eq!((of.join, of.num_attention_heads), (Join::CrossAttention, Some(2)));
        let wide = Sizes { image: Some([1, 8, 4]), ..Sizes::default() };
        assert!(fitted(towers, &wide).unwrap_err().contains("square"));
        assert!(fitted(towers, &Sizes::default()).is_ok(), "what cannot work is refused with the model");
    }
}
