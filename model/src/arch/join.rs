//! How the towers of a multimodal model are joined, as written in a charter or a configuration file.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A way to join towers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// One vector of each tower, weighed by a softmax over learned gates.
    #[default]
    GatedSum,
    /// A query made of all that a row has, which attends to every token of every tower.
    CrossAttention,
}

impl Join {
    /// Checks the number of attention heads, which only cross-attention has; `width` was checked.
    ///
    /// # Errors
    /// There are none for cross-attention, they do not divide the width, or there are some for a gated sum.
    pub(super) fn validate(self, heads: Option<usize>, width: usize) -> Result<()> {
        let reason = match (self, heads) {
            (Self::GatedSum, None) => return Ok(()),
            (Self::CrossAttention, Some(heads)) if (1..=256).contains(&heads) => {
                if width.is_multiple_of(heads) {
                    return Ok(());
                }
                format!("expected a divisor of width {width}, found {heads}")
            }
            (Self::GatedSum, Some(heads)) => {
                format!("expected none for towers joined by a gated sum, found {heads}")
            }
            (Self::CrossAttention, heads) => {
                let found = heads.map_or_else(|| "none".to_owned(), |heads| heads.to_string());
                format!("expected 1 to 256 for towers joined by cross-attention, found {found}")
            }
        };
        Err(Error::config("num_attention_heads", reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{ArchConfig, Head};

    const BEFORE: &str = r#"{"kind":"multimodal","width":8,"hidden_size":6,"image":{"image_size":4,"patch_size":2,"num_channels":1,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":12,"layer_norm_eps":1e-6,"hidden_act":"gelu"},"table":{"columns":2,"hidden_size":5}}"#;

    fn with(keys: &str) -> std::result::Result<ArchConfig, serde_json::Error> {
        serde_json::from_str(&BEFORE.replace("\"hidden_size\":6", &format!("\"hidden_size\":6,{keys}")))
    }

    #[test]
    fn a_configuration_without_the_key_means_the_gated_sum_and_is_written_as_before() {
        let arch: ArchConfig = serde_json::from_str(BEFORE).unwrap();
        let ArchConfig::Multimodal(config) = &arch else { panic!("{arch:?}") };
        assert_eq!((config.join, config.num_attention_heads), (Join::GatedSum, None));
        assert_eq!(serde_json::to_string(&arch).unwrap(), BEFORE);
        // Said or not said, it is one text, so one hash in a charter.
        assert_eq!(serde_json::to_string(&with(r#""join":"gated-sum""#).unwrap()).unwrap(), BEFORE);
        arch.validate(&Head::Classification { labels: 3 }).unwrap();
    }

    #[test]
    fn cross_attention_is_read_written_and_checked() {
        let keys = r#""join":"cross-attention","num_attention_heads":4"#;
        let arch = with(keys).unwrap();
        arch.validate(&Head::Classification { labels: 3 }).unwrap();
        let text = serde_json::to_string(&arch).unwrap();
        assert!(text.contains(keys), "{text}");
        assert_eq!(serde_json::from_str::<ArchConfig>(&text).unwrap(), arch);
        let unknown = with(r#""join":"sum""#).unwrap_err().to_string();
        assert!(unknown.contains("expected `gated-sum` or `cross-attention`"), "{unknown}");
        for (keys, expected) in [
            (
                r#""join":"cross-attention""#,
                "expected 1 to 256 for towers joined by cross-attention, found none",
            ),
            (r#""join":"cross-attention","num_attention_heads":0"#, "found 0"),
            (r#""join":"cross-attention","num_attention_heads":3"#, "expected a divisor of width 8, found 3"),
            (r#""num_attention_heads":4"#, "expected none for towers joined by a gated sum, found 4"),
        ] {
            let error = with(keys).unwrap().validate(&Head::Classification { labels: 3 }).unwrap_err();
            assert!(error.to_string().contains("num_attention_heads"), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
