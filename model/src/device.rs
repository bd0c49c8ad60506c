//! Which device computes.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The device a person asks for: `auto`, `cpu`, `cuda`, `cuda:1` or `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first accelerator this build and machine have, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA card by its number.
    Cuda(usize),
    /// Apple's graphics processor.
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(Self::Cuda(0).open().or_else(|_| Self::Metal.open()).unwrap_or(Device::Cpu)),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(self.missing("cuda")),
            Self::Metal if !cfg!(feature = "metal") => Err(self.missing("metal")),
            Self::Cuda(number) => Device::new_cuda(number).map_err(|source| self.failed(&source)),
            Self::Metal => Device::new_metal(0).map_err(|source| self.failed(&source)),
        }
    }

    /// The device that [`Self::open`] takes, with `auto` decided.
    pub fn decided(self) -> Result<Self> {
        Ok(match (self, self.open()?) {
            (Self::Auto, Device::Cpu) => Self::Cpu,
            (Self::Auto, Device::Cuda(_)) => Self::Cuda(0),
            (Self::Auto, Device::Metal(_)) => Self::Metal,
            (asked, _) => asked,
        })
    }

    fn missing(self, feature: &str) -> Error {
        let reason = format!(
            "this program was built without the feature `{feature}`; use `cpu` or `auto`, or build with `--features {feature}`"
        );
        Error::Device { device: self.to_string(), reason }
    }

    fn failed(self, source: &candle_core::Error) -> Error {
        let reason = format!("could not be opened ({source}); check the driver and the number, or use `cpu`");
        Error::Device { device: self.to_string(), reason }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Cpu => out.write_str("cpu"),
            Self::Cuda(number) => write!(out, "cuda:{number}"),
            Self::Metal => out.write_str("metal"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (text, number) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("metal", _) => Ok(Self::Metal),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(number)) => Ok(Self::Cuda(number)),
            _ => Err(Error::config(
                "device",
                format!("expected auto, cpu, cuda, cuda:NUMBER or metal, found `{text}`"),
            )),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_back_as_written_and_others_are_refused() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3), DeviceChoice::Metal] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_this_build_lacks_is_refused_with_a_remedy() {
        if !cfg!(feature = "cuda") {
            let error = DeviceChoice::Cuda(0).open().unwrap_err().to_string();
            assert!(error.contains("--features cuda"), "{error}");
        }
        if !cfg!(any(feature = "cuda", feature = "metal")) {
            assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
        }
    }
}
