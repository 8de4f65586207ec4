//! Files, environment and flags, put over each other in this order, the later ones winning.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use config::{Config, FileFormat, Format, Map, Source, Value, ValueKind};

use super::problems::{ConfigError, Problem};
use super::resolve::SECTIONS;
use super::{Settings, environment, resolve, values};

/// The file that is read if it is there, relative to the working directory.
pub const DEFAULT_FILE: &str = "config/porteiro.toml";

/// What the command line says; it wins over all else.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// A file read after [`DEFAULT_FILE`]; it must exist.
    pub config: Option<PathBuf>,
    /// `server.listen`
    pub listen: Option<String>,
    /// `models.dir`
    pub models_dir: Option<PathBuf>,
    /// `engine.onnxruntime`
    pub onnxruntime: Option<PathBuf>,
    /// `log.format`
    pub log_format: Option<String>,
    /// `log.level`
    pub log_level: Option<String>,
}

/// Reads [`DEFAULT_FILE`] if it is there, then the file that the command line names, then the environment's
/// `PORTEIRO__SECTION__KEY`, then the other flags.
///
/// # Errors
/// A file that can't be read or is no TOML; else all keys that are wrong at once.
pub fn load(overrides: &Overrides) -> Result<Settings, ConfigError> {
    load_from(Path::new(DEFAULT_FILE), overrides, env::vars_os())
}

fn load_from(
    default_file: &Path,
    overrides: &Overrides,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, ConfigError> {
    let mut layers: Vec<_> = read_if_there(default_file)?.into_iter().collect();
    if let Some(file) = &overrides.config {
        layers.push(read(file)?);
    }
    let mut problems = Vec::new();
    let models = layers.iter().flat_map(models_named).collect::<Vec<_>>();
    layers.extend(environment::layers(variables, &models, &mut problems));
    layers.extend(flags(overrides));
    layers.iter_mut().for_each(|layer| take_misplaced(layer, &mut problems));

    let mut settings = resolve::settings(merge(layers)?, &mut problems);
    // Paths may be no UTF-8, so they don't go through the text of a table.
    settings.models.dir = overrides.models_dir.clone().unwrap_or(settings.models.dir);
    settings.engine.onnxruntime = overrides.onnxruntime.clone().or(settings.engine.onnxruntime);
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError::Problems { problems }) }
}

fn read_if_there(path: &Path) -> Result<Option<Map<String, Value>>, ConfigError> {
    match read(path) {
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Reads one file. `config::File` would do it, but takes another file of a similar name for one that is not there, and
/// replaces what is not UTF-8.
fn read(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let syntax = |error: Box<dyn std::error::Error + Send + Sync>| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    };
    // Editors on Windows like to begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    FileFormat::Toml.parse(Some(&path.display().to_string()), text).map_err(syntax)
}

fn models_named(layer: &Map<String, Value>) -> Vec<String> {
    match layer.get("models").map(|models| &models.kind) {
        Some(ValueKind::Table(models)) => models.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// A layer for each flag that is text, and so is checked like text of a file.
fn flags(overrides: &Overrides) -> impl Iterator<Item = Map<String, Value>> {
    let flags = [
        ("server", "listen", "--listen", &overrides.listen),
        ("log", "format", "--log-format", &overrides.log_format),
        ("log", "level", "--log-level", &overrides.log_level),
    ];
    flags.into_iter().filter_map(|(section, key, flag, text)| {
        let value = Value::new(Some(&flag.to_owned()), text.as_deref()?);
        let keys = Map::from_iter([(key.to_owned(), value)]);
        Some(Map::from_iter([(section.to_owned(), Value::new(None, keys))]))
    })
}

/// Reports what is written where a section belongs (`log = "debug"`), layer by layer: in the merged table a later layer's
/// section would have taken its place, and the mistake would go unseen.
fn take_misplaced(layer: &mut Map<String, Value>, problems: &mut Vec<Problem>) {
    for section in SECTIONS {
        let Some(wrong) = layer.get(section).and_then(|value| values::table(value).err()) else { continue };
        let origin = layer.remove(section).and_then(|value| value.origin().map(str::to_owned));
        problems.push(Problem { key: section.to_owned(), message: wrong.message, hint: wrong.hint, origin });
    }
}

/// Puts the layers over each other: tables are merged key by key, anything else is replaced.
fn merge(layers: Vec<Map<String, Value>>) -> Result<Map<String, Value>, ConfigError> {
    let nothing = Config::builder().add_source(Layer(Map::new()));
    let builder = layers.into_iter().fold(nothing, |builder, layer| builder.add_source(Layer(layer)));
    Ok(builder.build()?.get_table(Layer::ROOT)?)
}

/// One source's settings.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Layer {
    /// `config` takes the keys of a source's outermost table for paths (`"a.b"` is `b` in `a`) and leaves deeper ones
    /// alone. Under a key of its own no key of the user's is outermost.
    const ROOT: &str = "settings";
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(Map::from_iter([(Self::ROOT.to_owned(), Value::new(None, self.0.clone()))]))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::super::{LogFormat, ModelName, Settings};
    use super::*;

    /// A folder with one file, and what is read from it.
    struct Case {
        folder: TempDir,
        overrides: Overrides,
        variables: Vec<(OsString, OsString)>,
    }

    impl Case {
        fn new(toml: &str) -> Self {
            let folder = TempDir::new().expect("a folder");
            fs::write(folder.path().join("porteiro.toml"), toml).expect("a file");
            Self { folder, overrides: Overrides::default(), variables: Vec::new() }
        }

        fn variable(mut self, name: &str, value: &str) -> Self {
            self.variables.push((name.into(), value.into()));
            self
        }

        fn more(mut self, toml: &str) -> Self {
            let path = self.folder.path().join("more.toml");
            fs::write(&path, toml).expect("a file");
            self.overrides.config = Some(path);
            self
        }

        fn load(&self) -> Result<Settings, ConfigError> {
            load_from(&self.folder.path().join("porteiro.toml"), &self.overrides, self.variables.clone())
        }

        fn settings(&self) -> Settings {
            self.load().expect("settings")
        }

        /// The problems, a line each, without the name of the folder.
        fn problems(&self) -> Vec<String> {
            let folder = format!("{}/", self.folder.path().display());
            match self.load().expect_err("problems") {
                ConfigError::Problems { problems } => {
                    problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
                }
                other => panic!("{other}"),
            }
        }
    }

    fn name(name: &str) -> ModelName {
        ModelName::try_from(name).expect("a name")
    }

    #[test]
    fn nothing_gives_the_defaults() {
        assert_eq!(Case::new("").settings(), Settings::default());
        let absent = load_from(Path::new("/nowhere/porteiro.toml"), &Overrides::default(), []);
        assert_eq!(absent.expect("settings"), Settings::default());
    }

    #[test]
    fn three_mistakes_are_named_at_once() {
        let case = Case::new(
            "default_model = 'wine'\n[server]\nlisten = 5000\n[models.wine]\nfeatures = ['pH', 'alcohol', 'pH']\nlables = { 0 = 'bom' }",
        );
        assert_eq!(
            case.problems(),
            [
                "server.listen: must be host and port, such as \"127.0.0.1:5000\", and is 5000; write \"127.0.0.1:5000\" (porteiro.toml)",
                "models.wine.features[2]: \"pH\" is in the list twice (porteiro.toml)",
                "models.wine.lables: unknown key; did you mean `labels`? (porteiro.toml)",
            ]
        );
    }

    #[test]
    fn later_sources_win_key_by_key() {
        let file = "[server]\nlisten = 'a:1'\nrequest_timeout = '1s'\n[log]\nlevel = 'debug'\n[models.wine]\nfile = 'a.onnx'\ntarget = 'quality'";
        let mut case = Case::new(file)
            .more("[server]\nlisten = 'b:2'\n[models.wine]\nfile = 'b.onnx'")
            .variable("PORTEIRO__SERVER__LISTEN", "c:3")
            .variable("PORTEIRO__MODELS__DIR", "elsewhere")
            .variable("PORTEIRO__LOG__FORMAT", "json");
        let settings = case.settings();
        assert_eq!(settings.server.listen, "c:3");
        assert_eq!(settings.server.request_timeout, Duration::from_secs(1));
        assert_eq!(settings.models.dir, Path::new("elsewhere"));
        assert_eq!(settings.log.format, LogFormat::Json);
        let wine = settings.model(&name("wine"));
        assert_eq!(wine.file.as_deref(), Some(Path::new("b.onnx")));
        assert_eq!(wine.target.as_deref(), Some("quality"));

        case.overrides.listen = Some("d:4".to_owned());
        case.overrides.models_dir = Some("flag".into());
        case.overrides.onnxruntime = Some("lib.so".into());
        case.overrides.log_format = Some("text".to_owned());
        case.overrides.log_level = Some("warn".to_owned());
        let settings = case.settings();
        assert_eq!(settings.server.listen, "d:4");
        assert_eq!(settings.models.dir, Path::new("flag"));
        assert_eq!(settings.engine.onnxruntime.as_deref(), Some(Path::new("lib.so")));
        assert_eq!((settings.log.format, settings.log.level.as_str()), (LogFormat::Text, "warn"));
    }

    #[test]
    fn variables_are_numbers_and_lists_where_those_belong() {
        let settings = Case::new("[models.Vinho-1]\nfile = 'v.onnx'")
            .variable("PORTEIRO__DEFAULT_MODEL", "Vinho-1")
            .variable("PORTEIRO__ENGINE__SESSIONS", "3")
            .variable("PORTEIRO__ENGINE__ROW_WISE", "false")
            .variable("PORTEIRO__MODELS__VINHO_1__FEATURES", "['pH', { name = 'cor', type = 'string' }]")
            .variable("PORTEIRO__MODELS__VINHO_1__LABELS__Yes", "1")
            .variable("PORTEIRO__MODELS__VINHO_1__VERSION", "7")
            .variable("PORTEIRO__MODELS__VINHO_1__NULLABLE", "true")
            .settings();
        assert_eq!(settings.default_model, Some(name("Vinho-1")));
        let model = settings.model(&name("Vinho-1"));
        assert_eq!((model.engine.sessions, model.engine.row_wise), (Some(3), Some(false)));
        let features: Vec<_> = model.features.iter().flatten().map(|feature| feature.name.as_str()).collect();
        assert_eq!(features, ["pH", "cor"]);
        assert_eq!(model.labels.expect("labels").get("Yes").map(String::as_str), Some("1"));
        assert_eq!(model.version.as_deref(), Some("7"));
        assert_eq!(settings.model(&name("other")).engine, settings.engine.defaults);
    }

    #[test]
    fn mistakes_in_variables_and_flags_name_them() {
        let mut case = Case::new("engine = 'fast'")
            .variable("PORTEIRO__ENGINE__SESSIONS", "1")
            .variable("PORTEIRO__SERVER__MAX_BODY", "1000")
            .variable("PORTEIRO__SERVR__LISTEN", "a:1")
            .variable("PORTEIRO__LOG", "debug");
        case.overrides.listen = Some("5000".to_owned());
        assert_eq!(
            case.problems(),
            [
                "engine: must be a table, and is \"fast\" (porteiro.toml)",
                "log: must be a table, and is \"debug\" (environment variable PORTEIRO__LOG)",
                "server.listen: must be host and port, such as \"127.0.0.1:5000\", and is \"5000\"; write \"127.0.0.1:5000\" (--listen)",
                "server.max_body: must be a size with its unit, such as \"512KiB\" or \"8MiB\", and is \"1000\"; \
                 for bytes write \"1000B\" (environment variable PORTEIRO__SERVER__MAX_BODY)",
                "servr: unknown key; did you mean `server`? (environment variable PORTEIRO__SERVR__LISTEN)",
            ]
        );
    }

    #[test]
    fn outermost_keys_are_no_paths() {
        let problems = Case::new("'server.listen' = 'a:1'\n'x[4000000000]' = 1").problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("\"server.listen\": unknown key"), "{problems:?}");
        assert!(problems[1].starts_with("\"x[4000000000]\": unknown key"), "{problems:?}");
    }

    #[test]
    fn a_file_that_is_no_toml_says_where() {
        let error = Case::new("[server]\nlisten = \n").load().expect_err("no TOML");
        assert!(matches!(&error, ConfigError::Syntax { .. }));
        assert!(error.to_string().contains("line 2, column 10"), "{error}");
    }

    #[test]
    fn a_named_file_must_be_there() {
        let case = Case::new("");
        let overrides = Overrides { config: Some(case.folder.path().join("none.toml")), ..Overrides::default() };
        let error = load_from(&case.folder.path().join("porteiro.toml"), &overrides, []).expect_err("no file");
        assert!(matches!(&error, ConfigError::Unreadable { path, .. } if path.ends_with("none.toml")), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_no_mistake() {
        assert_eq!(Case::new("\u{feff}[server]\nlisten = 'a:1'").settings().server.listen, "a:1");
    }

    #[test]
    fn the_committed_file_is_right() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(DEFAULT_FILE);
        let settings = load_from(&file, &Overrides::default(), []).expect("settings");
        assert_eq!(settings.default_model, Some(name("wine")));
        assert_eq!(settings.server.listen, "127.0.0.1:5000");
        assert_eq!(settings.model(&name("wine")).features.map(|features| features.len()), Some(12));
    }

    /// The reference shows every key with its default in blocks of TOML; they must say what the code says.
    #[test]
    fn the_reference_is_right() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let text = fs::read_to_string(path).expect("the reference");
        let blocks: Vec<_> = text.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() > 1, "the reference has lost its examples");
        for block in &blocks {
            Case::new(block).load().unwrap_or_else(|error| panic!("{error}\n{block}"));
        }
        let defaults = blocks.iter().find(|block| block.contains("# Defaults")).expect("the block of defaults");
        assert_eq!(Case::new(defaults).settings(), Settings::default());
    }
}
