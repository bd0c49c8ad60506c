//! What a model is made of, as written in a charter or a configuration file.

use serde::{Deserialize, Serialize};

use crate::arch::decoder_config::DecoderConfig;
use crate::arch::graph_config::GraphConfig;
use crate::arch::join::Join;
use crate::arch::modality::Modality;
use crate::arch::patch_config::PatchConfig;
use crate::error::{Error, Result};
use crate::ops::activation::Activation;

/// Parameters a model may have; a charter that asks for more is refused before anything is allocated.
pub const PARAMETERS_MAX: u64 = 4_000_000_000;

/// An architecture and its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ArchConfig {
    /// A BERT-compatible transformer encoder.
    Encoder(EncoderConfig),
    /// Linear layers with ReLU between them.
    Mlp(MlpConfig),
    /// A Llama-compatible transformer decoder.
    Decoder(DecoderConfig),
    /// GraphSAGE over nodes with lists of features.
    Graph(GraphConfig),
    /// A ViT-compatible patch encoder.
    Patch(PatchConfig),
    /// Towers for text, images, tables and relations, joined.
    Multimodal(Box<MultimodalConfig>),
}

/// Sizes of a BERT-compatible encoder; the names are those of a Hugging Face `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Entries of the token table.
    pub vocab_size: usize,
    /// Features per token.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Features between the two linear layers of a block.
    pub intermediate_size: usize,
    /// Longest sequence.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Entries of the segment table; only entry 0 is used.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// ε of the layer normalisations.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// Activation between the two linear layers of a block.
    #[serde(default = "default_activation")]
    pub hidden_act: Activation,
    /// Probability of dropping a value while training, at every place BERT does; 0 drops nothing.
    #[serde(default)]
    pub dropout: f64,
}

/// Sizes of a multilayer perceptron.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Features in, hidden sizes, classes out, for example `[784, 256, 128, 10]`.
    pub layers: Vec<usize>,
}

/// Towers that are joined; a tower that is absent is not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultimodalConfig {
    /// Numbers each tower gives, for a row or for each of its tokens, and their join has.
    pub width: usize,
    /// Numbers between the join and the labels, and between the two linear layers of cross-attention.
    pub hidden_size: usize,
    /// How they are joined.
    #[serde(default, skip_serializing_if = "is_default")]
    pub join: Join,
    /// Attention heads of cross-attention; divides `width`. A gated sum has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_attention_heads: Option<usize>,
    /// The tower for texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<EncoderConfig>,
    /// The tower for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PatchConfig>,
    /// The tower for columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableConfig>,
    /// The tower for relations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<GraphConfig>,
}

/// Sizes of the tower for columns, a perceptron with one hidden layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Columns; each is read as its value (0 where it is missing) and whether it is missing.
    pub columns: usize,
    /// Numbers between the columns and the tower's answer.
    pub hidden_size: usize,
}

/// What a model puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Head {
    /// One label per token.
    Tagging {
        /// Labels.
        labels: usize,
    },
    /// One label per row.
    Classification {
        /// Labels.
        labels: usize,
    },
    /// The next token behind every token.
    Language {
        /// Tokens of the vocabulary.
        labels: usize,
    },
    /// One label per pair of nodes.
    Pair {
        /// Labels.
        labels: usize,
    },
}

impl Head {
    /// Labels of one output.
    pub fn labels(&self) -> usize {
        match self {
            Self::Tagging { labels }
            | Self::Classification { labels }
            | Self::Language { labels }
            | Self::Pair { labels } => *labels,
        }
    }

    /// Whether there is an output for every token, not one for a row.
    pub fn is_per_token(&self) -> bool {
        matches!(self, Self::Tagging { .. } | Self::Language { .. })
    }
}

/// Whether a setting need not be written: what older configurations leave out must not change their text, nor their hash.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_positions() -> usize {
    512
}

fn default_types() -> usize {
    2
}

fn default_epsilon() -> f64 {
    1e-12
}

fn default_activation() -> Activation {
    Activation::Gelu
}

impl ArchConfig {
    /// Checks every size, and that the head fits.
    pub fn validate(&self, head: &Head) -> Result<()> {
        bounded("head.labels", head.labels(), 1, 1 << 20)?;
        match self {
            Self::Encoder(config) => config.validate(head),
            Self::Mlp(config) => config.validate(head),
            Self::Decoder(config) => validate_decoder(config, head),
            Self::Graph(config) => validate_graph(config, head),
            Self::Patch(config) => validate_patch(config, head),
            Self::Multimodal(config) => config.validate(head),
        }
    }
}

impl ArchConfig {
    /// What it reads, for a message.
    pub fn reads(&self) -> &'static str {
        match self {
            Self::Encoder(_) | Self::Decoder(_) => "tokens",
            Self::Mlp(_) | Self::Patch(_) => "features",
            Self::Graph(_) => "nodes of a graph",
            Self::Multimodal(_) => "records",
        }
    }

    /// Whether it reads tokens, so that a tokenizer belongs to it.
    pub fn reads_text(&self) -> bool {
        match self {
            Self::Encoder(_) | Self::Decoder(_) => true,
            Self::Multimodal(config) => config.text.is_some(),
            Self::Mlp(_) | Self::Patch(_) | Self::Graph(_) => false,
        }
    }
}

impl EncoderConfig {
    /// A small encoder that trains in minutes on two cores: 4 layers of 128, 4 heads.
    pub fn small(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 128,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            intermediate_size: 512,
            max_position_embeddings: 128,
            type_vocab_size: default_types(),
            layer_norm_eps: default_epsilon(),
            hidden_act: default_activation(),
            dropout: 0.0,
        }
    }

    /// The sizes of MiniLM-L6-H384.
    pub fn minilm(vocab_size: usize) -> Self {
        Self {
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            max_position_embeddings: 512,
            ..Self::small(vocab_size)
        }
    }

    fn validate(&self, head: &Head) -> Result<()> {
        if !matches!(head, Head::Tagging { .. } | Head::Classification { .. }) {
            let reason = "expected tagging or classification for an encoder, found another: use a decoder for language";
            return Err(Error::config("head", reason));
        }
        bounded("vocab_size", self.vocab_size, 1, 4 << 20)?;
        bounded("hidden_size", self.hidden_size, 1, 1 << 14)?;
        bounded("num_hidden_layers", self.num_hidden_layers, 1, 256)?;
        bounded("num_attention_heads", self.num_attention_heads, 1, 256)?;
        bounded("intermediate_size", self.intermediate_size, 1, 1 << 16)?;
        bounded("max_position_embeddings", self.max_position_embeddings, 1, 1 << 16)?;
        bounded("type_vocab_size", self.type_vocab_size, 1, 1 << 10)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let reason = format!(
                "expected a divisor of hidden_size {}, found {}",
                self.hidden_size, self.num_attention_heads
            );
            return Err(Error::config("num_attention_heads", reason));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            let reason = format!("expected a number between 0 and 1, found {}", self.layer_norm_eps);
            return Err(Error::config("layer_norm_eps", reason));
        }
        if !(0.0..=0.9).contains(&self.dropout) {
            return Err(Error::config(
                "dropout",
                format!("expected a number from 0 to 0.9, found {}", self.dropout),
            ));
        }
        let (hidden, inner) = (self.hidden_size as u64, self.intermediate_size as u64);
        let block = 4 * hidden * hidden + 2 * hidden * inner;
        let tables = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size) as u64 * hidden;
        limited(block * self.num_hidden_layers as u64 + tables)
    }
}

impl MlpConfig {
    fn validate(&self, head: &Head) -> Result<()> {
        bounded("layers (count)", self.layers.len(), 2, 65)?;
        for size in &self.layers {
            bounded("layers", *size, 1, 1 << 20)?;
        }
        limited(self.layers.windows(2).map(|pair| pair[0] as u64 * pair[1] as u64).sum())?;
        let outputs = self.layers.last().copied().unwrap_or(0);
        match head {
            Head::Classification { labels } if *labels == outputs => Ok(()),
            Head::Classification { labels } => Err(Error::config(
                "layers",
                format!("expected {labels} outputs, one per label, found {outputs}"),
            )),
            Head::Tagging { .. } | Head::Language { .. } | Head::Pair { .. } => Err(Error::config(
                "head",
                "expected classification for an mlp, found another: use an encoder, a decoder or a graph",
            )),
        }
    }
}

impl MultimodalConfig {
    /// The towers there are, each as an architecture of its own, in the order of [`Modality::ALL`].
    pub fn towers(&self) -> Vec<(Modality, ArchConfig)> {
        let table = |of: &TableConfig| MlpConfig { layers: vec![2 * of.columns, of.hidden_size, self.width] };
        [
            self.text.clone().map(|of| (Modality::Text, ArchConfig::Encoder(of))),
            self.image.clone().map(|of| (Modality::Image, ArchConfig::Patch(of))),
            self.table.as_ref().map(|of| (Modality::Table, ArchConfig::Mlp(table(of)))),
            self.graph.clone().map(|of| (Modality::Graph, ArchConfig::Graph(of))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The head of a tower: `width` numbers for a row, or for each of its tokens where attention reads them.
    pub fn tower_head(&self, modality: Modality) -> Head {
        match (self.join, modality) {
            (Join::CrossAttention, Modality::Text | Modality::Image) => Head::Tagging { labels: self.width },
            _ => Head::Classification { labels: self.width },
        }
    }

    fn validate(&self, head: &Head) -> Result<()> {
        bounded("width", self.width, 1, 1 << 14)?;
        bounded("hidden_size", self.hidden_size, 1, 1 << 14)?;
        self.join.validate(self.num_attention_heads, self.width)?;
        if let Some(table) = &self.table {
            bounded("table.columns", table.columns, 1, 1 << 16)?;
        }
        let towers = self.towers();
        if towers.len() < 2 {
            let reason = "expected at least two of text, image, table and graph; use the tower's own architecture for one";
            return Err(Error::config("arch", reason));
        }
        for (_, tower) in towers {
            // Their sizes are the same for either head; images have no labels for patches but as towers.
            tower.validate(&Head::Classification { labels: self.width })?;
        }
        match head {
            Head::Classification { .. } => Ok(()),
            _ => Err(Error::config("head", "expected classification for records, found another")),
        }
    }
}

fn validate_decoder(config: &DecoderConfig, head: &Head) -> Result<()> {
    bounded("vocab_size", config.vocab_size, 1, 4 << 20)?;
    bounded("hidden_size", config.hidden_size, 2, 1 << 14)?;
    bounded("num_hidden_layers", config.num_hidden_layers, 1, 256)?;
    bounded("num_attention_heads", config.num_attention_heads, 1, 256)?;
    bounded("intermediate_size", config.intermediate_size, 1, 1 << 16)?;
    bounded("max_position_embeddings", config.max_position_embeddings, 1, 1 << 20)?;
    config.validate()?;
    limited(config.matrices())?;
    match head {
        Head::Language { labels } if *labels == config.vocab_size => Ok(()),
        Head::Language { labels } => Err(Error::config(
            "head.labels",
            format!("expected the vocabulary's {} tokens, found {labels}", config.vocab_size),
        )),
        _ => Err(Error::config("head", "expected language for a decoder, found another: use an encoder")),
    }
}

fn validate_graph(config: &GraphConfig, head: &Head) -> Result<()> {
    bounded("features", config.features, 1, 1 << 24)?;
    bounded("hidden_size", config.hidden_size, 1, 1 << 14)?;
    bounded("num_layers", config.num_layers, 1, 8)?;
    bounded("fan_out", config.fan_out, 1, 10_000)?;
    config.validate()?;
    limited(config.matrices())?;
    match head {
        Head::Classification { .. } | Head::Pair { .. } => Ok(()),
        _ => Err(Error::config(
            "head",
            "expected classification or pairs for a graph, found a label per token",
        )),
    }
}

fn validate_patch(config: &PatchConfig, head: &Head) -> Result<()> {
    bounded("image_size", config.image_size, 1, 1 << 12)?;
    bounded("patch_size", config.patch_size, 1, 1 << 12)?;
    bounded("num_channels", config.num_channels, 1, 64)?;
    bounded("hidden_size", config.hidden_size, 1, 1 << 14)?;
    bounded("num_hidden_layers", config.num_hidden_layers, 1, 256)?;
    bounded("num_attention_heads", config.num_attention_heads, 1, 256)?;
    bounded("intermediate_size", config.intermediate_size, 1, 1 << 16)?;
    config.validate()?;
    bounded("patches of an image", config.patches(), 1, 1 << 14)?;
    limited(config.matrices())?;
    match head {
        Head::Classification { .. } => Ok(()),
        _ => Err(Error::config("head", "expected classification for images, found a label per token")),
    }
}

fn bounded(name: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::config(name, format!("expected {least} to {most}, found {value}")))
}

fn limited(parameters: u64) -> Result<()> {
    if parameters <= PARAMETERS_MAX {
        return Ok(());
    }
    Err(Error::config(
        "arch",
        format!("expected at most {PARAMETERS_MAX} parameters, found about {parameters}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_by_its_kind_and_unknown_keys_are_refused() {
        let text = r#"{"kind":"encoder","vocab_size":100,"hidden_size":8,"num_hidden_layers":1,
            "num_attention_heads":2,"intermediate_size":16}"#;
        let arch: ArchConfig = serde_json::from_str(text).unwrap();
        assert!(
            matches!(&arch, ArchConfig::Encoder(c) if c.hidden_act == Activation::Gelu && c.type_vocab_size == 2)
        );
        assert_eq!(serde_json::from_str::<ArchConfig>(&serde_json::to_string(&arch).unwrap()).unwrap(), arch);
        let wrong = text.replace("vocab_size", "vocabulary");
        assert!(serde_json::from_str::<ArchConfig>(&wrong).is_err());
        let extra = text.replace("\"vocab_size\"", "\"colour\":1,\"vocab_size\"");
        assert!(serde_json::from_str::<ArchConfig>(&extra).unwrap_err().to_string().contains("colour"));
    }

    #[test]
    fn sizes_that_cannot_work_are_refused_with_the_name_of_the_setting() {
        let tag = Head::Tagging { labels: 3 };
        let good = EncoderConfig::small(50);
        type Spoil = fn(&mut EncoderConfig);
        let cases: [(&str, Spoil); 7] = [
            ("num_attention_heads", |c| c.num_attention_heads = 3),
            ("vocab_size", |c| c.vocab_size = 0),
            ("hidden_size", |c| c.hidden_size = usize::MAX),
            ("layer_norm_eps", |c| c.layer_norm_eps = f64::NAN),
            ("dropout", |c| c.dropout = 1.0),
            ("num_hidden_layers", |c| c.num_hidden_layers = 0),
            ("arch", |c| (c.hidden_size, c.num_hidden_layers) = (1 << 14, 256)),
        ];
        assert!(ArchConfig::Encoder(good.clone()).validate(&tag).is_ok());
        for (name, spoil) in cases {
            let mut config = good.clone();
            spoil(&mut config);
            let error = ArchConfig::Encoder(config).validate(&tag).unwrap_err().to_string();
            assert!(error.starts_with(&format!("setting {name}:")), "{error}");
        }
        let mlp = ArchConfig::Mlp(MlpConfig { layers: vec![4, 3] });
        assert!(mlp.validate(&tag).is_err());
        assert!(mlp.validate(&Head::Classification { labels: 2 }).is_err());
        assert!(mlp.validate(&Head::Classification { labels: 3 }).is_ok());
    }
}
