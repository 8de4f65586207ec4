//! Tensors between the codecs and the engine, in the element types that tabular models use, and what a graph declares of its own.

use super::Class;

/// The element types that inputs are fed in. Outputs of other integer types are read as `Int64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    Float32,
    Float64,
    Int64,
    Int32,
    Bool,
    String,
}

impl ElementType {
    /// ONNX's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "float",
            Self::Float64 => "double",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Bool => "bool",
            Self::String => "string",
        }
    }
}

/// Elements of one tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Int64(Vec<i64>),
    Int32(Vec<i32>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

/// Runs the same expression on the vector inside, whatever its element type.
macro_rules! each_values {
    ($values:expr, $vec:ident => $body:expr) => {
        match $values {
            Values::Float32($vec) => $body,
            Values::Float64($vec) => $body,
            Values::Int64($vec) => $body,
            Values::Int32($vec) => $body,
            Values::Bool($vec) => $body,
            Values::String($vec) => $body,
        }
    };
}

impl Values {
    pub fn with_capacity(element: ElementType, capacity: usize) -> Self {
        match element {
            ElementType::Float32 => Self::Float32(Vec::with_capacity(capacity)),
            ElementType::Float64 => Self::Float64(Vec::with_capacity(capacity)),
            ElementType::Int64 => Self::Int64(Vec::with_capacity(capacity)),
            ElementType::Int32 => Self::Int32(Vec::with_capacity(capacity)),
            ElementType::Bool => Self::Bool(Vec::with_capacity(capacity)),
            ElementType::String => Self::String(Vec::with_capacity(capacity)),
        }
    }

    pub fn len(&self) -> usize {
        each_values!(self, values => values.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&mut self) {
        each_values!(self, values => values.clear());
    }

    pub fn element(&self) -> ElementType {
        match self {
            Self::Float32(_) => ElementType::Float32,
            Self::Float64(_) => ElementType::Float64,
            Self::Int64(_) => ElementType::Int64,
            Self::Int32(_) => ElementType::Int32,
            Self::Bool(_) => ElementType::Bool,
            Self::String(_) => ElementType::String,
        }
    }

    /// Appends `width` elements that mean "missing": NaN, 0, false or the empty string.
    pub fn extend_missing(&mut self, width: usize) {
        match self {
            Self::Float32(values) => values.resize(values.len() + width, f32::NAN),
            Self::Float64(values) => values.resize(values.len() + width, f64::NAN),
            Self::Int64(values) => values.resize(values.len() + width, 0),
            Self::Int32(values) => values.resize(values.len() + width, 0),
            Self::Bool(values) => values.resize(values.len() + width, false),
            Self::String(values) => values.resize(values.len() + width, String::new()),
        }
    }

    /// Appends `other`'s elements in `range`. Vectors of another element type are left out: both come from one layout.
    pub fn extend_from(&mut self, other: &Values, range: std::ops::Range<usize>) {
        match (self, other) {
            (Self::Float32(to), Self::Float32(from)) => to.extend_from_slice(&from[range]),
            (Self::Float64(to), Self::Float64(from)) => to.extend_from_slice(&from[range]),
            (Self::Int64(to), Self::Int64(from)) => to.extend_from_slice(&from[range]),
            (Self::Int32(to), Self::Int32(from)) => to.extend_from_slice(&from[range]),
            (Self::Bool(to), Self::Bool(from)) => to.extend_from_slice(&from[range]),
            (Self::String(to), Self::String(from)) => to.extend_from_slice(&from[range]),
            _ => debug_assert!(false, "both tensors come from one layout"),
        }
    }

    /// The element as a number, for comparisons; a string has none.
    pub fn number(&self, index: usize) -> Option<f64> {
        match self {
            Self::Float32(values) => values.get(index).map(|value| f64::from(*value)),
            Self::Float64(values) => values.get(index).copied(),
            Self::Int64(values) => values.get(index).map(|value| *value as f64),
            Self::Int32(values) => values.get(index).map(|value| f64::from(*value)),
            Self::Bool(values) => values.get(index).map(|value| f64::from(u8::from(*value))),
            Self::String(_) => None,
        }
    }
}

/// Rows laid out for the model: one tensor an input of the graph, `n_rows` times the input's width elements each.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub n_rows: usize,
    pub inputs: Vec<Values>,
}

/// One tensor with its shape, for models whose inputs are not columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<i64>,
    pub values: Values,
}

/// What a model is run on.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelInput {
    /// Rows, which the engine may cut and merge.
    Rows(Table),
    /// Tensors by input, run as they are.
    Tensors(Vec<Tensor>),
}

/// One output of a run. Its first dimension is the rows' where the model is row-wise.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub shape: Vec<i64>,
    pub values: Values,
    /// The keys of a sequence of maps (the ZipMap operator), whose values are then `[N, keys]`.
    pub keys: Option<Vec<Class>>,
}

impl Output {
    /// Elements a row.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).map(|dim| usize::try_from(*dim).unwrap_or(0)).product()
    }

    /// Length of the first dimension.
    pub fn n_rows(&self) -> usize {
        self.shape.first().map_or(0, |dim| usize::try_from(*dim).unwrap_or(0))
    }
}

/// What one run returned, by output of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    pub tensors: Vec<Output>,
}

/// What the graph declares of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    pub name: String,
    pub kind: DeclaredKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DeclaredKind {
    /// A tensor; a dimension of -1 is not fixed.
    Tensor { element: ElementType, shape: Vec<i64> },
    /// A sequence of maps from class to probability.
    Maps,
    /// A type that the gateway can't carry, in ONNX's words.
    Unsupported(String),
}

/// Inputs and outputs of a graph. Declared shapes of outputs may lie; a run tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    pub inputs: Vec<Declared>,
    pub outputs: Vec<Declared>,
}

/// Rows of a run's outputs; those before and after are other requests'.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputRows {
    pub outputs: std::sync::Arc<Outputs>,
    pub rows: std::ops::Range<usize>,
}
