//! Llama's `config.json`, read and written.
//!
//! Only the plain member of the family: what would change the mathematics (biases, scaled places, another head size) is
//! refused by name instead of being computed wrongly.

use serde_json::{Map, Value, json};

use crate::arch::decoder_config::DecoderConfig;

/// Reads the sizes; keys of no meaning here are passed over.
pub(super) fn read(config: &Map<String, Value>) -> Result<DecoderConfig, String> {
    for key in ["attention_bias", "mlp_bias"] {
        if config.get(key).and_then(Value::as_bool) == Some(true) {
            return Err(format!("expected {key} false, found true"));
        }
    }
    if let Some(found) = config.get("hidden_act").and_then(Value::as_str).filter(|found| *found != "silu") {
        return Err(format!("expected hidden_act `silu`, found `{found}`"));
    }
    let mut known = Map::new();
    for key in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
        "tie_word_embeddings",
    ] {
        if let Some(value) = config.get(key).filter(|value| !value.is_null()) {
            known.insert(key.to_owned(), value.clone());
        }
    }
    // Older files have no groups, newer ones keep the base of the angles in a table of its own.
    if let (false, Some(heads)) =
        (known.contains_key("num_key_value_heads"), config.get("num_attention_heads"))
    {
        known.insert("num_key_value_heads".to_owned(), heads.clone());
    }
    for key in ["rope_parameters", "rope_scaling"] {
        let Some(table) = config.get(key).filter(|value| !value.is_null()) else { continue };
        let kind = ["rope_type", "type"].iter().find_map(|key| table.get(key)).and_then(Value::as_str);
        if kind.is_some_and(|kind| kind != "default") {
            return Err(format!("expected {key} of type `default`, found `{}`", kind.unwrap_or_default()));
        }
        if let Some(theta) = table.get("rope_theta") {
            known.insert("rope_theta".to_owned(), theta.clone());
        }
    }
    let read: DecoderConfig =
        serde_json::from_value(Value::Object(known)).map_err(|error| error.to_string())?;
    let size = read.hidden_size.checked_div(read.num_attention_heads);
    if let Some(found) = config.get("head_dim").and_then(Value::as_u64).filter(|d| Some(*d as usize) != size)
    {
        return Err(format!("expected head_dim hidden_size / num_attention_heads, found {found}"));
    }
    Ok(read)
}

/// Writes the sizes as Hugging Face reads them, older and newer versions alike.
pub(super) fn describe(config: &DecoderConfig) -> Value {
    json!({
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.hidden_size / config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": { "rope_type": "default", "rope_theta": config.rope_theta },
        "tie_word_embeddings": config.tie_word_embeddings,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "bos_token_id": null,
        "eos_token_id": null,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: &Value) -> Map<String, Value> {
        let mut config = json!({
            "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 12, "hidden_act": "silu", "rope_scaling": null
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_written_reads_back_and_older_files_have_defaults() {
        let read_one =
            read(&config(&json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})));
        let read_one = read_one.unwrap();
        assert_eq!((read_one.num_key_value_heads, read_one.rope_theta), (2, 500.0));
        assert_eq!(read(describe(&read_one).as_object().unwrap()).unwrap(), read_one);
    }

    #[test]
    fn what_would_change_the_mathematics_is_refused_by_name() {
        for (key, value) in [
            ("attention_bias", json!(true)),
            ("mlp_bias", json!(true)),
            ("hidden_act", json!("gelu")),
            ("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0})),
            ("head_dim", json!(16)),
        ] {
            let mut changes = Map::new();
            changes.insert(key.to_owned(), value);
            let error = read(&config(&Value::Object(changes))).unwrap_err();
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
