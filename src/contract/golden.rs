//! Golden rows: rows in the file with the estimator's own predictions, which the loaded model must reproduce.

use serde::Serialize;
use serde_json::Value;

use super::{
    Class, Contract, DataProblems, Golden, Layout, Outputs, Prediction, Reader, RowBuilder, RowPrediction, Table,
};

/// One golden row that the model answers otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    pub row: usize,
    pub got: String,
    pub expected: String,
}

/// How the model did on the golden rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoldenReport {
    pub rows: usize,
    pub disagreements: Vec<Disagreement>,
    /// The largest absolute difference of a number (a prediction or a probability) from the estimator's own.
    pub largest_difference: f64,
}

impl Golden {
    /// The rows as the model takes them.
    ///
    /// # Errors
    /// Golden rows that break the contract of their own file.
    pub fn table(&self, contract: &Contract, layout: &Layout) -> Result<Table, DataProblems> {
        let mut rows = RowBuilder::new(contract, layout, self.rows.len());
        for row in &self.rows {
            rows.begin_row();
            if row.len() == contract.features.len() {
                for (index, value) in row.iter().enumerate() {
                    rows.at(index);
                    rows.value(index, value);
                }
                rows.end_row();
            } else {
                rows.row_problem(&format!("has {} values for {} features", row.len(), contract.features.len()), None);
            }
        }
        rows.finish()
    }

    /// Compares the outputs of a run over [`Self::table`] with the estimator's own predictions.
    pub fn compare(&self, reader: &Reader, outputs: &Outputs) -> GoldenReport {
        let mut report = GoldenReport { rows: self.rows.len(), disagreements: Vec::new(), largest_difference: 0.0 };
        for (row, expected) in self.predictions.iter().enumerate() {
            let Some(got) = reader.row(outputs, row) else {
                report.disagreements.push(Disagreement {
                    row,
                    got: "nothing".to_owned(),
                    expected: expected.to_string(),
                });
                continue;
            };
            let same = match reader.class(outputs, row) {
                Some(class) => {
                    serde_json::from_value::<Class>(expected.clone()).is_ok_and(|known| known.names_same(&class))
                }
                None => self.numbers_agree(&got.prediction, expected, &mut report.largest_difference),
            };
            if !same {
                let got = match reader.class(outputs, row) {
                    Some(class) => class.to_string(),
                    None => format!("{:?}", numbers(&got.prediction)),
                };
                report.disagreements.push(Disagreement { row, got, expected: expected.to_string() });
            } else if let Some(expected) = self.probabilities.as_ref().and_then(|rows| rows.get(row))
                && !self.probabilities_agree(&got, expected, &mut report.largest_difference)
            {
                let got = got
                    .probabilities
                    .map(|got| (0..got.len()).flat_map(|i| numbers(&got.value(i))).collect::<Vec<_>>());
                let got = format!("probabilities {:?}", got.unwrap_or_default());
                report.disagreements.push(Disagreement { row, got, expected: format!("probabilities {expected:?}") });
            }
        }
        report
    }

    fn numbers_agree(&self, got: &Prediction<'_>, expected: &Value, largest: &mut f64) -> bool {
        let expected: Vec<f64> = match expected {
            Value::Array(values) => values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect(),
            value => vec![value.as_f64().unwrap_or(f64::NAN)],
        };
        self.all_agree(&numbers(got), &expected, largest)
    }

    fn probabilities_agree(&self, got: &RowPrediction<'_>, expected: &[f64], largest: &mut f64) -> bool {
        match &got.probabilities {
            Some(got) => {
                let got: Vec<f64> = (0..got.len()).flat_map(|column| numbers(&got.value(column))).collect();
                self.all_agree(&got, expected, largest)
            }
            // The model has no probabilities to compare: the estimator's are additional information.
            None => true,
        }
    }

    fn all_agree(&self, got: &[f64], expected: &[f64], largest: &mut f64) -> bool {
        let mut agree = got.len() == expected.len();
        for (got, expected) in got.iter().zip(expected) {
            *largest = largest.max((got - expected).abs());
            agree &= self.tolerance.agrees(*got, *expected);
        }
        agree
    }
}

fn numbers(prediction: &Prediction<'_>) -> Vec<f64> {
    match prediction {
        Prediction::Text(_) => Vec::new(),
        Prediction::Int(value) => vec![*value as f64],
        Prediction::Bool(value) => vec![f64::from(u8::from(*value))],
        Prediction::Float32(value) => vec![f64::from(*value)],
        Prediction::Float64(value) => vec![*value],
        Prediction::Many(values) => values.iter().flat_map(numbers).collect(),
    }
}
