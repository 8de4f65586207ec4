//! A table being read: each key is asked for once, what is wrong is collected, what nobody asked for is unknown.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use super::names::near;
use super::problems::Problem;
use super::values::{self, Read, Wrong};

/// One table of the configuration. Whoever reads it ends with [`Section::finish`], which reports the keys left over.
pub(super) struct Section<'p> {
    /// The table's own key, empty for the whole configuration.
    path: String,
    table: Map<String, Value>,
    /// The keys asked for, and where each was written.
    asked: BTreeMap<String, Option<String>>,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Section<'p> {
    pub fn new(path: String, table: Map<String, Value>, problems: &'p mut Vec<Problem>) -> Self {
        Self { path, table, asked: BTreeMap::new(), problems }
    }

    /// The key's value; none if it is absent or wrong, which is then a problem.
    pub fn take<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Read<T>) -> Option<T> {
        let value = self.table.remove(key);
        self.asked.insert(key.to_owned(), value.as_ref().and_then(origin));
        read(&value?).map_err(|wrong| self.refuse(key, wrong)).ok()
    }

    /// The table under a key; empty if it is absent.
    pub fn section(&mut self, key: &str) -> Section<'_> {
        let table = self.take(key, values::table).unwrap_or_default();
        Section::new(self.path_of(key), table, self.problems)
    }

    /// The keys that hold tables and were not asked for yet, sorted.
    pub fn table_keys(&self) -> Vec<String> {
        let is_table = |value: &Value| matches!(values::literal(value).kind, ValueKind::Table(_));
        let mut keys: Vec<_> =
            self.table.iter().filter(|(_, value)| is_table(value)).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    /// Reports a value that was read and is wrong all the same.
    pub fn refuse(&mut self, key: &str, wrong: Wrong) {
        let origin = self.asked.get(key).cloned().flatten();
        self.report(self.path_of(key), wrong, origin);
    }

    /// Reports an element of a list, `features[2]`.
    pub fn refuse_element(&mut self, key: &str, index: usize, wrong: Wrong) {
        let origin = self.asked.get(key).cloned().flatten();
        self.report(self.path_of_element(key, index), wrong, origin);
    }

    /// A list's element that is a table.
    pub fn element(&mut self, key: &str, index: usize, table: Map<String, Value>) -> Section<'_> {
        Section::new(self.path_of_element(key, index), table, self.problems)
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        self.finish_with(|_, _| None);
    }

    /// Reports the keys that nobody asked for, with a hint that their reader may have for those that are near no known one.
    pub fn finish_with(mut self, hint: impl Fn(&str, &Value) -> Option<String>) {
        let mut unknown: Vec<_> = std::mem::take(&mut self.table).into_iter().collect();
        unknown.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, value) in unknown {
            let hint = match near(&key, self.asked.keys().map(String::as_str)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => hint(&key, &value).unwrap_or_else(|| self.known()),
            };
            self.report(self.path_of(&key), Wrong::new("unknown key").hint(hint), origin(&value));
        }
    }

    fn known(&self) -> String {
        let known: Vec<_> = self.asked.keys().map(|key| format!("`{key}`")).collect();
        format!("known here: {}", known.join(", "))
    }

    fn report(&mut self, key: String, wrong: Wrong, origin: Option<String>) {
        self.problems.push(Problem { key, message: wrong.message, hint: wrong.hint, origin });
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => quoted(key),
            path => format!("{path}.{}", quoted(key)),
        }
    }

    fn path_of_element(&self, key: &str, index: usize) -> String {
        format!("{}[{index}]", self.path_of(key))
    }
}

/// A key as TOML takes it: bare where it may be.
fn quoted(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { format!("{key:?}") }
}

/// Where a value was written. Merged tables have forgotten it; what they hold has not.
fn origin(value: &Value) -> Option<String> {
    let inner = || match &value.kind {
        ValueKind::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries.into_iter().find_map(|(_, value)| origin(value))
        }
        _ => None,
    };
    value.origin().map(str::to_owned).or_else(inner)
}

#[cfg(test)]
mod tests {
    use config::{FileFormat, Format};

    use super::*;

    fn problems_of(toml: &str, read: impl FnOnce(&mut Section<'_>)) -> Vec<String> {
        let table = FileFormat::Toml.parse(Some(&"a.toml".to_owned()), toml).expect("TOML");
        let mut problems = Vec::new();
        let mut section = Section::new(String::new(), table, &mut problems);
        read(&mut section);
        section.finish();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_nobody_asked_for_is_unknown() {
        let problems = problems_of("listne = 1\n'a b' = 2\nz.y = 3", |section| {
            assert_eq!(section.take("listen", values::text), None);
        });
        assert_eq!(
            problems,
            [
                "\"a b\": unknown key; known here: `listen` (a.toml)",
                "listne: unknown key; did you mean `listen`? (a.toml)",
                "z: unknown key; known here: `listen` (a.toml)",
            ]
        );
    }

    #[test]
    fn a_wrong_value_is_reported_where_it_is() {
        let problems = problems_of("[server]\nlisten = 5\n[log]\nlevel = 'x'", |section| {
            let mut server = section.section("server");
            assert_eq!(server.take("listen", values::text), None);
            server.finish();
            let mut log = section.section("log");
            assert_eq!(log.take("level", values::text).as_deref(), Some("x"));
            log.refuse("level", Wrong::new("no such level"));
            log.finish();
        });
        assert_eq!(
            problems,
            ["server.listen: must be text, and is 5; write it in quotes (a.toml)", "log.level: no such level (a.toml)"]
        );
    }

    #[test]
    fn a_value_where_a_table_belongs() {
        let problems = problems_of("server = 5", |section| section.section("server").finish());
        assert_eq!(problems, ["server: must be a table, and is 5 (a.toml)"]);
    }
}
