//! One ONNX Runtime session: built from a file's bytes, run on tensors, its outputs copied out.

use std::path::Path;

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynMapValueType, DynValue, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use crate::contract::{Class, Declared, DeclaredKind, ElementType, Output, Outputs, Signature, Values};

/// A session and what its graph declares.
pub struct Runner {
    session: Session,
    signature: Signature,
}

impl Runner {
    /// Builds a session with one thread of its own, the caller's. Weights in files beside the model are found in `folder`.
    pub fn new(environment: &Environment, bytes: &[u8], folder: &Path) -> ort::Result<Self> {
        let mut builder = Session::builder(environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder.to_string_lossy())?;
        let session = builder.commit_from_memory(bytes)?;
        let declared =
            |outlet: &ort::value::Outlet| Declared { name: outlet.name().to_owned(), kind: kind(outlet.dtype()) };
        let signature = Signature {
            inputs: session.inputs().iter().map(declared).collect(),
            outputs: session.outputs().iter().map(declared).collect(),
        };
        Ok(Self { session, signature })
    }

    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Runs the graph. `inputs` are in the signature's order: shape, all values, and the part of them to feed.
    pub fn run(&mut self, inputs: &[Feed<'_>]) -> ort::Result<Outputs> {
        let values = inputs.iter().map(Feed::to_ort).collect::<ort::Result<Vec<_>>>()?;
        let outputs = self.session.run(values.as_slice())?;
        let tensors = outputs.values().map(|value| copy(&value)).collect::<ort::Result<Vec<_>>>()?;
        Ok(Outputs { tensors })
    }
}

/// One input of a run: `shape` elements of `values`, from element `start` on.
pub struct Feed<'a> {
    pub shape: Vec<i64>,
    pub values: &'a Values,
    pub start: usize,
}

impl<'a> Feed<'a> {
    fn to_ort(&self) -> ort::Result<SessionInputValue<'a>> {
        let n_elements: usize = self.shape.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).product();
        let range = self.start..self.start + n_elements;
        let shape = self.shape.clone();
        Ok(match self.values {
            Values::Float32(values) => TensorRef::from_array_view((shape, &values[range]))?.into(),
            Values::Float64(values) => TensorRef::from_array_view((shape, &values[range]))?.into(),
            Values::Int64(values) => TensorRef::from_array_view((shape, &values[range]))?.into(),
            Values::Int32(values) => TensorRef::from_array_view((shape, &values[range]))?.into(),
            Values::Bool(values) => TensorRef::from_array_view((shape, &values[range]))?.into(),
            Values::String(values) => OrtTensor::from_string_array((shape, &values[range]))?.into(),
        })
    }
}

fn kind(value_type: &ValueType) -> DeclaredKind {
    match value_type {
        ValueType::Tensor { ty, shape, .. } => match element(*ty) {
            Some(element) => DeclaredKind::Tensor { element, shape: shape.to_vec() },
            None => DeclaredKind::Unsupported(value_type.to_string()),
        },
        ValueType::Sequence(inner) => match inner.as_ref() {
            ValueType::Map {
                key: TensorElementType::Int64 | TensorElementType::String,
                value: TensorElementType::Float32,
            } => DeclaredKind::Maps,
            _ => DeclaredKind::Unsupported(value_type.to_string()),
        },
        ValueType::Optional(inner) => kind(inner),
        ValueType::Map { .. } => DeclaredKind::Unsupported(value_type.to_string()),
    }
}

fn element(ty: TensorElementType) -> Option<ElementType> {
    match ty {
        TensorElementType::Float32 => Some(ElementType::Float32),
        TensorElementType::Float64 => Some(ElementType::Float64),
        TensorElementType::Int64 => Some(ElementType::Int64),
        TensorElementType::Int32 => Some(ElementType::Int32),
        TensorElementType::Bool => Some(ElementType::Bool),
        TensorElementType::String => Some(ElementType::String),
        _ => None,
    }
}

fn copy(value: &DynValue) -> ort::Result<Output> {
    let element = match value.dtype() {
        ValueType::Tensor { ty, .. } => element(*ty),
        ValueType::Sequence(_) => return copy_maps(value),
        _ => None,
    };
    let (shape, values) = match element {
        Some(ElementType::Float32) => part(value.try_extract_tensor()?, Values::Float32),
        Some(ElementType::Float64) => part(value.try_extract_tensor()?, Values::Float64),
        Some(ElementType::Int64) => part(value.try_extract_tensor()?, Values::Int64),
        Some(ElementType::Int32) => part(value.try_extract_tensor()?, Values::Int32),
        Some(ElementType::Bool) => part(value.try_extract_tensor()?, Values::Bool),
        Some(ElementType::String) => {
            let (shape, values) = value.try_extract_strings()?;
            (shape.to_vec(), Values::String(values))
        }
        None => return Err(ort::Error::new(format!("the run returned a value of type {}", value.dtype()))),
    };
    Ok(Output { shape, values, keys: None })
}

fn part<T: Clone>((shape, values): (&ort::value::Shape, &[T]), wrap: fn(Vec<T>) -> Values) -> (Vec<i64>, Values) {
    (shape.to_vec(), wrap(values.to_vec()))
}

/// Reads ZipMap's sequence of maps as a table of one column a key.
fn copy_maps(value: &DynValue) -> ort::Result<Output> {
    let maps = value.try_extract_sequence::<DynMapValueType>()?;
    let mut keys: Option<Vec<Class>> = None;
    let mut values = Vec::new();
    for map in &maps {
        let pairs: Vec<(Class, f32)> = match map.dtype() {
            ValueType::Map { key: TensorElementType::String, .. } => map
                .try_extract_key_values::<String, f32>()?
                .into_iter()
                .map(|(key, value)| (Class::Text(key), value))
                .collect(),
            _ => map
                .try_extract_key_values::<i64, f32>()?
                .into_iter()
                .map(|(key, value)| (Class::Int(key), value))
                .collect(),
        };
        if keys.as_ref().is_some_and(|keys| !keys.iter().eq(pairs.iter().map(|(key, _)| key))) {
            return Err(ort::Error::new("the maps of one run have different keys"));
        }
        keys.get_or_insert_with(|| pairs.iter().map(|(key, _)| key.clone()).collect());
        values.extend(pairs.into_iter().map(|(_, value)| value));
    }
    let width = keys.as_ref().map_or(0, Vec::len);
    Ok(Output { shape: vec![maps.len() as i64, width as i64], values: Values::Float32(values), keys })
}
