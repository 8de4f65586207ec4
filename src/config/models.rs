//! Reading `[models]` and the table of each model.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::section::Section;
use super::values::{Read, Wrong, boolean, choice, count, list, literal, path, shown, table, text, text_or_integer};
use super::{Extra, FeatureSetting, FeatureType, Model, ModelEngine, ModelName, Models, Nullable, Task};

/// The gateway's own paths. A model's route is none of them and lies below none of them but `/predict`.
pub const BUILT_IN_ROUTES: [&str; 17] = [
    "/admin",
    "/alerts",
    "/console",
    "/docs",
    "/example",
    "/feedback",
    "/healthz",
    "/invocations",
    "/metrics",
    "/models",
    "/openapi.json",
    "/ping",
    "/predict",
    "/readyz",
    "/v1/models",
    "/v2",
    "/version",
];

const MOST_SESSIONS: usize = 256;
const MOST_BATCH_ROWS: usize = 1 << 20;
const MOST_QUEUE_ROWS: usize = 1 << 30;

pub(super) fn models(mut section: Section<'_>, defaults: &ModelEngine) -> Models {
    let default = Models::default();
    let dir = section.take("dir", path).unwrap_or(default.dir);
    let auto = section.take("auto", boolean).unwrap_or(default.auto);

    let keys = section.table_keys();
    let mut tables = BTreeMap::new();
    let mut routes = BTreeMap::new();
    for key in &keys {
        match ModelName::try_from(key.as_str()) {
            Ok(name) => {
                let mut table = section.section(key);
                let model = model(&mut table, defaults);
                if let Some(route) = &model.route {
                    check_route(&mut table, route, (&name, &keys), &mut routes);
                }
                table.finish_with(|inner, value| hint_for_dots(key, inner, value));
                tables.insert(name, model);
            }
            Err(error) => {
                section.take(key, |_| Ok(()));
                section.refuse(key, Wrong::new(error.to_string()));
            }
        }
    }
    section.finish_with(|key, _| Some(format!("a model is a table: [models.{key}]")));
    Models { dir, auto, tables }
}

/// `[models.wine.v2]` is a table `v2` in that of `wine`.
fn hint_for_dots(model: &str, key: &str, value: &Value) -> Option<String> {
    let hint = || format!("a model's name with a dot is written in quotes: [models.\"{model}.{key}\"]");
    table(value).is_ok().then(hint)
}

fn model(table: &mut Section<'_>, defaults: &ModelEngine) -> Model {
    const TASKS: [(&str, Task); 4] = [
        ("classification", Task::Classification),
        ("regression", Task::Regression),
        ("clustering", Task::Clustering),
        ("raw", Task::Raw),
    ];
    Model {
        file: table.take("file", path),
        version: table.take("version", text_or_integer),
        route: table.take("route", route),
        task: table.take("task", |value| choice(value, &TASKS)),
        target: table.take("target", text),
        features: features(table),
        labels: labels(table),
        extra: table
            .take("extra", |value| choice(value, &[("refuse", Extra::Refuse), ("ignore", Extra::Ignore)]))
            .unwrap_or_default(),
        nullable: table.take("nullable", nullable).unwrap_or_default(),
        engine: model_engine(table, defaults),
    }
}

/// The four keys that `[engine]` and `[models.<name>]` share.
pub(super) fn model_engine(table: &mut Section<'_>, defaults: &ModelEngine) -> ModelEngine {
    let sessions = table.take("sessions", |value| count(value, 1..=MOST_SESSIONS));
    let batch = table.take("max_batch_rows", |value| count(value, 1..=MOST_BATCH_ROWS));
    let queue = table.take("queue_rows", |value| count(value, 1..=MOST_QUEUE_ROWS));
    let engine = ModelEngine {
        sessions: sessions.or(defaults.sessions),
        max_batch_rows: batch.unwrap_or(defaults.max_batch_rows),
        queue_rows: queue.unwrap_or(defaults.queue_rows),
        row_wise: table.take("row_wise", boolean).or(defaults.row_wise),
    };
    if engine.queue_rows < engine.max_batch_rows && (batch.is_some() || queue.is_some()) {
        let key = if queue.is_some() { "queue_rows" } else { "max_batch_rows" };
        let (queue, batch) = (engine.queue_rows, engine.max_batch_rows);
        table.refuse(key, Wrong::new(format!("queue_rows ({queue}) must be at least max_batch_rows ({batch})")));
    }
    engine
}

fn features(table: &mut Section<'_>) -> Option<Vec<FeatureSetting>> {
    let items = table.take("features", list)?;
    let mut names = BTreeSet::new();
    let mut features = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let Some(feature) = feature(table, index, item) else { continue };
        if !names.insert(feature.name.clone()) {
            table.refuse_element("features", index, Wrong::new(format!("{:?} is in the list twice", feature.name)));
        }
        features.push(feature);
    }
    Some(features)
}

fn feature(table: &mut Section<'_>, index: usize, item: &Value) -> Option<FeatureSetting> {
    const TYPES: [(&str, FeatureType); 4] = [
        ("float", FeatureType::Float),
        ("int", FeatureType::Int),
        ("bool", FeatureType::Bool),
        ("string", FeatureType::String),
    ];
    match &item.kind {
        ValueKind::String(name) if !name.is_empty() => Some(FeatureSetting { name: name.clone(), kind: None }),
        ValueKind::Table(keys) => {
            let mut element = table.element("features", index, keys.clone());
            let name = element.take("name", text);
            let kind = element.take("type", |value| choice(value, &TYPES));
            if name.is_none() && !keys.contains_key("name") {
                element.refuse("name", Wrong::new("is missing"));
            }
            element.finish();
            name.map(|name| FeatureSetting { name, kind })
        }
        _ => {
            let wrong = Wrong::must_be("a feature's name", item).hint("or { name = \"alcohol\", type = \"float\" }");
            table.refuse_element("features", index, wrong);
            None
        }
    }
}

fn labels(table: &mut Section<'_>) -> Option<BTreeMap<String, String>> {
    const HOW: &str = "write { 0 = \"bom\", 1 = \"ruim\" }; a class with a dot or a space is written in quotes";
    let classes = table.take("labels", |value| self::table(value).map_err(|wrong| wrong.hint(HOW)))?;
    if classes.is_empty() {
        table.refuse("labels", Wrong::new("must not be empty").hint("leave the key out"));
    }
    let mut labels = BTreeMap::new();
    for (class, label) in classes {
        match text(&label) {
            Ok(label) => {
                labels.insert(class, label);
            }
            Err(wrong) => {
                table.refuse("labels", Wrong::new(format!("the text of class {class:?} {}", wrong.message)).hint(HOW))
            }
        }
    }
    Some(labels)
}

/// `true`: all features, `false`: none, a list: these.
fn nullable(value: &Value) -> Read<Nullable> {
    const WHAT: &str = "true, false or a list of features";
    let literal = literal(value);
    match &literal.kind {
        ValueKind::Boolean(true) => Ok(Nullable::All),
        ValueKind::Boolean(false) => Ok(Nullable::None),
        ValueKind::Array(_) => {
            let name = |item: &Value| {
                text(item)
                    .map_err(|_| Wrong::new(format!("must list the names of features, and {} is none", shown(item))))
            };
            list(&literal)?.iter().map(name).collect::<Read<_>>().map(Nullable::Named)
        }
        _ => Err(Wrong::must_be(WHAT, value)),
    }
}

fn route(value: &Value) -> Read<String> {
    let route = text(value)?;
    if !route.starts_with('/') {
        return Err(Wrong::must_be("a path that starts with a slash", value).hint(format!("write \"/{route}\"")));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~');
    let segments = || route.split('/').skip(1);
    if !route.chars().all(legal) || segments().any(|segment| matches!(segment, "" | "." | "..")) {
        let what = "a path of letters, digits, `.`, `_`, `-` and `~` between single slashes";
        return Err(Wrong::must_be(what, value));
    }
    let is_below =
        |built_in: &str| route.strip_prefix(built_in).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match BUILT_IN_ROUTES.iter().find(|built_in| is_below(built_in)) {
        Some(&"/predict") if route != "/predict" => Ok(route),
        Some(built_in) => Err(Wrong::new(format!("{route:?} is a path of the gateway itself, under {built_in:?}"))),
        None => Ok(route),
    }
}

/// A route belongs to one model and is not where another model is already.
fn check_route(
    table: &mut Section<'_>,
    route: &str,
    (name, models): (&ModelName, &[String]),
    routes: &mut BTreeMap<String, ModelName>,
) {
    if let Some(other) = routes.get(route) {
        table.refuse("route", Wrong::new(format!("{route:?} is the route of `{other}` too")));
    } else if let Some(other) = models.iter().find(|other| **other != **name && route == format!("/predict/{other}")) {
        table.refuse("route", Wrong::new(format!("{route:?} is where `{other}` predicts")));
    } else {
        routes.insert(route.to_owned(), name.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use config::{FileFormat, Format};

    use super::*;

    fn read(toml: &str) -> (Models, Vec<String>) {
        let table = FileFormat::Toml.parse(None, toml).expect("TOML");
        let mut problems = Vec::new();
        let models = models(Section::new("models".to_owned(), table, &mut problems), &ModelEngine::default());
        (models, problems.iter().map(ToString::to_string).collect())
    }

    fn problems(toml: &str) -> Vec<String> {
        read(toml).1
    }

    #[test]
    fn a_whole_table() {
        let (models, problems) = read(
            "dir = 'm'\nauto = false\n[wine]\nfile = 'w.onnx'\nversion = 3\nroute = '/vinho'\ntask = 'classification'\n\
             target = 'quality'\nfeatures = ['pH', { name = 'cor', type = 'string' }, { name = 'x' }]\n\
             labels = { 0 = 'bom', true = 'ruim' }\nextra = 'ignore'\nnullable = ['cor']\n\
             sessions = 2\nmax_batch_rows = 64\nqueue_rows = 64\nrow_wise = true",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!((models.dir, models.auto), (PathBuf::from("m"), false));
        let feature = |name: &str, kind| FeatureSetting { name: name.to_owned(), kind };
        let text = |text: &str| Some(text.to_owned());
        let wine = Model {
            file: Some("w.onnx".into()),
            version: text("3"),
            route: text("/vinho"),
            task: Some(Task::Classification),
            target: text("quality"),
            features: Some(vec![feature("pH", None), feature("cor", Some(FeatureType::String)), feature("x", None)]),
            labels: Some(BTreeMap::from([("0".into(), "bom".into()), ("true".into(), "ruim".into())])),
            extra: Extra::Ignore,
            nullable: Nullable::Named(vec!["cor".into()]),
            engine: ModelEngine { sessions: Some(2), max_batch_rows: 64, queue_rows: 64, row_wise: Some(true) },
        };
        assert_eq!(models.tables.get("wine"), Some(&wine));
    }

    #[test]
    fn names_survive_as_they_are() {
        let (models, problems) = read(
            "['wine.v2']\nfeatures = ['fixed acidity', 'NO2(GT)', 'a.b.c', ' x ', 'x[0]', 'idade média', 'PH', 'pH']\n\
             labels = { 'Not Bad' = 'Bom', '0.5' = 'a.b', YES = 'sim', yes = 'não', 'x[0]' = ' y ' }",
        );
        assert_eq!(problems, [""; 0]);
        let model = models.tables.get("wine.v2").expect("the model");
        let features: Vec<_> = model.features.iter().flatten().map(|feature| feature.name.as_str()).collect();
        assert_eq!(features, ["fixed acidity", "NO2(GT)", "a.b.c", " x ", "x[0]", "idade média", "PH", "pH"]);
        let labels: Vec<_> =
            model.labels.iter().flatten().map(|(class, text)| (class.as_str(), text.as_str())).collect();
        assert_eq!(labels, [("0.5", "a.b"), ("Not Bad", "Bom"), ("YES", "sim"), ("x[0]", " y "), ("yes", "não")]);
    }

    #[test]
    fn mistakes_in_lists_say_which_element() {
        assert_eq!(
            problems(
                "[a]\nfeatures = ['x', 1, { nam = 'y' }, { name = 'z', type = 'flaot' }, '']\nnullable = ['x', 1]"
            ),
            [
                "models.a.features[1]: must be a feature's name, and is 1; or { name = \"alcohol\", type = \"float\" }",
                "models.a.features[2].name: is missing",
                "models.a.features[2].nam: unknown key; did you mean `name`?",
                "models.a.features[3].type: must be one of \"float\", \"int\", \"bool\", \"string\", and is \"flaot\"; did you mean \"float\"?",
                "models.a.features[4]: must be a feature's name, and is \"\"; or { name = \"alcohol\", type = \"float\" }",
                "models.a.nullable: must list the names of features, and 1 is none",
            ]
        );
    }

    #[test]
    fn settings_and_tables_side_by_side() {
        assert_eq!(
            problems("dri = 'm'\nsomething = 1\n['a/b']\n[wine.v2]\nfile = 'x'\n[zoo]\nabc = 1"),
            [
                "models.\"a/b\": \"a/b\" is no name of a model: it takes 1 to 128 letters, digits, `.`, `_` or `-`, and no dot at the start",
                "models.wine.v2: unknown key; a model's name with a dot is written in quotes: [models.\"wine.v2\"]",
                "models.zoo.abc: unknown key; known here: `extra`, `features`, `file`, `labels`, `max_batch_rows`, `nullable`, \
                 `queue_rows`, `route`, `row_wise`, `sessions`, `target`, `task`, `version`",
                "models.dri: unknown key; did you mean `dir`?",
                "models.something: unknown key; a model is a table: [models.something]",
            ]
        );
    }

    #[test]
    fn labels_are_text() {
        let problems =
            problems("[a]\nlabels = ['bom']\n[b]\nlabels = { 0 = 1 }\n[c]\nlabels = {}\n[d]\nlabels = { 0.5 = 'x' }");
        let keys: Vec<_> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(keys, ["models.a.labels", "models.b.labels", "models.c.labels", "models.d.labels"]);
        assert!(problems[1].contains("the text of class \"0\" must be text, and is 1"), "{problems:?}");
    }

    #[test]
    fn a_queue_holds_a_batch() {
        assert_eq!(
            problems("[a]\nmax_batch_rows = 100000\n[b]\nqueue_rows = 100"),
            [
                "models.a.max_batch_rows: queue_rows (65536) must be at least max_batch_rows (100000)",
                "models.b.queue_rows: queue_rows (100) must be at least max_batch_rows (128)",
            ]
        );
    }

    #[test]
    fn a_route_is_a_plain_path() {
        for taken in
            ["/wine", "/predict/wine", "/predict/wine/red", "/v1/wine", "/vinho_1.0~x", "/predictions", "/modelsx"]
        {
            assert_eq!(route(&Value::new(None, taken)).ok().as_deref(), Some(taken));
        }
        for refused in ["", "wine", "/", "//", "/a/", "/a//b", "/a/../b", "/a b", "/{x}", "/*", "/a?b", "/é"] {
            assert!(route(&Value::new(None, refused)).is_err(), "{refused:?} was taken");
        }
        for built_in in BUILT_IN_ROUTES {
            assert!(route(&Value::new(None, built_in)).is_err(), "{built_in:?} was taken");
        }
        assert!(route(&Value::new(None, "/models/wine")).is_err());
    }

    #[test]
    fn a_route_belongs_to_one_model() {
        assert_eq!(
            problems("[a]\nroute = '/x'\n[b]\nroute = '/x'\n[c]\nroute = '/predict/a'\n[d]\nroute = '/predict/d'"),
            ["models.b.route: \"/x\" is the route of `a` too", "models.c.route: \"/predict/a\" is where `a` predicts",]
        );
    }
}
