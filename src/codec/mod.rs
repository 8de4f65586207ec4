//! Bytes to tables and predictions to bytes, one module a format. Sync; knows no web framework.

pub mod csv;
pub mod json;
mod json_plain;
mod json_rows;
mod json_tensors;
#[cfg(test)]
mod tests;

use crate::contract::{DataProblems, ModelInput, OutputRows, Reader};
use crate::error::ErrorKind;

/// Whether the request held one row by itself or a batch; the answer has the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    One,
    Batch,
}

/// A request's data, checked against the contract and laid out for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub input: ModelInput,
    pub form: Form,
}

/// Predictions on their way out.
pub struct Answered<'a> {
    pub id: &'a str,
    pub model: &'a str,
    pub version: &'a str,
    pub reader: &'a Reader,
    /// The rows of the request, in order.
    pub slices: &'a [OutputRows],
    pub form: Form,
}

/// Why a body is no table for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes can't be read; positions count from 1.
    #[error("{message}")]
    Malformed { message: String, line: usize, column: usize, hint: Option<String> },
    /// The bytes were read, and break the contract.
    #[error("the data breaks the model's contract")]
    Invalid(DataProblems),
}

impl DecodeError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } => ErrorKind::Malformed,
            Self::Invalid(_) => ErrorKind::Invalid,
        }
    }
}

/// Why predictions can't be written: the model returned something else than it declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's outputs have no prediction for row {row}")]
pub struct EncodeError {
    pub row: usize,
}
