//! The fast lane of JSON: bodies as programs write them.
//!
//! Nearly every body names the same features in the same order in each row, without escapes in the names. Such a body is
//! recognized by comparing bytes, twice as fast as by a general parser. Whatever else a body may hold, odd or wrong, this reader
//! gives up on, and the general one reads it from the start: what is legal and how it is refused is said there only.

use super::{Decoded, Form};
use crate::contract::{Contract, FeatureIndex, Layout, ModelInput, RowBuilder};

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Up to here a double holds every integer.
const EXACT_INTEGERS: u64 = 1 << 53;

/// Reads an object of features or an array of them; `None` where the general reader has to.
pub(super) fn decode(bytes: &[u8], contract: &Contract, layout: &Layout, likely_rows: usize) -> Option<Decoded> {
    let mut rows = RowBuilder::new(contract, layout, likely_rows);
    let mut cursor = Cursor { bytes, at: 0 };
    let mut order = Vec::with_capacity(contract.features.len());
    cursor.skip_space();
    let form = if cursor.eat(b'[') { Form::Batch } else { Form::One };
    loop {
        cursor.skip_space();
        row(&mut cursor, &mut rows, layout, &mut order)?;
        cursor.skip_space();
        if form == Form::One || !cursor.eat(b',') {
            break;
        }
    }
    if form == Form::Batch && !cursor.eat(b']') {
        return None;
    }
    cursor.skip_space();
    if cursor.at != bytes.len() {
        return None;
    }
    let table = rows.finish().ok()?;
    Some(Decoded { input: ModelInput::Rows(table), form })
}

/// `order` is the order of the features in the first row; each later row has the same.
fn row(
    cursor: &mut Cursor<'_>,
    rows: &mut RowBuilder<'_>,
    layout: &Layout,
    order: &mut Vec<FeatureIndex>,
) -> Option<()> {
    let n_features = rows.n_features();
    let is_first = order.is_empty();
    cursor.eat(b'{').then_some(())?;
    rows.begin_row();
    for position in 0..n_features {
        if position > 0 {
            cursor.eat(b',').then_some(())?;
        }
        cursor.skip_space();
        let index = if is_first { cursor.name(layout, position, order)? } else { order[position] };
        if !is_first {
            cursor.eat_all(layout.quoted(index)).then_some(())?;
        }
        cursor.skip_space();
        cursor.eat(b':').then_some(())?;
        cursor.skip_space();
        rows.at(index);
        match cursor.peek()? {
            b'-' | b'0'..=b'9' => match cursor.number()? {
                Number::Integer(integer) => rows.integer(index, integer),
                Number::Float(number) => rows.number(index, number),
            },
            b'"' => rows.text(index, cursor.text()?),
            b'n' => {
                cursor.eat_all(b"null").then_some(())?;
                rows.null(index);
            }
            b't' => {
                cursor.eat_all(b"true").then_some(())?;
                rows.boolean(index, true);
            }
            b'f' => {
                cursor.eat_all(b"false").then_some(())?;
                rows.boolean(index, false);
            }
            _ => return None,
        }
        cursor.skip_space();
    }
    cursor.eat(b'}').then_some(())?;
    rows.end_row();
    Some(())
}

enum Number {
    Integer(i64),
    Float(f64),
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn eat_all(&mut self, expected: &[u8]) -> bool {
        let is_there = self.bytes[self.at..].starts_with(expected);
        self.at += if is_there { expected.len() } else { 0 };
        is_there
    }

    /// A name of the first row, which sets the order.
    fn name(&mut self, layout: &Layout, position: usize, order: &mut Vec<FeatureIndex>) -> Option<FeatureIndex> {
        let index =
            if self.eat_all(layout.quoted(position)) { position } else { layout.feature_index(self.text()?)? };
        if order.contains(&index) {
            return None;
        }
        order.push(index);
        Some(index)
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.eat(b'"').then_some(())?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        if rest[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).ok()
    }

    fn digits(&mut self, mantissa: &mut u64) -> usize {
        let start = self.at;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            // Wraps from the 20th digit on, which `number` sees by the count.
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            self.at += 1;
        }
        self.at - start
    }

    /// A number by JSON's grammar, correctly rounded: where mantissa and power of ten are both exact, so is the one operation on
    /// them (W. D. Clinger, "How to read floating point numbers accurately", 1990); else by the standard library.
    fn number(&mut self) -> Option<Number> {
        let start = self.at;
        let is_negative = self.eat(b'-');
        let mut mantissa = 0;
        let starts_with_zero = self.peek() == Some(b'0');
        let n_whole = self.digits(&mut mantissa);
        if n_whole == 0 || (starts_with_zero && n_whole > 1) {
            return None;
        }
        let mut n_fraction = 0;
        let is_integer = !matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if self.eat(b'.') {
            n_fraction = self.digits(&mut mantissa);
            if n_fraction == 0 {
                return None;
            }
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            let _ = self.eat(b'-') || self.eat(b'+');
            if self.digits(&mut 0) == 0 {
                return None;
            }
        }
        let is_exact = n_whole + n_fraction <= 19 && mantissa <= EXACT_INTEGERS && !has_exponent;
        if is_exact && is_integer && !(is_negative && mantissa == 0) {
            let integer = i64::try_from(mantissa).ok()?;
            return Some(Number::Integer(if is_negative { -integer } else { integer }));
        }
        if is_exact && let Some(power) = EXACT_POWERS.get(n_fraction) {
            let number = mantissa as f64 / power;
            return Some(Number::Float(if is_negative { -number } else { number }));
        }
        if is_integer {
            return None;
        }
        let number: f64 = std::str::from_utf8(&self.bytes[start..self.at]).ok()?.parse().ok()?;
        number.is_finite().then_some(Number::Float(number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cursor, Number};

    /// The number and what is left, by this reader.
    fn read(text: &str) -> Option<(f64, &str)> {
        let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
        let number = match cursor.number()? {
            Number::Integer(integer) => integer as f64,
            Number::Float(number) => number,
        };
        Some((number, &text[cursor.at..]))
    }

    #[test]
    fn what_is_no_number_of_json_is_left_to_the_general_reader() {
        for text in ["", "-", "01", "-01", "1.", ".5", "1.e3", "1e", "1e+", "1e400", "99999999999999999999", "+1"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("0,"), Some((0.0, ",")));
        assert_eq!(read("-0").map(|(number, _)| number.is_sign_negative()), Some(true));
        assert_eq!(read("1e3}"), Some((1000.0, "}")));
    }

    proptest! {
        #[test]
        fn numbers_are_rounded_as_the_standard_library_rounds(
            whole in 0_u64.., fraction in "[0-9]{1,25}", exponent in -340_i32..300, is_negative: bool,
        ) {
            let sign = if is_negative { "-" } else { "" };
            for text in [format!("{sign}{whole}.{fraction}"), format!("{sign}{}.{fraction}", whole % 1000), format!("{sign}{whole}.{fraction}e{exponent}")] {
                let expected: f64 = text.parse().unwrap();
                match read(&text) {
                    Some((number, rest)) => prop_assert_eq!((number.to_bits(), rest), (expected.to_bits(), ""), "{}", text),
                    None => prop_assert!(expected.is_infinite(), "{} was left", text),
                }
            }
        }

        #[test]
        fn floats_are_read_as_they_were_written(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            let text = serde_json::to_string(&number).unwrap();
            prop_assert_eq!(read(&text).map(|(read, rest)| (read.to_bits(), rest)), Some((number.to_bits(), "")), "{}", text);
        }
    }
}
