//! Properties of the codecs: what is written one way or another is read the same, and nothing that can be sent makes one panic.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Answered, DecodeError, Form, csv, json};
use crate::config::Model;
use crate::contract::{
    Class, Contract, Declared, DeclaredKind, Document, ElementType, ModelInput, Output, OutputRows, Outputs, Reader,
    Signature, Sources, Table, Values, resolve,
};

/// Names that need quoting, escaping and care.
const NAMES: [&str; 6] = ["a", "two words", "comma, \"quote\"", "ação 🦀", "\\back\\slash", "data set"];

fn contract(document: &Value, signature: Signature) -> Arc<Contract> {
    let settings = Model::default();
    let document = Document::parse(&document.to_string()).unwrap();
    Arc::new(resolve(Sources { settings: &settings, document, signature, graph_classes: None }).unwrap())
}

fn tensor(name: &str, element: ElementType, shape: &[i64]) -> Declared {
    Declared { name: name.to_owned(), kind: DeclaredKind::Tensor { element, shape: shape.to_vec() } }
}

/// A feature of each type, one input each: `float` in double and float tensors, `int`, `bool`, `string`; floats and texts may be
/// missing.
fn tabular() -> Arc<Contract> {
    let kinds = ["float", "float", "int", "bool", "string", "int"];
    let elements = [
        ElementType::Float64,
        ElementType::Float32,
        ElementType::Int64,
        ElementType::Bool,
        ElementType::String,
        ElementType::Int32,
    ];
    let features: Vec<Value> = NAMES
        .iter()
        .zip(kinds)
        .map(|(name, kind)| json!({"name": name, "type": kind, "nullable": matches!(kind, "float" | "string")}))
        .collect();
    let inputs = NAMES.iter().zip(elements).map(|(name, element)| tensor(name, element, &[-1, 1])).collect();
    let outputs = vec![tensor("y", ElementType::Float32, &[-1, 1])];
    contract(&json!({"format": 1, "features": features}), Signature { inputs, outputs })
}

fn tensors() -> Arc<Contract> {
    let inputs = vec![tensor("x", ElementType::Float32, &[-1, 2, 2]), tensor("n", ElementType::Int64, &[-1])];
    let outputs = vec![tensor("y", ElementType::Float32, &[-1, 2])];
    contract(&json!({"format": 1, "task": "raw"}), Signature { inputs, outputs })
}

/// One row in the order of [`NAMES`].
type Row = (Option<f64>, Option<f32>, i64, bool, Option<String>, i32);

fn row() -> impl Strategy<Value = Row> {
    let float64 = proptest::option::of(any::<f64>().prop_filter("finite", |value| value.is_finite()));
    let float32 = proptest::option::of(any::<f32>().prop_filter("finite", |value| value.is_finite()));
    // A text of nothing but spaces is a missing value in CSV, and the empty text stands for one in the tensor.
    let text = proptest::option::of("[^\0]{0,8}".prop_filter("not blank", |text| !text.trim().is_empty()));
    (float64, float32, any::<i64>(), any::<bool>(), text, any::<i32>())
}

fn values((double, single, integer, flag, text, small): &Row) -> Vec<Value> {
    // Through text, so that a float32 is written with its own digits.
    let single: Option<Value> = single.map(|value| serde_json::from_str(&format!("{value:e}")).unwrap());
    vec![json!(double), json!(single), json!(integer), json!(flag), json!(text), json!(small)]
}

/// What reading the rows must give.
fn expected(rows: &[Row]) -> Table {
    let inputs = vec![
        Values::Float64(rows.iter().map(|row| row.0.unwrap_or(f64::NAN)).collect()),
        Values::Float32(rows.iter().map(|row| row.1.unwrap_or(f32::NAN)).collect()),
        Values::Int64(rows.iter().map(|row| row.2).collect()),
        Values::Bool(rows.iter().map(|row| row.3).collect()),
        Values::String(rows.iter().map(|row| row.4.clone().unwrap_or_default()).collect()),
        Values::Int32(rows.iter().map(|row| row.5).collect()),
    ];
    Table { n_rows: rows.len(), inputs }
}

fn table(decoded: Result<super::Decoded, DecodeError>) -> Table {
    match decoded.unwrap().input {
        ModelInput::Rows(table) => table,
        ModelInput::Tensors(_) => panic!("tensors"),
    }
}

/// Equal, with NaN equal to itself and to the digit.
fn assert_same(found: &Table, expected: &Table, body: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{}", body);
    Ok(())
}

/// The rows as arrays of objects, each with its features in an order of its own.
fn named(rows: &[Row], rotate_by: usize) -> Value {
    let object = |(index, row): (usize, &Row)| {
        let mut pairs: Vec<(String, Value)> = NAMES.iter().map(|name| (*name).to_owned()).zip(values(row)).collect();
        pairs.rotate_left((rotate_by * index) % NAMES.len());
        Value::Object(pairs.into_iter().collect())
    };
    rows.iter().enumerate().map(object).collect()
}

proptest! {
    #[test]
    fn all_shapes_of_json_are_read_the_same(rows in vec(row(), 1..8), rotate_by in 0_usize..6) {
        let contract = tabular();
        let expected = expected(&rows);
        let by_position: Vec<Vec<Value>> = rows.iter().map(values).collect();
        let mut names = NAMES.to_vec();
        names.rotate_left(rotate_by);
        let rotated: Vec<Vec<Value>> = by_position
            .iter()
            .map(|row| {
                let mut row = row.clone();
                row.rotate_left(rotate_by);
                row
            })
            .collect();
        let bodies = [
            named(&rows, rotate_by).to_string(),
            format!("{:#}", named(&rows, rotate_by)),
            json!(by_position).to_string(),
            json!({"columns": names, "data": rotated}).to_string(),
            json!({"data": rotated, "columns": names}).to_string(),
            json!({"index": [0], "columns": names, "data": rotated}).to_string(),
        ];
        for body in bodies {
            let decoded = json::decode(body.as_bytes(), &contract);
            prop_assert_eq!(decoded.as_ref().map(|decoded| decoded.form), Ok(Form::Batch), "{}", body);
            assert_same(&table(decoded), &expected, &body)?;
        }
        let one = named(&rows[..1], rotate_by)[0].to_string();
        let decoded = json::decode(one.as_bytes(), &contract);
        prop_assert_eq!(decoded.as_ref().map(|decoded| decoded.form), Ok(Form::One));
        assert_same(&table(decoded), &self::expected(&rows[..1]), &one)?;
    }

    #[test]
    fn csv_is_read_as_it_was_written(rows in vec(row(), 1..8), rotate_by in 0_usize..6) {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        let mut header = NAMES.to_vec();
        header.rotate_left(rotate_by);
        writer.write_record(&header).unwrap();
        for row in &rows {
            let field = |value: Value| match value {
                Value::Null => String::new(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            let mut fields: Vec<String> = values(row).into_iter().map(field).collect();
            fields.rotate_left(rotate_by);
            writer.write_record(&fields).unwrap();
        }
        let body = writer.into_inner().unwrap();
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert_same(&table(csv::decode(&body, &tabular())), &expected(&rows), &shown)?;
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        for contract in [tabular(), tensors()] {
            check(json::decode(&bytes, &contract), &bytes)?;
            check(csv::decode(&bytes, &contract), &bytes)?;
        }
    }

    #[test]
    fn no_damage_to_good_json_makes_a_decoder_panic(
        rows in vec(row(), 1..4),
        damages in vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
        shape in 0_usize..4,
    ) {
        let by_position: Vec<Vec<Value>> = rows.iter().map(values).collect();
        let body = match shape {
            0 => named(&rows, 1).to_string(),
            1 => json!(by_position).to_string(),
            2 => json!({"data": by_position, "columns": NAMES}).to_string(),
            _ => json!({"inputs": {"x": [[[1, 2], [3, 4]]], "n": [1]}}).to_string(),
        };
        let mut bytes = body.into_bytes();
        for (place, byte, kind) in damages {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"{}[],:\"\\0-.eEtnf"[usize::from(byte) % 16]),
            }
        }
        for contract in [tabular(), tensors()] {
            check(json::decode(&bytes, &contract), &bytes)?;
        }
    }

    #[test]
    fn an_answer_is_json_whatever_the_model_says(
        scores in vec(any::<f32>(), 9..=9),
        labels in vec(".{0,6}", 3..=3),
        id in "[!-~]{1,20}",
        form in prop_oneof![Just(Form::One), Just(Form::Batch)],
        chosen in vec(-1_i64..4, 3..=3),
    ) {
        let names: Vec<String> = labels.iter().enumerate().map(|(class, label)| format!("{label}{class}")).collect();
        let outputs = vec![
            tensor("label", ElementType::Int64, &[-1]),
            tensor("probabilities", ElementType::Float32, &[-1, 3]),
        ];
        let signature = Signature { inputs: vec![tensor("x", ElementType::Float32, &[-1, 1])], outputs };
        let contract = contract(
            &json!({"format": 1, "classes": [0, 1, 2], "labels": {"0": names[0], "1": names[1], "2": names[2]}}),
            signature,
        );
        let output = |shape: Vec<i64>, values| Output { shape, values, keys: None };
        let tensors =
            vec![output(vec![3], Values::Int64(chosen)), output(vec![3, 3], Values::Float32(scores.clone()))];
        let n_rows = if form == Form::One { 1 } else { 3 };
        let slices = [OutputRows { outputs: Arc::new(Outputs { tensors }), rows: 0..n_rows }];
        let reader = Reader::new(contract);
        let answered = Answered { id: &id, model: "m", version: "1", reader: &reader, slices: &slices, form };
        let text = json::encode(&answered).unwrap();
        let answer: Value = serde_json::from_slice(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&answer["id"], &json!(id));
        let first = if form == Form::One { &answer } else { &answer["predictions"][0] };
        for (name, score) in names.iter().zip(&scores) {
            // A float that is no number is null.
            let read = first["probabilities"][name.as_str()].as_f64();
            prop_assert_eq!(read.map(|value| value as f32), Some(*score).filter(|score| score.is_finite()));
        }
        let csv = String::from_utf8(csv::encode(&answered).unwrap()).unwrap();
        let records = ::csv::Reader::from_reader(csv.as_bytes()).into_records().collect::<Result<Vec<_>, _>>().unwrap();
        prop_assert_eq!(records.len(), n_rows);
    }
}

/// Whatever comes out is one of the two: a table, or an error that can be shown.
fn check(decoded: Result<super::Decoded, DecodeError>, bytes: &[u8]) -> Result<(), TestCaseError> {
    match decoded {
        Ok(decoded) => match decoded.input {
            ModelInput::Rows(table) => prop_assert!(table.n_rows > 0),
            ModelInput::Tensors(tensors) => prop_assert!(!tensors.is_empty()),
        },
        Err(DecodeError::Malformed { line, column, .. }) => {
            prop_assert!(line >= 1 && line <= bytes.len() + 1, "line {}", line);
            prop_assert!(column <= bytes.len() + 1, "column {}", column);
        }
        Err(DecodeError::Invalid(problems)) => prop_assert!(!problems.is_empty()),
    }
    Ok(())
}

#[test]
fn a_feature_may_be_called_columns() {
    let inputs = vec![tensor("columns", ElementType::Int64, &[-1, 1]), tensor("data", ElementType::Int64, &[-1, 1])];
    let outputs = vec![tensor("y", ElementType::Float32, &[-1, 1])];
    let contract = contract(&json!({"format": 1}), Signature { inputs, outputs });
    let table = table(json::decode(br#"{"columns": 3, "data": 4}"#, &contract));
    assert_eq!(table.inputs, [Values::Int64(vec![3]), Values::Int64(vec![4])]);
}

#[test]
fn the_classes_of_a_zipmap_name_the_probabilities() {
    let outputs =
        vec![tensor("label", ElementType::String, &[-1]), Declared { name: "p".to_owned(), kind: DeclaredKind::Maps }];
    let signature = Signature { inputs: vec![tensor("x", ElementType::Float32, &[-1, 1])], outputs };
    let reader = Reader::new(contract(&json!({"format": 1}), signature));
    let keys = Some(vec![Class::Text("no \"doubt\"".to_owned()), Class::Text("yes".to_owned())]);
    let tensors = vec![
        Output { shape: vec![1], values: Values::String(vec!["yes".to_owned()]), keys: None },
        Output { shape: vec![1, 2], values: Values::Float32(vec![0.25, 0.75]), keys },
    ];
    let slices = [OutputRows { outputs: Arc::new(Outputs { tensors }), rows: 0..1 }];
    let answered = Answered { id: "i", model: "m", version: "1", reader: &reader, slices: &slices, form: Form::One };
    let answer: Value = serde_json::from_slice(&json::encode(&answered).unwrap()).unwrap();
    assert_eq!(answer["prediction"], "yes");
    assert_eq!(answer["probabilities"], json!({"no \"doubt\"": 0.25, "yes": 0.75}));
}
