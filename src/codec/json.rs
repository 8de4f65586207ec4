//! JSON in and out: a row by names, an array of rows, a table split into columns and data, tensors by name; and predictions.

use std::io::Write;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::json_rows::{Body, read_column_names};
use super::{Answered, DecodeError, Decoded, EncodeError, Form, json_plain, json_tensors};
use crate::contract::{
    Contract, DataProblems, Inputs, Layout, ModelInput, Output, OutputRows, Prediction, RowBuilder, Values,
};

/// Reads a request's body.
///
/// A tabular model takes `{feature: value}`, `[{feature: value}, …]`, `[[value, …], …]` in feature order, or
/// `{"columns": […], "data": [[…], …]}` as pandas' `to_json(orient="split")` writes it. Another takes
/// `{"inputs": {name: nested array}}`.
///
/// # Errors
/// Where the text is not JSON; or all problems of all rows.
pub fn decode(bytes: &[u8], contract: &Contract) -> Result<Decoded, DecodeError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let hint = "send the features as JSON, for instance the model's own example: GET /example/{model}".to_owned();
        return Err(DecodeError::Malformed {
            message: "the body is empty".to_owned(),
            line: 1,
            column: 1,
            hint: Some(hint),
        });
    }
    match &contract.inputs {
        Inputs::Columns(layout) if is_split(bytes, layout) => decode_split(bytes, contract, layout),
        Inputs::Columns(layout) => decode_rows(bytes, contract, layout),
        Inputs::Tensors => json_tensors::decode(bytes, contract),
    }
}

fn decode_rows(bytes: &[u8], contract: &Contract, layout: &Layout) -> Result<Decoded, DecodeError> {
    match json_plain::decode(bytes, contract, layout, likely_rows(bytes, contract)) {
        Some(decoded) => Ok(decoded),
        None => decode_any_rows(bytes, contract, layout),
    }
}

/// Any legal body, and the errors of all others.
fn decode_any_rows(bytes: &[u8], contract: &Contract, layout: &Layout) -> Result<Decoded, DecodeError> {
    let mut rows = RowBuilder::new(contract, layout, likely_rows(bytes, contract));
    let mut form = Form::One;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let body = Body { rows: &mut rows, form: &mut form, columns: None };
    let read = body.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Err(error) = read {
        return Err(malformed(bytes, 0, &error, Some(&rows)));
    }
    let table = rows.finish().map_err(DecodeError::Invalid)?;
    Ok(Decoded { input: ModelInput::Rows(table), form })
}

/// pandas' split form. The names may come after the data, so both are found first and read then.
fn decode_split(bytes: &[u8], contract: &Contract, layout: &Layout) -> Result<Decoded, DecodeError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Split<'a> {
        #[serde(borrow)]
        columns: &'a RawValue,
        #[serde(borrow)]
        data: &'a RawValue,
        #[serde(rename = "index")]
        _index: Option<IgnoredAny>,
    }
    let split: Split<'_> = serde_json::from_slice(bytes).map_err(|error| malformed(bytes, 0, &error, None))?;
    let offset = |part: &RawValue| part.get().as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
    let names = read_column_names(split.columns.get())
        .map_err(|error| malformed(bytes, offset(split.columns), &error, None))?
        .map_err(DecodeError::Invalid)?;
    let mut rows = RowBuilder::new(contract, layout, likely_rows(bytes, contract));
    let columns = rows.columns(&names);
    let mut form = Form::Batch;
    let mut deserializer = serde_json::Deserializer::from_str(split.data.get());
    let body = Body { rows: &mut rows, form: &mut form, columns: Some(&columns) };
    if let Err(error) = body.deserialize(&mut deserializer) {
        return Err(malformed(bytes, offset(split.data), &error, Some(&rows)));
    }
    let table = rows.finish().map_err(DecodeError::Invalid)?;
    Ok(Decoded { input: ModelInput::Rows(table), form: Form::Batch })
}

/// Whether the body is an object whose first key belongs to the split form and is none of the model's features.
fn is_split(bytes: &[u8], layout: &Layout) -> bool {
    let Some(object) = bytes.trim_ascii_start().strip_prefix(b"{") else { return false };
    ["columns", "data", "index"].iter().any(|key| {
        let rest = object.trim_ascii_start().strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(key.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"\"")) && layout.feature_index(key).is_none()
    })
}

/// A guess for the capacity: at least 12 bytes a value for a name and a number.
fn likely_rows(bytes: &[u8], contract: &Contract) -> usize {
    bytes.len() / (12 * contract.features.len().max(1)) + 1
}

/// What serde_json says of a syntax error, with its place in the whole body and in the data.
pub(super) fn malformed(
    bytes: &[u8],
    offset: usize,
    error: &serde_json::Error,
    rows: Option<&RowBuilder<'_>>,
) -> DecodeError {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let before = &bytes[..offset.min(bytes.len())];
    let lines_before = before.iter().filter(|byte| **byte == b'\n').count();
    let line = error.line() + lines_before;
    let column_offset =
        if error.line() > 1 { 0 } else { before.iter().rev().take_while(|byte| **byte != b'\n').count() };
    let column = error.column() + column_offset;
    let place = match rows.map(RowBuilder::position) {
        Some((row, Some(feature))) => format!(", in row {row}, feature {feature:?}"),
        _ => String::new(),
    };
    let message = match error.classify() {
        Category::Eof => format!("the JSON ends too early{place}: {message}"),
        Category::Data | Category::Syntax | Category::Io => format!("{message}{place}"),
    };
    let hint = syntax_hint(&bytes[position(bytes, line, column)..], &message).or_else(|| other_format_hint(bytes));
    DecodeError::Malformed { message, line, column, hint }
}

/// The index of the byte that the position, counted from 1, names or follows.
fn position(bytes: &[u8], line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') else { break };
        start += length + 1;
    }
    (start + column.saturating_sub(1)).min(bytes.len())
}

fn syntax_hint(from: &[u8], message: &str) -> Option<String> {
    let from = from.trim_ascii_start();
    let starts = |words: &[&str]| words.iter().any(|word| from.starts_with(word.as_bytes()));
    let hint = if starts(&["None", "True", "False"]) {
        "this is Python's notation: JSON writes null, true and false (json.dumps does)"
    } else if starts(&["NaN", "nan", "N", "Inf", "inf", "I", "-I", "-i", "aN"]) {
        "JSON has no NaN or Infinity; a missing value is null"
    } else if starts(&["'"]) {
        "JSON takes double quotes"
    } else if message.contains("key must be a string") && from.first().is_some_and(u8::is_ascii_digit) {
        "a number takes a decimal point, not a comma"
    } else if message.contains("invalid unicode code point") {
        "JSON is written in UTF-8"
    } else if message.contains("number out of range") {
        "the number is too large for any float"
    } else if message.contains("recursion limit") {
        "the data is nested too deeply: a request is a table"
    } else if message.contains("trailing characters") {
        "send one JSON value; several rows go into one array"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// For what never was JSON: the first line tells what it is.
fn other_format_hint(bytes: &[u8]) -> Option<String> {
    let first_line = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next()?;
    let hint = match first_line {
        [b'{' | b'[' | b'"', ..] => return None,
        line if line.contains(&b',') || line.contains(&b';') => {
            "this looks like CSV: send it with the header Content-Type: text/csv"
        }
        line if line.contains(&b'=') => "this is a form; send the features as JSON: {\"name\": value, …}",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Writes the answer: `id`, `model`, `version`, and the prediction or predictions.
///
/// # Errors
/// The model's outputs lack a row.
pub fn encode(answered: &Answered<'_>) -> Result<Vec<u8>, EncodeError> {
    let n_rows: usize = answered.slices.iter().map(|slice| slice.rows.len()).sum();
    let mut out = Vec::with_capacity(160 + n_rows * 72);
    out.extend_from_slice(b"{\"id\":");
    text(&mut out, answered.id);
    out.extend_from_slice(b",\"model\":");
    text(&mut out, answered.model);
    out.extend_from_slice(b",\"version\":");
    text(&mut out, answered.version);
    out.push(b',');
    if answered.reader.is_by_row() {
        encode_rows(&mut out, answered)?;
    } else {
        encode_tensors(&mut out, answered);
    }
    out.push(b'}');
    Ok(out)
}

fn encode_rows(out: &mut Vec<u8>, answered: &Answered<'_>) -> Result<(), EncodeError> {
    let mut row_number = 0;
    if answered.form == Form::Batch {
        out.extend_from_slice(b"\"predictions\":[");
    }
    for slice in answered.slices {
        for row in slice.rows.clone() {
            let predicted = answered.reader.row(&slice.outputs, row).ok_or(EncodeError { row: row_number })?;
            if answered.form == Form::Batch {
                out.extend_from_slice(if row_number == 0 { b"{" } else { b",{" });
            }
            out.extend_from_slice(b"\"prediction\":");
            prediction(out, &predicted.prediction);
            if let Some(probabilities) = predicted.probabilities {
                out.extend_from_slice(b",\"probabilities\":");
                let is_named = probabilities.name(0).is_some();
                out.push(if is_named { b'{' } else { b'[' });
                for column in 0..probabilities.len() {
                    if column > 0 {
                        out.push(b',');
                    }
                    if let Some(name) = probabilities.name(column) {
                        text(out, &name);
                        out.push(b':');
                    }
                    prediction(out, &probabilities.value(column));
                }
                out.push(if is_named { b'}' } else { b']' });
            }
            if answered.form == Form::Batch {
                out.push(b'}');
            }
            row_number += 1;
        }
    }
    if answered.form == Form::Batch {
        out.push(b']');
    }
    Ok(())
}

/// The outputs of a raw model by name: nested arrays, the rows of several runs one after the other.
fn encode_tensors(out: &mut Vec<u8>, answered: &Answered<'_>) {
    let takes_tensors = answered.reader.contract().inputs == Inputs::Tensors;
    out.extend_from_slice(b"\"outputs\":{");
    for (index, declared) in answered.reader.contract().signature.outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(out, &declared.name);
        out.push(b':');
        let parts: Vec<(&Output, &OutputRows)> = answered
            .slices
            .iter()
            .filter_map(|slice| slice.outputs.tensors.get(index).map(|output| (output, slice)))
            .collect();
        match parts.as_slice() {
            // A run of its own: the tensor is all the request's, whatever its first dimension is.
            [(output, slice)] if takes_tensors || (slice.rows.len() != output.n_rows() && slice.rows.start == 0) => {
                nested(out, &output.values, &output.shape, 0);
            }
            parts => {
                out.push(b'[');
                let mut is_first = true;
                for (output, slice) in parts {
                    let width = output.width();
                    for row in slice.rows.clone() {
                        if !is_first {
                            out.push(b',');
                        }
                        is_first = false;
                        nested(out, &output.values, output.shape.get(1..).unwrap_or_default(), row * width);
                    }
                }
                out.push(b']');
            }
        }
    }
    out.push(b'}');
}

/// Writes the elements from `start` on as arrays of that shape; no dimensions: one element.
fn nested(out: &mut Vec<u8>, values: &Values, shape: &[i64], start: usize) {
    let Some((length, inner)) = shape.split_first() else {
        return element(out, values, start);
    };
    let stride: usize = inner.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).product();
    out.push(b'[');
    for index in 0..usize::try_from(*length).unwrap_or(0) {
        if index > 0 {
            out.push(b',');
        }
        nested(out, values, inner, start + index * stride);
    }
    out.push(b']');
}

fn element(out: &mut Vec<u8>, values: &Values, index: usize) {
    match values {
        Values::Float32(values) => {
            prediction(out, &Prediction::Float32(values.get(index).copied().unwrap_or(f32::NAN)))
        }
        Values::Float64(values) => {
            prediction(out, &Prediction::Float64(values.get(index).copied().unwrap_or(f64::NAN)))
        }
        Values::Int64(values) => prediction(out, &Prediction::Int(values.get(index).copied().unwrap_or_default())),
        Values::Int32(values) => {
            prediction(out, &Prediction::Int(values.get(index).copied().unwrap_or_default().into()))
        }
        Values::Bool(values) => prediction(out, &Prediction::Bool(values.get(index).copied().unwrap_or_default())),
        Values::String(values) => text(out, values.get(index).map_or("", String::as_str)),
    }
}

/// A float that is no number is null, as JSON has none. Floats of 32 bits are written with the digits that they have.
fn prediction(out: &mut Vec<u8>, prediction: &Prediction<'_>) {
    match prediction {
        Prediction::Text(value) => text(out, value),
        Prediction::Int(value) => write(out, value),
        Prediction::Bool(value) => write(out, value),
        Prediction::Float32(value) => write(out, value),
        Prediction::Float64(value) => write(out, value),
        Prediction::Many(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self::prediction(out, value);
            }
            out.push(b']');
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    write(out, value);
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing numbers and texts into memory does not fail.
    let _ = serde_json::to_writer(out.by_ref(), value);
}

/// One problem of the whole body.
pub(super) fn whole_body(problem: impl Into<String>, hint: impl Into<String>) -> DecodeError {
    DecodeError::Invalid(DataProblems::of_request(problem, hint))
}
