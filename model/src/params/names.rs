//! Under which other names a checkpoint may hold a tensor.
//!
//! Sentence encoders are saved without the `bert.` prefix, and the oldest BERT checkpoints call the parameters of a
//! layer normalisation `gamma` and `beta`.

/// The names to look for, in order of preference; the first is the tensor's own.
pub fn candidates(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if let Some(bare) = name.strip_prefix("bert.") {
        names.push(bare.to_owned());
    }
    for index in 0..names.len() {
        let legacy = names[index]
            .strip_suffix("LayerNorm.weight")
            .map(|stem| format!("{stem}LayerNorm.gamma"))
            .or_else(|| {
                names[index].strip_suffix("LayerNorm.bias").map(|stem| format!("{stem}LayerNorm.beta"))
            });
        names.extend(legacy);
    }
    names
}

/// Whether a tensor belongs to the head, which starts fresh if a checkpoint lacks it.
pub fn is_head(name: &str) -> bool {
    ["classifier.", "bert.pooler.", "pair.", "join."].iter().any(|head| name.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_shorter_names_are_tried_after_the_own_one() {
        assert_eq!(
            candidates("bert.embeddings.LayerNorm.weight"),
            [
                "bert.embeddings.LayerNorm.weight",
                "embeddings.LayerNorm.weight",
                "bert.embeddings.LayerNorm.gamma",
                "embeddings.LayerNorm.gamma"
            ]
        );
        assert_eq!(candidates("classifier.bias"), ["classifier.bias"]);
        assert!(is_head("classifier.weight") && !is_head("bert.embeddings.LayerNorm.bias"));
    }
}
