//! CSV in and out, after RFC 4180: a header of feature names, a line a row, an empty field for a missing value.

use super::{Answered, DecodeError, Decoded, EncodeError, Form};
use crate::contract::{Contract, FeatureType, Got, Inputs, ModelInput, Prediction, RowBuilder};

use super::json::whole_body;

/// Reads a table with a header.
///
/// # Errors
/// Where the text is not UTF-8; or all problems of header and rows.
pub fn decode(bytes: &[u8], contract: &Contract) -> Result<Decoded, DecodeError> {
    let Inputs::Columns(layout) = &contract.inputs else {
        return Err(whole_body("this model's inputs are not columns", "send them as JSON: {\"inputs\": {…}}"));
    };
    // Spreadsheets begin a file with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        let hint = Some("send a header of the features' names, and a line for each row".to_owned());
        return Err(DecodeError::Malformed { message: "the body is empty".to_owned(), line: 1, column: 1, hint });
    }
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header: Vec<String> =
        reader.headers().map_err(|error| malformed(&error))?.iter().map(|name| name.trim().to_owned()).collect();
    if let [only] = header.as_slice()
        && only.contains(';')
    {
        return Err(whole_body("the header holds no comma", "separate the fields with commas, not semicolons"));
    }
    let mut rows = RowBuilder::new(contract, layout, bytes.len() / (4 * header.len().max(1)) + 1);
    let columns = rows.columns(&header);
    let mut record = ::csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| malformed(&error))? {
        rows.begin_row();
        if record.len() != header.len() {
            rows.abandon_row();
            rows.row_problem(&format!("has {} fields, the header has {}", record.len(), header.len()), None);
            continue;
        }
        for (field, feature) in record.iter().zip(&columns) {
            if let Some(index) = *feature {
                rows.at(index);
                value(&mut rows, contract, index, field);
            }
        }
        rows.end_row();
    }
    let table = rows.finish().map_err(DecodeError::Invalid)?;
    Ok(Decoded { input: ModelInput::Rows(table), form: Form::Batch })
}

fn value(rows: &mut RowBuilder<'_>, contract: &Contract, index: usize, field: &str) {
    let kind = contract.features[index].kind;
    let trimmed = field.trim();
    if trimmed.is_empty() {
        return rows.null(index);
    }
    match kind {
        FeatureType::String => rows.text(index, field),
        FeatureType::Bool if trimmed.eq_ignore_ascii_case("true") => rows.boolean(index, true),
        FeatureType::Bool if trimmed.eq_ignore_ascii_case("false") => rows.boolean(index, false),
        FeatureType::Float | FeatureType::Int | FeatureType::Bool => {
            match (trimmed.parse::<i64>(), trimmed.parse::<f64>()) {
                (Ok(integer), _) => rows.integer(index, integer),
                (Err(_), Ok(number)) if number.is_finite() => rows.number(index, number),
                _ => rows.unfit(index, Got::Text(trimmed)),
            }
        }
    }
}

fn malformed(error: &::csv::Error) -> DecodeError {
    let line = error.position().map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
    let hint = matches!(error.kind(), ::csv::ErrorKind::Utf8 { .. }).then(|| "save the file as UTF-8".to_owned());
    DecodeError::Malformed { message: error.to_string(), line, column: 1, hint }
}

/// Writes a line a row: `row`, `prediction` and a column `probability_<label>` for each class.
///
/// # Errors
/// The model's outputs lack a row.
pub fn encode(answered: &Answered<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut fields: Vec<String> = Vec::new();
    let mut row_number = 0;
    for slice in answered.slices {
        for row in slice.rows.clone() {
            let missing = EncodeError { row: row_number };
            let predicted = answered.reader.row(&slice.outputs, row).ok_or(missing)?;
            let probabilities = predicted.probabilities;
            let columns = 0..probabilities.map_or(0, |probabilities| probabilities.len());
            if row_number == 0 {
                fields.extend(["row".to_owned(), "prediction".to_owned()]);
                let name = |column: usize| probabilities.and_then(|probabilities| probabilities.name(column));
                fields.extend(columns.clone().map(|column| {
                    format!("probability_{}", name(column).unwrap_or_else(|| column.to_string().into()))
                }));
                writer.write_record(&fields).map_err(|_| missing)?;
                fields.clear();
            }
            fields.extend([row_number.to_string(), text(&predicted.prediction)]);
            fields.extend(
                columns.filter_map(|column| probabilities.map(|probabilities| text(&probabilities.value(column)))),
            );
            writer.write_record(&fields).map_err(|_| missing)?;
            fields.clear();
            row_number += 1;
        }
    }
    writer.into_inner().map_err(|_| EncodeError { row: row_number })
}

fn text(prediction: &Prediction<'_>) -> String {
    match prediction {
        Prediction::Text(value) => (*value).to_owned(),
        Prediction::Int(value) => value.to_string(),
        Prediction::Bool(value) => value.to_string(),
        Prediction::Float32(value) if value.is_finite() => value.to_string(),
        Prediction::Float64(value) if value.is_finite() => value.to_string(),
        Prediction::Float32(_) | Prediction::Float64(_) => String::new(),
        Prediction::Many(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
    }
}
