//! Readers of single values: what was written to a typed value, or what should have been written.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use config::{FileFormat, Format, Map, Value, ValueKind};

use super::environment::is_from_environment;
use super::names::near;

/// The longest time limit; times far beyond it can't be added to the clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Wrong {
    pub message: String,
    pub hint: Option<String>,
}

pub(super) type Read<T> = Result<T, Wrong>;

impl Wrong {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// "must be …, and is …".
    pub fn must_be(what: &str, value: &Value) -> Self {
        Self::new(format!("must be {what}, and is {}", shown(value)))
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Any text but the empty one.
pub(super) fn text(value: &Value) -> Read<String> {
    match &value.kind {
        ValueKind::String(text) if text.trim().is_empty() => Err(Wrong::new("must not be empty")),
        ValueKind::String(text) => Ok(text.clone()),
        ValueKind::I64(_) | ValueKind::Float(_) | ValueKind::Boolean(_) => {
            Err(Wrong::must_be("text", value).hint("write it in quotes"))
        }
        _ => Err(Wrong::must_be("text", value)),
    }
}

pub(super) fn path(value: &Value) -> Read<PathBuf> {
    text(value).map(PathBuf::from)
}

/// Text, or a whole number taken as text.
pub(super) fn text_or_integer(value: &Value) -> Read<String> {
    match &value.kind {
        ValueKind::I64(number) => Ok(number.to_string()),
        _ => text(value),
    }
}

pub(super) fn boolean(value: &Value) -> Read<bool> {
    match literal(value).kind {
        ValueKind::Boolean(boolean) => Ok(boolean),
        _ => Err(Wrong::must_be("true or false", value)),
    }
}

pub(super) fn count(value: &Value, range: RangeInclusive<usize>) -> Read<usize> {
    let number = match literal(value).kind {
        ValueKind::I64(number) => usize::try_from(number).ok(),
        _ => None,
    };
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| Wrong::must_be(&format!("a whole number from {} to {}", range.start(), range.end()), value))
}

/// A time limit with its unit, from a millisecond to a day.
pub(super) fn duration(value: &Value) -> Read<Duration> {
    const WHAT: &str = "a time with its unit, such as \"250ms\" or \"30s\"";
    if let Some(number) = bare_number(value) {
        return Err(Wrong::must_be(WHAT, value).hint(format!("for seconds write \"{number}s\"")));
    }
    let text = text(value).map_err(|_| Wrong::must_be(WHAT, value))?;
    let duration = humantime::parse_duration(&text).map_err(|_| Wrong::must_be(WHAT, value))?;
    if (Duration::from_millis(1)..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err(Wrong::must_be("from \"1ms\" to \"1day\"", value))
    }
}

/// A size with its unit, in bytes.
pub(super) fn bytes(value: &Value) -> Read<usize> {
    const WHAT: &str = "a size with its unit, such as \"512KiB\" or \"8MiB\"";
    if let Some(number) = bare_number(value) {
        return Err(Wrong::must_be(WHAT, value).hint(format!("for bytes write \"{number}B\"")));
    }
    let text = text(value).map_err(|_| Wrong::must_be(WHAT, value))?;
    let size: ByteSize = text.parse().map_err(|_| Wrong::must_be(WHAT, value))?;
    match usize::try_from(size.as_u64()) {
        Ok(bytes) if 0 < bytes => Ok(bytes),
        _ => Err(Wrong::must_be("larger than nothing and no larger than the machine's memory", value)),
    }
}

/// One of a closed list of words.
pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Read<T> {
    let words = || choices.iter().map(|(word, _)| *word);
    let written = match &value.kind {
        ValueKind::String(text) => text.as_str(),
        _ => "",
    };
    choices.iter().find(|(word, _)| *word == written).map(|(_, choice)| *choice).ok_or_else(|| {
        let listed: Vec<_> = words().map(|word| format!("\"{word}\"")).collect();
        let wrong = Wrong::must_be(&format!("one of {}", listed.join(", ")), value);
        match near(written, words()) {
            Some(word) => wrong.hint(format!("did you mean \"{word}\"?")),
            None => wrong,
        }
    })
}

pub(super) fn list(value: &Value) -> Read<Vec<Value>> {
    match literal(value).into_owned().kind {
        ValueKind::Array(items) if items.is_empty() => Err(Wrong::new("must not be empty").hint("leave the key out")),
        ValueKind::Array(items) => Ok(items),
        _ => Err(Wrong::must_be("a list", value).hint("write [\"…\", \"…\"]")),
    }
}

pub(super) fn table(value: &Value) -> Read<Map<String, Value>> {
    match literal(value).into_owned().kind {
        ValueKind::Table(table) => Ok(table),
        _ => Err(Wrong::must_be("a table", value)),
    }
}

/// The value itself, or what the text of an environment variable says in TOML: a number, a list, a table.
pub(super) fn literal(value: &Value) -> Cow<'_, Value> {
    let ValueKind::String(text) = &value.kind else { return Cow::Borrowed(value) };
    if !is_from_environment(value) {
        return Cow::Borrowed(value);
    }
    let origin = value.origin().map(str::to_owned);
    let parsed = FileFormat::Toml.parse(origin.as_ref(), &format!("value = {text}"));
    match parsed.ok().and_then(|mut table| table.remove("value")) {
        Some(parsed) => Cow::Owned(parsed),
        None => Cow::Borrowed(value),
    }
}

/// The value as one would write it, as far as a message needs it.
pub(super) fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// A number without a unit, as a number or as text.
fn bare_number(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::I64(_) | ValueKind::Float(_) => Some(value.kind.to_string()),
        ValueKind::String(text) => text.trim().parse::<f64>().is_ok().then(|| text.trim().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: impl Into<ValueKind>) -> Value {
        Value::new(None, kind)
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration(&value("250ms")).ok(), Some(Duration::from_millis(250)));
        assert_eq!(duration(&value("1m 30s")).ok(), Some(Duration::from_secs(90)));
        for bare in [value(30_i64), value("30")] {
            let wrong = duration(&bare).expect_err("a bare number");
            assert_eq!(wrong.hint.as_deref(), Some("for seconds write \"30s\""));
        }
        for refused in ["", "soon", "0s", "-1s", "2days", "999999999999999999999years"] {
            assert!(duration(&value(refused)).is_err(), "{refused:?} was taken");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(&value("8MiB")).ok(), Some(8 << 20));
        assert_eq!(bytes(&value("1.5 KiB")).ok(), Some(1536));
        assert_eq!(bytes(&value("8MB")).ok(), Some(8_000_000));
        for bare in [value(1024_i64), value("1024")] {
            let wrong = bytes(&bare).expect_err("a bare number");
            assert_eq!(wrong.hint.as_deref(), Some("for bytes write \"1024B\""));
        }
        for refused in ["", "large", "0B", "-1MiB", "8 parsecs"] {
            assert!(bytes(&value(refused)).is_err(), "{refused:?} was taken");
        }
    }

    #[test]
    fn only_text_of_the_environment_is_read_as_a_number() {
        let variable = super::super::environment::ENVIRONMENT.to_owned() + "PORTEIRO__ENGINE__SESSIONS";
        let from_environment = |text: &str| Value::new(Some(&variable), text);
        assert_eq!(count(&from_environment("4"), 1..=8).ok(), Some(4));
        assert_eq!(boolean(&from_environment("true")).ok(), Some(true));
        assert_eq!(list(&from_environment("[\"a\", \"b\"]")).map(|items| items.len()).ok(), Some(2));
        assert_eq!(text(&from_environment("4")).ok().as_deref(), Some("4"));
        assert!(count(&value("4"), 1..=8).is_err());
        assert!(count(&value(9_i64), 1..=8).is_err());
        assert!(count(&value(-1_i64), 1..=8).is_err());
    }

    #[test]
    fn a_misspelt_word_gets_the_near_one() {
        let wrong = choice(&value("classificaton"), &[("classification", 1), ("raw", 2)]).expect_err("misspelt");
        assert_eq!(wrong.hint.as_deref(), Some("did you mean \"classification\"?"));
        assert!(wrong.message.contains("\"raw\""), "{}", wrong.message);
    }
}
