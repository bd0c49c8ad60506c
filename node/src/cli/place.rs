//! The flags that say which node is meant, and the settings found there.

use std::path::{Path, PathBuf};

use crate::config::load::{CONFIG_FILE, ConfigFile, Loaded, Sources, load};

/// Which node is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Directory of the node: settings, identity, saved state
    #[arg(long, value_name = "DIR", default_value = ".", env = "STARLING_DIR")]
    pub dir: PathBuf,
    /// Settings file, when it is not `starling.toml` in that directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Place {
    /// The node of a directory, for callers that take no flags.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.into(), config: None }
    }

    /// The settings file.
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.dir.join(CONFIG_FILE))
    }

    /// Where the settings come from: the file, the environment; the caller adds its flags.
    pub fn sources(&self) -> Sources {
        Sources { file: ConfigFile::At(self.config_path()), ..Sources::default() }.with_environment()
    }

    /// The merged settings without further flags.
    pub fn load(&self) -> Result<Loaded, crate::config::load::ConfigError> {
        load(&self.sources())
    }

    /// The directory of state and identity: `node.dir` of the settings where they can be read, else `--dir`.
    pub fn state_dir(&self) -> PathBuf {
        self.load().map_or_else(|_| self.dir.clone(), |loaded| loaded.config.node.dir)
    }
}
