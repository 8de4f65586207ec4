//! Reads JSON rows as they are parsed, straight into the model's columns: no tree is built.

use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Form;
use crate::contract::{DataProblems, FeatureIndex, Got, RowBuilder};

/// The features of a row of values by position; `None` for a column that is no feature.
pub(super) type Columns = [Option<FeatureIndex>];

/// The whole body: an object, or an array of rows.
pub(super) struct Body<'a, 'c> {
    pub rows: &'a mut RowBuilder<'c>,
    /// Set to what the body turns out to be.
    pub form: &'a mut Form,
    /// Where the rows are arrays with named columns.
    pub columns: Option<&'a Columns>,
}

/// Names of the split form's columns. The inner error is one of the contract.
pub(super) fn read_column_names(text: &str) -> serde_json::Result<Result<Vec<String>, DataProblems>> {
    let names: serde_json::Value = serde_json::from_str(text)?;
    let names: Option<Vec<String>> =
        names.as_array().and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    Ok(names.ok_or_else(|| DataProblems::of_request("\"columns\" is no array of names", "list the features by name")))
}

impl<'de> DeserializeSeed<'de> for Body<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features or an array of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        *self.form = Form::One;
        named_row(self.rows, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        *self.form = Form::Batch;
        let mut shape = None;
        while let Some(()) =
            array.next_element_seed(Row { rows: self.rows, columns: self.columns, shape: &mut shape })?
        {}
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.no_row()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.no_row()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.no_row()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.no_row()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.no_row()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.no_row()
    }
}

impl Body<'_, '_> {
    fn no_row<E>(self) -> Result<(), E> {
        self.rows.row_problem("the body is a single value", Some("send an object of features or an array of rows"));
        Ok(())
    }
}

/// What rows of one request look like; all alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Named,
    ByPosition,
    /// Values where rows should be: said once, not for each.
    NoRows,
}

struct Row<'a, 'c> {
    rows: &'a mut RowBuilder<'c>,
    columns: Option<&'a Columns>,
    shape: &'a mut Option<Shape>,
}

impl Row<'_, '_> {
    /// Notes where the row differs from those before.
    fn expect(&mut self, shape: Shape) {
        let expected = *self.shape.get_or_insert(shape);
        if expected == shape || expected == Shape::NoRows {
            return;
        }
        let word = |shape| match shape {
            Shape::Named => "an object",
            Shape::ByPosition => "an array",
            Shape::NoRows => "a value",
        };
        let problem = format!("is {}, the rows before are each {}", word(shape), word(expected));
        self.rows.row_problem(&problem, None);
    }

    fn value<E>(mut self) -> Result<(), E> {
        if self.shape.is_none() {
            *self.shape = Some(Shape::NoRows);
            let hint = "put it into an array of its own: [[value, …]]";
            self.rows.row_problem("the array holds values where rows should be", Some(hint));
        } else if *self.shape != Some(Shape::NoRows) {
            self.rows.begin_row();
            self.expect(Shape::NoRows);
            self.rows.abandon_row();
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row: an object of features or an array of values")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        if self.columns.is_some() {
            *self.shape = Some(Shape::ByPosition);
        }
        let is_as_expected = self.shape.is_none_or(|shape| shape == Shape::Named);
        if is_as_expected {
            *self.shape = Some(Shape::Named);
            return named_row(self.rows, map);
        }
        self.rows.begin_row();
        self.expect(Shape::Named);
        self.rows.abandon_row();
        drain_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, array: A) -> Result<(), A::Error> {
        self.rows.begin_row();
        if self.shape.is_none_or(|shape| shape == Shape::ByPosition) {
            *self.shape = Some(Shape::ByPosition);
            return positional_row(self.rows, self.columns, array);
        }
        self.expect(Shape::ByPosition);
        self.rows.abandon_row();
        drain_seq(array)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.value()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.value()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.value()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.value()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.value()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.value()
    }
}

fn named_row<'de, A: MapAccess<'de>>(rows: &mut RowBuilder<'_>, mut map: A) -> Result<(), A::Error> {
    rows.begin_row();
    while let Some(feature) = map.next_key_seed(Name { rows })? {
        match feature {
            Some(index) => map.next_value_seed(Value { rows, index })?,
            None => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    rows.end_row();
    Ok(())
}

/// A row whose values are in the order of `columns`, else of the features.
fn positional_row<'de, A: SeqAccess<'de>>(
    rows: &mut RowBuilder<'_>,
    columns: Option<&Columns>,
    mut array: A,
) -> Result<(), A::Error> {
    let expected = columns.map_or(rows.n_features(), <[_]>::len);
    let mut n_values = 0;
    loop {
        let feature = match columns {
            Some(columns) => columns.get(n_values).copied().flatten(),
            None => (n_values < expected).then_some(n_values),
        };
        let read = match feature {
            Some(index) => array.next_element_seed(Positional { rows, index })?.is_some(),
            None => array.next_element::<IgnoredAny>()?.is_some(),
        };
        if !read {
            break;
        }
        n_values += 1;
    }
    if n_values == expected {
        rows.end_row();
    } else {
        rows.abandon_row();
        rows.row_problem(&format!("has {n_values} values, expected {expected}"), None);
    }
    Ok(())
}

fn drain_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

fn drain_seq<'de, A: SeqAccess<'de>>(mut array: A) -> Result<(), A::Error> {
    while array.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

struct Name<'a, 'c> {
    rows: &'a mut RowBuilder<'c>,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = Option<FeatureIndex>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_, '_> {
    type Value = Option<FeatureIndex>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a feature")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.rows.named(name))
    }
}

/// A value by position: told to the builder only once it is there.
struct Positional<'a, 'c> {
    rows: &'a mut RowBuilder<'c>,
    index: FeatureIndex,
}

impl<'de> DeserializeSeed<'de> for Positional<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.rows.at(self.index);
        deserializer.deserialize_any(Value { rows: self.rows, index: self.index })
    }
}

struct Value<'a, 'c> {
    rows: &'a mut RowBuilder<'c>,
    index: FeatureIndex,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.rows.number(self.index, number);
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<(), E> {
        self.rows.integer(self.index, integer);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<(), E> {
        match i64::try_from(integer) {
            Ok(integer) => self.rows.integer(self.index, integer),
            Err(_) => self.rows.number(self.index, integer as f64),
        }
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<(), E> {
        self.rows.boolean(self.index, flag);
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.rows.null(self.index);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.rows.text(self.index, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<(), A::Error> {
        self.rows.unfit(self.index, Got::Array);
        drain_seq(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.rows.unfit(self.index, Got::Object);
        drain_map(map)
    }
}
