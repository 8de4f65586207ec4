//! The environment: `PORTEIRO__SECTION__KEY`, and what it says of where ONNX Runtime may be. The only reader of it.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use config::{Map, Value};

use super::problems::Problem;

/// How the origin of a value begins that an environment variable gave; the variable's name follows.
pub(super) const ENVIRONMENT: &str = "environment variable ";

const PREFIX: &str = "PORTEIRO__";

/// Where the environment says that ONNX Runtime's shared library may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibrarySearch {
    /// `ORT_DYLIB_PATH`: the library itself.
    pub library: Option<PathBuf>,
    /// `VIRTUAL_ENV`: the active virtual environment of Python.
    pub virtual_env: Option<PathBuf>,
    /// `CONDA_PREFIX`: the active environment of conda.
    pub conda_prefix: Option<PathBuf>,
}

/// Reads where ONNX Runtime's shared library may be; empty variables count as absent.
pub fn library_search() -> LibrarySearch {
    LibrarySearch {
        library: path_variable("ORT_DYLIB_PATH"),
        virtual_env: path_variable("VIRTUAL_ENV"),
        conda_prefix: path_variable("CONDA_PREFIX"),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn path_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The settings of each variable, sorted by the variables' names. `models` are the names that the files have tables for.
pub(super) fn layers(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    models: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Map<String, Value>> {
    let mut variables: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, value)| is_setting(name) && !value.is_empty())
        .collect();
    variables.sort();
    variables
        .into_iter()
        .filter_map(|(name, value)| layer(&name, value, models).map_err(|p| problems.push(p)).ok())
        .collect()
}

pub(super) fn is_from_environment(value: &Value) -> bool {
    value.origin().is_some_and(|origin| origin.starts_with(ENVIRONMENT))
}

fn is_setting(variable: &str) -> bool {
    variable.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

fn layer(variable: &str, value: OsString, models: &[String]) -> Result<Map<String, Value>, Problem> {
    let problem = |message: &str, hint: String| Problem {
        key: variable.to_owned(),
        message: message.to_owned(),
        hint: Some(hint),
        origin: None,
    };
    let text = value.into_string().map_err(|_| problem("is not valid UTF-8", "set this key in a file".to_owned()))?;

    let mut path: Vec<_> = variable.split("__").skip(1).map(str::to_owned).collect();
    // Deeper than `models.<name>.labels` are the classes, which may be of either case.
    path.iter_mut().take(3).for_each(|segment| segment.make_ascii_lowercase());
    if let [section, model, _, ..] = path.as_mut_slice()
        && section == "models"
    {
        let meant: Vec<_> = models.iter().filter(|name| shell_form(name) == shell_form(model)).collect();
        match meant.as_slice() {
            [] => {}
            [name] => model.clone_from(name),
            [one, other, ..] => {
                let hint = format!("set the keys of `{one}` and `{other}` in a file");
                return Err(problem("may mean either of two models", hint));
            }
        }
    }

    let origin = format!("{ENVIRONMENT}{variable}");
    let leaf = Map::from_iter([(path.pop().unwrap_or_default(), Value::new(Some(&origin), text))]);
    Ok(path.into_iter().rev().fold(leaf, |inner, segment| Map::from_iter([(segment, Value::new(None, inner))])))
}

/// A model's name as the name of a variable can hold it: shells take no dots and hyphens there.
fn shell_form(name: &str) -> String {
    name.to_ascii_lowercase().replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use config::ValueKind;

    use super::*;

    /// The path to the text of each variable, and the text.
    fn read(variables: &[(&str, &str)], models: &[&str]) -> (Vec<String>, Vec<Problem>) {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let models: Vec<_> = models.iter().map(|&name| name.to_owned()).collect();
        let mut problems = Vec::new();
        let layers = layers(variables, &models, &mut problems);
        (layers.into_iter().map(|layer| flat(Value::from(layer))).collect(), problems)
    }

    fn flat(value: Value) -> String {
        match value.kind {
            ValueKind::Table(table) => table.into_iter().map(|(key, value)| format!("{key}/{}", flat(value))).collect(),
            kind => kind.to_string(),
        }
    }

    #[test]
    fn variables_name_keys() {
        let (read, problems) = read(
            &[
                ("PATH", "/bin"),
                ("PORTEIRO_DATA", "data"),
                ("PORTEIRO__LOG__FORMAT", ""),
                ("PORTEIRO__SERVER__LISTEN", "[::1]:80"),
                ("PORTEIRO__DEFAULT_MODEL", "Wine"),
            ],
            &[],
        );
        assert_eq!(read, ["default_model/Wine", "server/listen/[::1]:80"]);
        assert_eq!(problems, []);
    }

    #[test]
    fn variables_name_models_as_far_as_a_shell_lets_them() {
        let (read, problems) = read(
            &[
                ("PORTEIRO__MODELS__BANK_V2_1__LABELS__YES", "sim"),
                ("PORTEIRO__MODELS__DIR", "m"),
                ("PORTEIRO__MODELS__NEW__FILE", "x.onnx"),
            ],
            &["bank-v2.1", "wine"],
        );
        assert_eq!(read, ["models/bank-v2.1/labels/YES/sim", "models/dir/m", "models/new/file/x.onnx"]);
        assert_eq!(problems, []);
    }

    #[test]
    fn a_variable_that_may_mean_two_models() {
        let (read, problems) = read(&[("PORTEIRO__MODELS__A_B__FILE", "x.onnx")], &["a-b", "a.b"]);
        assert!(read.is_empty());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "PORTEIRO__MODELS__A_B__FILE");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_no_text() {
        use std::os::unix::ffi::OsStringExt;
        let variable = (OsString::from("PORTEIRO__MODELS__DIR"), OsString::from_vec(vec![0xff]));
        let mut problems = Vec::new();
        assert!(layers([variable], &[], &mut problems).is_empty());
        assert_eq!(problems[0].key, "PORTEIRO__MODELS__DIR");
    }
}
