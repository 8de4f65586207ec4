//! What a model takes and gives: features, labels, example, golden rows. Resolved once at load from the config, the document
//! in the file and the graph; requests are validated against it.

mod class;
mod document;
mod golden;
mod layout;
mod onnx;
mod prediction;
mod problems;
mod resolve;
mod rows;
mod tensor;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use crate::config::near as did_you_mean;
pub use crate::config::{Extra, FeatureType, Task};
pub use class::Class;
pub use document::{Document, Golden, METADATA_KEY, Tolerance, Trained};
pub use golden::{Disagreement, GoldenReport};
pub use layout::{InputColumns, Layout, Slot};
pub use onnx::OnnxFile;
pub use prediction::{Prediction, Reader, RowPrediction};
pub use problems::{DataProblem, DataProblems};
pub use resolve::{Contradiction, Sources, resolve};
pub use rows::{FeatureIndex, Got, RowBuilder};
pub use tensor::{
    Declared, DeclaredKind, ElementType, ModelInput, Output, OutputRows, Outputs, Signature, Table, Tensor, Values,
};

/// One feature: what clients send under its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    pub name: String,
    pub kind: FeatureType,
    /// Whether null, or leaving it out, is a legal value.
    pub nullable: bool,
    /// Values seen in training.
    pub categories: Option<Vec<String>>,
    /// Smallest value seen in training.
    pub min: Option<f64>,
    /// Largest value seen in training.
    pub max: Option<f64>,
}

/// How the inputs are fed.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Named features, laid out in columns.
    Columns(Arc<Layout>),
    /// Tensors by input name.
    Tensors,
}

/// Which output means what; indices into the signature's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputRoles {
    /// At least one of the two is there.
    Classification {
        label: Option<usize>,
        probabilities: Option<usize>,
    },
    Regression {
        value: usize,
    },
    Clustering {
        cluster: usize,
    },
    Raw,
}

/// A model's contract, complete and consistent with its graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    pub task: Task,
    /// The version's name, where the file says one.
    pub version: Option<String>,
    pub target: Option<String>,
    pub features: Vec<Feature>,
    /// The classes in the order of the probabilities' columns, where known.
    pub classes: Option<Vec<Class>>,
    /// Class, as text, to the text that clients read.
    pub labels: BTreeMap<String, String>,
    pub example: Option<Map<String, Value>>,
    pub golden: Option<Golden>,
    pub trained: Option<Trained>,
    /// Statistics of the training rows, as the file has them.
    pub reference: Option<Value>,
    pub extra: Extra,
    pub signature: Signature,
    pub inputs: Inputs,
    pub roles: OutputRoles,
    /// What is legal and yet probably a mistake, one sentence each.
    pub warnings: Vec<String>,
}

impl Contract {
    /// What a client can send: the contract's example row, else one of zeros and empty texts; tensors of them where the inputs are
    /// no columns.
    pub fn example_row(&self) -> Map<String, Value> {
        if let Some(example) = &self.example {
            return example.clone();
        }
        if self.inputs == Inputs::Tensors {
            return self.example_tensors();
        }
        let zero = |feature: &Feature| match feature.kind {
            FeatureType::Float => Value::from(0.0),
            FeatureType::Int => Value::from(0),
            FeatureType::Bool => Value::from(false),
            FeatureType::String => {
                Value::from(feature.categories.as_ref().and_then(|seen| seen.first()).map_or("", String::as_str))
            }
        };
        self.features.iter().map(|feature| (feature.name.clone(), zero(feature))).collect()
    }

    fn example_tensors(&self) -> Map<String, Value> {
        let zeros = |input: &Declared| match &input.kind {
            DeclaredKind::Tensor { element, shape } => nested_zeros(*element, shape),
            DeclaredKind::Maps | DeclaredKind::Unsupported(_) => Value::Null,
        };
        let inputs: Map<String, Value> =
            self.signature.inputs.iter().map(|input| (input.name.clone(), zeros(input))).collect();
        [("inputs".to_owned(), Value::Object(inputs))].into_iter().collect()
    }

    /// The text that clients read for a class.
    pub fn label(&self, class: &Class) -> Option<&str> {
        if self.labels.is_empty() {
            return None;
        }
        let known = self.classes.iter().flatten().find(|known| known.names_same(class)).unwrap_or(class);
        self.labels.get(&known.to_string()).map(String::as_str)
    }
}

/// A tensor of that shape; dimensions that are not fixed have a length of 1.
fn nested_zeros(element: ElementType, shape: &[i64]) -> Value {
    match shape.split_first() {
        Some((length, inner)) => {
            let length = usize::try_from(*length).unwrap_or(1);
            Value::Array(vec![nested_zeros(element, inner); length])
        }
        None => match element {
            ElementType::Float32 | ElementType::Float64 => Value::from(0.0),
            ElementType::Int64 | ElementType::Int32 => Value::from(0),
            ElementType::Bool => Value::from(false),
            ElementType::String => Value::from(""),
        },
    }
}
