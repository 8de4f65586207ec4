//! Reads predictions out of a run's outputs, row by row, with the contract's labels.

use std::sync::Arc;

use super::{Class, Contract, Output, OutputRoles, Outputs, Values};

/// Reads the outputs of one model.
#[derive(Debug, Clone)]
pub struct Reader {
    contract: Arc<Contract>,
    /// For each of the contract's classes, what clients read.
    texts: Vec<String>,
}

/// What the model says of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction<'a> {
    Text(&'a str),
    Int(i64),
    Bool(bool),
    Float32(f32),
    Float64(f64),
    /// Several numbers a row: regression of several targets.
    Many(Vec<Prediction<'a>>),
}

/// A row's prediction and, for classifiers that tell them, the probabilities by class.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPrediction<'a> {
    pub prediction: Prediction<'a>,
    pub probabilities: Option<Probabilities<'a>>,
}

/// Probabilities of one row; `names` are the classes' texts, where they are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probabilities<'a> {
    names: Names<'a>,
    output: &'a Output,
    row: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Names<'a> {
    Texts(&'a [String]),
    Keys(&'a [Class], &'a Contract),
    Unknown,
}

impl<'a> Probabilities<'a> {
    pub fn len(&self) -> usize {
        self.output.width()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The probability of the class in that column.
    pub fn value(&self, column: usize) -> Prediction<'a> {
        number(&self.output.values, self.row * self.output.width() + column)
    }

    /// The text of the class in that column, where the classes are known.
    pub fn name(&self, column: usize) -> Option<std::borrow::Cow<'a, str>> {
        match self.names {
            Names::Texts(texts) => texts.get(column).map(|text| text.as_str().into()),
            Names::Keys(keys, contract) => keys
                .get(column)
                .map(|key| contract.label(key).map_or_else(|| key.to_string().into(), std::borrow::Cow::Borrowed)),
            Names::Unknown => None,
        }
    }
}

impl Reader {
    pub fn new(contract: Arc<Contract>) -> Self {
        let text = |class: &Class| contract.label(class).map_or_else(|| class.to_string(), str::to_owned);
        let texts = contract.classes.iter().flatten().map(text).collect();
        Self { contract, texts }
    }

    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Whether the outputs can be told apart by row.
    pub fn is_by_row(&self) -> bool {
        self.contract.roles != OutputRoles::Raw
    }

    /// What the outputs say of a row; `None` where they have no such row or the model is of task raw.
    pub fn row<'a>(&'a self, outputs: &'a Outputs, row: usize) -> Option<RowPrediction<'a>> {
        let tensor = |index: usize| outputs.tensors.get(index).filter(|output| row < output.n_rows());
        match &self.contract.roles {
            OutputRoles::Classification { label, probabilities } => {
                let probabilities = probabilities.and_then(tensor);
                let prediction = match label.and_then(tensor) {
                    Some(output) => self.class_text(output, row)?,
                    None => self.class_at(likeliest(probabilities?, row)?),
                };
                let names = |output: &'a Output| match &output.keys {
                    Some(keys) => Names::Keys(keys, &self.contract),
                    None if self.texts.len() == output.width() => Names::Texts(&self.texts),
                    None => Names::Unknown,
                };
                let probabilities = probabilities.map(|output| Probabilities { names: names(output), output, row });
                Some(RowPrediction { prediction, probabilities })
            }
            OutputRoles::Regression { value } => {
                let output = tensor(*value)?;
                let width = output.width();
                let prediction = match width {
                    1 => number(&output.values, row),
                    _ => Prediction::Many(
                        (0..width).map(|column| number(&output.values, row * width + column)).collect(),
                    ),
                };
                Some(RowPrediction { prediction, probabilities: None })
            }
            OutputRoles::Clustering { cluster } => {
                let prediction = self.class_text(tensor(*cluster)?, row)?;
                Some(RowPrediction { prediction, probabilities: None })
            }
            OutputRoles::Raw => None,
        }
    }

    /// The class that a classifier's or a clustering's outputs name for a row, as the model has it.
    pub fn class(&self, outputs: &Outputs, row: usize) -> Option<Class> {
        let label = match &self.contract.roles {
            OutputRoles::Classification { label, .. } => *label,
            OutputRoles::Clustering { cluster } => Some(*cluster),
            OutputRoles::Regression { .. } | OutputRoles::Raw => return None,
        };
        match label {
            Some(index) => class_of(outputs.tensors.get(index)?, row),
            None => match &self.contract.roles {
                OutputRoles::Classification { probabilities: Some(index), .. } => {
                    let column = likeliest(outputs.tensors.get(*index)?, row)?;
                    Some(self.contract.classes.as_ref()?.get(column)?.clone())
                }
                _ => None,
            },
        }
    }

    fn class_text<'a>(&'a self, output: &'a Output, row: usize) -> Option<Prediction<'a>> {
        // The common case, a label of integers with known classes, without an allocation.
        let known = self.contract.classes.as_deref().unwrap_or_default();
        let column = match &output.values {
            Values::Int64(values) => {
                let value = *values.get(row)?;
                known.iter().position(|class| match class {
                    Class::Int(known) => *known == value,
                    other => other.names_same(&Class::Int(value)),
                })
            }
            Values::String(values) => {
                let value = values.get(row)?;
                known.iter().position(|class| matches!(class, Class::Text(known) if known == value))
            }
            _ => None,
        };
        if let Some(column) = column {
            return Some(self.class_at(column));
        }
        let class = class_of(output, row)?;
        if let Some(text) = self.contract.label(&class) {
            return Some(Prediction::Text(text));
        }
        Some(match (class, &output.values) {
            (Class::Int(value), _) => Prediction::Int(value),
            (Class::Bool(value), _) => Prediction::Bool(value),
            (Class::Text(_), Values::String(values)) => Prediction::Text(values.get(row)?),
            (Class::Text(_), _) => return None,
        })
    }

    /// What clients read for the class in that column of the contract's classes.
    fn class_at(&self, column: usize) -> Prediction<'_> {
        let class = self.contract.classes.as_ref().and_then(|classes| classes.get(column));
        match (class, self.texts.get(column)) {
            (Some(class), Some(text)) if self.contract.label(class).is_some() => Prediction::Text(text),
            (Some(Class::Int(value)), _) => Prediction::Int(*value),
            (Some(Class::Bool(value)), _) => Prediction::Bool(*value),
            (Some(Class::Text(_)), Some(text)) => Prediction::Text(text),
            _ => Prediction::Int(i64::try_from(column).unwrap_or(i64::MAX)),
        }
    }
}

fn class_of(output: &Output, row: usize) -> Option<Class> {
    match &output.values {
        Values::Int64(values) => values.get(row).map(|value| Class::Int(*value)),
        Values::Int32(values) => values.get(row).map(|value| Class::Int(i64::from(*value))),
        Values::Bool(values) => values.get(row).map(|value| Class::Bool(*value)),
        Values::String(values) => values.get(row).map(|value| Class::Text(value.clone())),
        Values::Float32(_) | Values::Float64(_) => None,
    }
}

/// The column with the largest value; the first of equals, as numpy's `argmax`.
fn likeliest(output: &Output, row: usize) -> Option<usize> {
    let width = output.width();
    let mut best: Option<(usize, f64)> = None;
    for column in 0..width {
        let value = output.values.number(row * width + column)?;
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((column, value));
        }
    }
    best.map(|(column, _)| column)
}

fn number<'a>(values: &Values, index: usize) -> Prediction<'a> {
    match values {
        Values::Float32(values) => Prediction::Float32(values.get(index).copied().unwrap_or(f32::NAN)),
        Values::Int64(values) => Prediction::Int(values.get(index).copied().unwrap_or_default()),
        Values::Int32(values) => Prediction::Int(values.get(index).copied().unwrap_or_default().into()),
        Values::Bool(values) => Prediction::Bool(values.get(index).copied().unwrap_or_default()),
        Values::Float64(_) | Values::String(_) => Prediction::Float64(values.number(index).unwrap_or(f64::NAN)),
    }
}
