//! Reads `{"inputs": {name: nested array}}`, for models whose inputs are not columns.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::json::{malformed, whole_body};
use super::{DecodeError, Decoded, Form};
use crate::contract::{Contract, Declared, DeclaredKind, ElementType, ModelInput, Tensor, Values, did_you_mean};

pub(super) fn decode(bytes: &[u8], contract: &Contract) -> Result<Decoded, DecodeError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        inputs: BTreeMap<String, &'a RawValue>,
    }
    let declared = &contract.signature.inputs;
    let refuse = |problem: String| Err(whole_body(problem, usage(declared)));
    let body: Body<'_> = match serde_json::from_slice(bytes) {
        Ok(body) => body,
        Err(error) if error.classify() == Category::Data => return refuse("the body names no inputs".to_owned()),
        Err(error) => return Err(malformed(bytes, 0, &error, None)),
    };
    if let Some(unknown) = body.inputs.keys().find(|name| !declared.iter().any(|input| input.name == **name)) {
        let near = did_you_mean(unknown, declared.iter().map(|input| input.name.as_str()));
        let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        return refuse(format!("{unknown:?} is no input of this model{near}"));
    }
    let mut tensors = Vec::with_capacity(declared.len());
    for input in declared {
        let Some(text) = body.inputs.get(&input.name) else {
            return refuse(format!("the input {:?} is missing", input.name));
        };
        let DeclaredKind::Tensor { element, shape } = &input.kind else {
            return refuse(format!("the input {:?} can't be sent as JSON", input.name));
        };
        let tensor = match read(text.get(), *element) {
            Ok(tensor) => tensor,
            Err(error) if error.classify() == Category::Data => {
                return refuse(format!("the input {:?}: {error}", input.name));
            }
            Err(error) => {
                let offset = text.get().as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
                return Err(malformed(bytes, offset, &error, None));
            }
        };
        let fits = tensor.shape.len() == shape.len()
            && tensor.shape.iter().zip(shape).all(|(got, declared)| *declared < 0 || got == declared);
        if !fits {
            return refuse(format!(
                "the input {:?} has the shape {:?}, the model takes {shape:?}",
                input.name, tensor.shape
            ));
        }
        tensors.push(tensor);
    }
    Ok(Decoded { input: ModelInput::Tensors(tensors), form: Form::Batch })
}

fn usage(declared: &[Declared]) -> String {
    let describe = |input: &Declared| match &input.kind {
        DeclaredKind::Tensor { element, shape } => format!("\"{}\": {} {shape:?}", input.name, element.as_str()),
        DeclaredKind::Maps | DeclaredKind::Unsupported(_) => input.name.clone(),
    };
    let inputs: Vec<String> = declared.iter().map(describe).collect();
    format!("this model takes tensors as nested arrays, {{\"inputs\": {{{}}}}}; -1 is any length", inputs.join(", "))
}

fn read(text: &str, element: ElementType) -> serde_json::Result<Tensor> {
    let mut reading = Reading { values: Values::with_capacity(element, text.len() / 4), shape: Vec::new(), rank: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Nested { reading: &mut reading, depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    let shape = reading.shape.into_iter().map(|length| length.unwrap_or(0) as i64).collect();
    Ok(Tensor { shape, values: reading.values })
}

/// A tensor under construction.
struct Reading {
    values: Values,
    /// Length by depth, once an array of that depth has ended.
    shape: Vec<Option<usize>>,
    /// The depth at which elements are, once one was read.
    rank: Option<usize>,
}

struct Nested<'a> {
    reading: &'a mut Reading,
    depth: usize,
}

impl Nested<'_> {
    fn element<E: de::Error>(self, push: impl FnOnce(&mut Values) -> bool, got: &str) -> Result<(), E> {
        if *self.reading.rank.get_or_insert(self.depth) != self.depth {
            return Err(E::custom("elements are nested to different depths"));
        }
        if push(&mut self.reading.values) {
            Ok(())
        } else {
            Err(E::custom(format!("expected elements of type {}, got {got}", self.reading.values.element().as_str())))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a nested array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Self { reading, depth } = self;
        if reading.rank.is_some_and(|rank| depth >= rank) {
            return Err(de::Error::custom("elements are nested to different depths"));
        }
        if reading.shape.len() <= depth {
            reading.shape.resize(depth + 1, None);
        }
        let mut length = 0;
        while array.next_element_seed(Nested { reading, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        match reading.shape[depth] {
            Some(expected) if expected != length => {
                Err(de::Error::custom(format!("an array has {length} elements, those beside it have {expected}")))
            }
            _ => {
                reading.shape[depth] = Some(length);
                Ok(())
            }
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        let push = |values: &mut Values| match values {
            Values::Float32(values) => {
                values.push(number as f32);
                (number as f32).is_finite()
            }
            Values::Float64(values) => {
                values.push(number);
                true
            }
            _ => false,
        };
        self.element(push, &number.to_string())
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<(), E> {
        let push = |values: &mut Values| match values {
            Values::Float32(values) => {
                values.push(integer as f32);
                true
            }
            Values::Float64(values) => {
                values.push(integer as f64);
                true
            }
            Values::Int64(values) => {
                values.push(integer);
                true
            }
            Values::Int32(values) => i32::try_from(integer).map(|integer| values.push(integer)).is_ok(),
            Values::Bool(_) | Values::String(_) => false,
        };
        self.element(push, &integer.to_string())
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<(), E> {
        match i64::try_from(integer) {
            Ok(integer) => self.visit_i64(integer),
            Err(_) => self.visit_f64(integer as f64),
        }
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<(), E> {
        let push = |values: &mut Values| match values {
            Values::Bool(values) => {
                values.push(flag);
                true
            }
            _ => false,
        };
        self.element(push, if flag { "true" } else { "false" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let push = |values: &mut Values| match values {
            Values::String(values) if !text.contains('\0') => {
                values.push(text.to_owned());
                true
            }
            _ => false,
        };
        self.element(push, "a text")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        let push = |values: &mut Values| match values {
            Values::Float32(values) => {
                values.push(f32::NAN);
                true
            }
            Values::Float64(values) => {
                values.push(f64::NAN);
                true
            }
            _ => false,
        };
        self.element(push, "null")
    }
}
