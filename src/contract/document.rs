//! The JSON document that `porteiro.export` writes into the ONNX file, as it is written: see `docs/contract.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Class;
use crate::config::{FeatureType, Task};

/// The key of the document in the file's `metadata_props`.
pub const METADATA_KEY: &str = "porteiro";
/// The only format that this version reads.
const FORMAT: u64 = 1;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Document {
    pub task: Option<Task>,
    pub version: Option<String>,
    pub target: Option<String>,
    pub features: Option<Vec<FeatureDocument>>,
    pub classes: Option<Vec<Class>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub example: Option<Map<String, Value>>,
    pub golden: Option<Golden>,
    pub trained: Option<Trained>,
    /// Kept as written: monitoring reads it, serving does not.
    pub reference: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct FeatureDocument {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: FeatureType,
    #[serde(default)]
    pub nullable: bool,
    pub categories: Option<Vec<String>>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// Rows with the estimator's own predictions, in feature order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    pub rows: Vec<Vec<Value>>,
    pub predictions: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<Vec<Vec<f64>>>,
    #[serde(default)]
    pub tolerance: Tolerance,
}

/// Numbers agree where `|a - b| <= absolute + relative * |b|`, as in numpy's `isclose`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    pub absolute: f64,
    pub relative: f64,
}

impl Tolerance {
    pub fn agrees(&self, value: f64, expected: f64) -> bool {
        (value.is_nan() && expected.is_nan())
            || value == expected
            || (value - expected).abs() <= self.absolute + self.relative * expected.abs()
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { absolute: 1e-5, relative: 1e-4 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_rows: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub libraries: BTreeMap<String, String>,
}

impl Document {
    /// Reads the document.
    ///
    /// # Errors
    /// Says where the text is not JSON, which format it has, or which field is of another type.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: Option<Value>,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match head.format {
            Some(Value::Number(number)) if number.as_u64() == Some(FORMAT) => {}
            Some(other) => return Err(format!("format is {other}, this gateway reads format {FORMAT}: upgrade it")),
            None => return Err(format!("has no field `format`; expected {FORMAT}")),
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}
