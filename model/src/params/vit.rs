//! ViT's `config.json`, read and written.

use serde_json::{Map, Value, json};

use crate::arch::patch_config::PatchConfig;

/// Reads the sizes; keys of no meaning here are passed over, what would change the mathematics is refused by name.
pub(super) fn read(config: &Map<String, Value>) -> Result<PatchConfig, String> {
    if config.get("qkv_bias").and_then(Value::as_bool) == Some(false) {
        return Err("expected qkv_bias true, found false".into());
    }
    let keys = [
        "image_size",
        "patch_size",
        "num_channels",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "layer_norm_eps",
        "hidden_act",
    ];
    let known = keys.iter().filter_map(|key| config.get_key_value(*key)).map(|(k, v)| (k.clone(), v.clone()));
    let mut known: Map<String, Value> = known.collect();
    // Files leave out what is the library's default, which is not ours.
    known.entry("num_channels").or_insert(3.into());
    serde_json::from_value(Value::Object(known)).map_err(|error| error.to_string())
}

/// Writes the sizes as Hugging Face reads them.
pub(super) fn describe(config: &PatchConfig, labels: usize) -> Value {
    let name = |k: usize| format!("LABEL_{k}");
    json!({
        "model_type": "vit",
        "architectures": ["ViTForImageClassification"],
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_channels": config.num_channels,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_act": config.hidden_act,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": true,
        "torch_dtype": "float32",
        "id2label": (0..labels).map(|k| (k.to_string(), name(k).into())).collect::<Map<_, _>>(),
        "label2id": (0..labels).map(|k| (name(k), k.into())).collect::<Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_other_mathematics_is_refused() {
        let text = json!({"image_size": 8, "patch_size": 4, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-6});
        let mut config = text.as_object().unwrap().clone();
        let sizes = read(&config).unwrap();
        assert_eq!(sizes.num_channels, 3);
        assert_eq!(read(describe(&sizes, 2).as_object().unwrap()).unwrap(), sizes);
        config.insert("qkv_bias".into(), false.into());
        assert!(read(&config).unwrap_err().contains("qkv_bias"));
    }
}
