//! Builds a table row by row, in the model's own layout, and checks each value against its feature on the way.
//!
//! Codecs call it as they read, so that values go from the bytes straight into the tensors. Problems are collected, not returned:
//! one answer names them all.

use serde_json::Value;

use super::{Contract, DataProblem, DataProblems, Extra, Feature, FeatureType, Layout, Table, Values, did_you_mean};

/// Index of a feature in the contract.
pub type FeatureIndex = usize;

/// A value that is not what its feature takes, as the codec met it.
#[derive(Debug, Clone, Copy)]
pub enum Got<'a> {
    Text(&'a str),
    Array,
    Object,
}

/// A table under construction.
pub struct RowBuilder<'c> {
    contract: &'c Contract,
    layout: &'c Layout,
    inputs: Vec<Values>,
    n_rows: usize,
    /// For each feature, the number of the row (from 1) that set it last.
    set_in_row: Vec<usize>,
    n_set: usize,
    /// The feature that follows the last one named: rows mostly name them in order.
    expected: FeatureIndex,
    /// The feature of the value being read, to name in syntax errors.
    current: Option<FeatureIndex>,
    /// Whether the columns were named once for all rows, and what is missing was noted then.
    has_columns: bool,
    problems: DataProblems,
}

impl<'c> RowBuilder<'c> {
    /// `n_rows` is a guess, for the capacity.
    pub fn new(contract: &'c Contract, layout: &'c Layout, n_rows: usize) -> Self {
        let inputs =
            layout.inputs.iter().map(|input| Values::with_capacity(input.element, input.width * n_rows)).collect();
        Self {
            contract,
            layout,
            inputs,
            n_rows: 0,
            set_in_row: vec![0; contract.features.len()],
            n_set: 0,
            expected: 0,
            current: None,
            has_columns: false,
            problems: DataProblems::default(),
        }
    }

    pub fn contract(&self) -> &'c Contract {
        self.contract
    }

    pub fn n_features(&self) -> usize {
        self.contract.features.len()
    }

    /// Row (from 0) and feature that were being read, for syntax errors.
    pub fn position(&self) -> (usize, Option<&'c str>) {
        let feature = self.current.and_then(|index| self.contract.features.get(index));
        (self.n_rows.saturating_sub(1), feature.map(|feature| feature.name.as_str()))
    }

    /// The features of columns by name, for rows of values by position. Notes unknown, repeated and missing names.
    pub fn columns(&mut self, names: &[String]) -> Vec<Option<FeatureIndex>> {
        let mut is_named = vec![false; self.contract.features.len()];
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let index = self.layout.feature_index(name);
            match index {
                Some(index) if is_named[index] => {
                    self.problem(index, "is given by two columns", Some("remove one of the two"))
                }
                Some(index) => is_named[index] = true,
                None => self.unknown(name),
            }
            columns.push(index);
        }
        self.has_columns = true;
        for (index, is_named) in is_named.into_iter().enumerate() {
            if !is_named && !self.feature(index).nullable {
                self.problem(index, "is missing: no column has its name", None);
            }
        }
        columns
    }

    pub fn begin_row(&mut self) {
        self.n_rows += 1;
        self.n_set = 0;
        self.expected = 0;
        self.current = None;
        for (values, input) in self.inputs.iter_mut().zip(&self.layout.inputs) {
            values.extend_missing(input.width);
        }
    }

    /// The feature of that name; `None`, with the problem noted, where there is none or the row has named it before.
    pub fn named(&mut self, name: &str) -> Option<FeatureIndex> {
        let contract = self.contract;
        let index = match contract.features.get(self.expected) {
            Some(feature) if feature.name == name => self.expected,
            _ => match self.layout.feature_index(name) {
                Some(index) => index,
                None => {
                    self.unknown(name);
                    return None;
                }
            },
        };
        self.expected = index + 1;
        if self.set_in_row[index] == self.n_rows {
            self.problem(index, "is given twice in this row", Some("remove one of the two"));
            return None;
        }
        self.at(index);
        Some(index)
    }

    /// Says that the value read next is the feature's.
    pub fn at(&mut self, index: FeatureIndex) {
        self.set_in_row[index] = self.n_rows;
        self.n_set += 1;
        self.current = Some(index);
    }

    pub fn number(&mut self, index: FeatureIndex, number: f64) {
        let kind = self.feature(index).kind;
        match kind {
            FeatureType::Float => self.store(index, number),
            FeatureType::Int if number.fract() == 0.0 => self.store(index, number),
            FeatureType::Int => {
                self.problem(index, &format!("expected a whole number, got {number}"), None);
            }
            FeatureType::Bool if number == 0.0 || number == 1.0 => self.store(index, number),
            FeatureType::Bool => self.problem(index, &format!("expected true or false, got {number}"), None),
            FeatureType::String => {
                let hint = format!("put it in quotes: \"{number}\"");
                self.problem(index, &format!("expected text, got the number {number}"), Some(&hint));
            }
        }
    }

    /// Like [`Self::number`], exact for integers that a double can't hold.
    pub fn integer(&mut self, index: FeatureIndex, integer: i64) {
        let slot = self.layout.slots[index];
        let is_int = self.feature(index).kind == FeatureType::Int;
        match &mut self.inputs[slot.input] {
            Values::Int64(values) if is_int => {
                let at = values.len() - self.layout.inputs[slot.input].width + slot.column;
                values[at] = integer;
            }
            _ => self.number(index, integer as f64),
        }
    }

    pub fn boolean(&mut self, index: FeatureIndex, flag: bool) {
        match self.feature(index).kind {
            FeatureType::Bool => self.store(index, f64::from(u8::from(flag))),
            FeatureType::Float | FeatureType::Int => {
                let hint = format!("send {}", u8::from(flag));
                self.problem(index, &format!("expected a number, got {flag}"), Some(&hint));
            }
            FeatureType::String => {
                let hint = format!("put it in quotes: \"{flag}\"");
                self.problem(index, &format!("expected text, got {flag}"), Some(&hint));
            }
        }
    }

    pub fn text(&mut self, index: FeatureIndex, text: &str) {
        if self.feature(index).kind != FeatureType::String {
            return self.unfit(index, Got::Text(text));
        }
        if text.contains('\0') {
            return self.problem(index, "holds a NUL character, which string tensors can't carry", None);
        }
        let slot = self.layout.slots[index];
        if let Values::String(values) = &mut self.inputs[slot.input] {
            let at = values.len() - self.layout.inputs[slot.input].width + slot.column;
            text.clone_into(&mut values[at]);
        }
    }

    /// A missing value. The row holds "missing" already.
    pub fn null(&mut self, index: FeatureIndex) {
        if !self.feature(index).nullable {
            let hint =
                "the model saw no missing values in training; where it can take them, set `nullable` in the config";
            self.problem(index, "must not be null", Some(hint));
        }
    }

    pub fn unfit(&mut self, index: FeatureIndex, got: Got<'_>) {
        let expected = match self.feature(index).kind {
            FeatureType::Float => "a number",
            FeatureType::Int => "a whole number",
            FeatureType::Bool => "true or false",
            FeatureType::String => "text",
        };
        let (got, hint) = match got {
            Got::Text(text) => {
                let short: String = text.chars().take(40).collect();
                (format!("the text {short:?}"), number_hint(text))
            }
            Got::Array => ("an array".to_owned(), None),
            Got::Object => ("an object".to_owned(), None),
        };
        self.problem(index, &format!("expected {expected}, got {got}"), hint.as_deref());
    }

    /// Any JSON value.
    pub fn value(&mut self, index: FeatureIndex, value: &Value) {
        match value {
            Value::Null => self.null(index),
            Value::Bool(flag) => self.boolean(index, *flag),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => self.integer(index, integer),
                None => self.number(index, number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => self.text(index, text),
            Value::Array(_) => self.unfit(index, Got::Array),
            Value::Object(_) => self.unfit(index, Got::Object),
        }
    }

    /// Notes a problem of the row as a whole.
    pub fn row_problem(&mut self, problem: &str, hint: Option<&str>) {
        let row = self.n_rows.checked_sub(1);
        self.problems.push(|| DataProblem {
            row,
            feature: None,
            problem: problem.to_owned(),
            hint: hint.map(str::to_owned),
        });
    }

    pub fn end_row(&mut self) {
        self.current = None;
        if self.n_set == self.contract.features.len() || self.has_columns {
            return;
        }
        for index in 0..self.contract.features.len() {
            if self.set_in_row[index] != self.n_rows && !self.feature(index).nullable {
                self.problem(index, "is missing", None);
            }
        }
    }

    /// Ends a row that is not one: what it should have held is not named as missing.
    pub fn abandon_row(&mut self) {
        self.current = None;
    }

    /// # Errors
    /// All problems of all rows, where there is one.
    pub fn finish(self) -> Result<Table, DataProblems> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        if self.n_rows == 0 {
            return Err(DataProblems::of_request("there are no rows", "send at least one row of features"));
        }
        Ok(Table { n_rows: self.n_rows, inputs: self.inputs })
    }

    fn feature(&self, index: FeatureIndex) -> &'c Feature {
        &self.contract.features[index]
    }

    fn store(&mut self, index: FeatureIndex, number: f64) {
        let slot = self.layout.slots[index];
        let width = self.layout.inputs[slot.input].width;
        let values = &mut self.inputs[slot.input];
        let at = values.len() - width + slot.column;
        let fits = match values {
            Values::Float32(values) => {
                values[at] = number as f32;
                values[at].is_finite()
            }
            Values::Float64(values) => {
                values[at] = number;
                number.is_finite()
            }
            Values::Int64(values) => {
                values[at] = number as i64;
                // 2^63 itself does not fit and rounds to a double that compares equal to it.
                (-(2f64.powi(63))..2f64.powi(63)).contains(&number)
            }
            Values::Int32(values) => {
                values[at] = number as i32;
                (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number)
            }
            Values::Bool(values) => {
                values[at] = number != 0.0;
                true
            }
            Values::String(_) => false,
        };
        if !fits {
            let element = self.layout.inputs[slot.input].element.as_str();
            self.problem(index, &format!("{number} does not fit the model's {element} tensor"), None);
        }
    }

    fn unknown(&mut self, name: &str) {
        self.current = None;
        if self.contract.extra == Extra::Ignore {
            return;
        }
        let row = self.n_rows.checked_sub(1);
        let names = self.contract.features.iter().map(|feature| feature.name.as_str());
        // A client may send a name of any length, and the search for a near one takes the square of it.
        let name: String = name.chars().take(128).collect();
        self.problems.push(|| DataProblem {
            row,
            feature: Some(name.clone()),
            problem: "is not a feature of this model".to_owned(),
            hint: Some(match did_you_mean(&name, names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if name.is_empty() => {
                    "pandas writes its index as a column without a name: to_csv(index=False)".to_owned()
                }
                None => "leave it out, or set `extra = \"ignore\"` for the model".to_owned(),
            }),
        });
    }

    fn problem(&mut self, index: FeatureIndex, problem: &str, hint: Option<&str>) {
        let row = self.n_rows.checked_sub(1);
        let name = &self.contract.features[index].name;
        self.problems.push(|| DataProblem {
            row,
            feature: Some(name.clone()),
            problem: problem.to_owned(),
            hint: hint.map(str::to_owned),
        });
    }
}

/// What to do about a text where a number belongs.
fn number_hint(text: &str) -> Option<String> {
    let text = text.trim();
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(format!("send the number without quotes: {text}"));
    }
    let with_point = text.replacen(',', ".", 1);
    if with_point != text && with_point.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(format!("write it with a decimal point: {with_point}"));
    }
    let is_missing = text.is_empty() || ["nan", "na", "null", "none"].contains(&text.to_lowercase().as_str());
    is_missing.then(|| "a missing value is null in JSON and an empty field in CSV".to_owned())
}
