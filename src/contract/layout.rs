//! How features lie in the graph's inputs.

use std::collections::HashMap;

use super::{ElementType, Feature};

/// One input of the graph that takes columns: `[N, width]`, or `[N]` where `is_vector`.
#[derive(Debug, Clone, PartialEq)]
pub struct InputColumns {
    pub name: String,
    pub element: ElementType,
    pub width: usize,
    pub is_vector: bool,
}

/// Where a feature's value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub input: usize,
    pub column: usize,
}

/// Inputs of a tabular model, and the slot of each feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub inputs: Vec<InputColumns>,
    pub slots: Vec<Slot>,
    index: HashMap<Box<str>, usize>,
    /// The features' names as JSON writes them.
    quoted: Vec<Box<[u8]>>,
}

impl Layout {
    /// `slots[i]` is the slot of `features[i]`.
    pub fn new(inputs: Vec<InputColumns>, slots: Vec<Slot>, features: &[Feature]) -> Self {
        let index = features.iter().enumerate().map(|(i, feature)| (feature.name.as_str().into(), i)).collect();
        let quoted = features
            .iter()
            .map(|feature| serde_json::Value::from(feature.name.as_str()).to_string().into_bytes().into());
        Self { inputs, slots, index, quoted: quoted.collect() }
    }

    /// The feature's name in quotes, as JSON writes it; nothing for a feature that is not there.
    pub fn quoted(&self, feature: usize) -> &[u8] {
        self.quoted.get(feature).map_or(&[], |quoted| quoted)
    }

    pub fn feature_index(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub fn element(&self, feature: usize) -> Option<ElementType> {
        self.slots.get(feature).and_then(|slot| self.inputs.get(slot.input)).map(|input| input.element)
    }
}
