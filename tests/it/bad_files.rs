//! Model files that can't be served: the others keep serving, and the reason is in `/models`, the log and a metric.

use serde_json::{Map, Value};

use crate::gateway::{Site, fixture};

const BROKEN: [&str; 11] = [
    "empty",
    "truncated",
    "text",
    "unknown_opset",
    "custom_operator",
    "format_two",
    "no_json",
    "thirteen_features",
    "no_such_class",
    "text_for_float",
    "wrong_golden",
];

#[test]
fn broken_files_leave_the_others_serving() {
    let gateway = Site::of(&BROKEN).model("digits", "digits.onnx").model("digits", "a name with spaces.onnx").start();
    assert_eq!(gateway.post("/predict/digits", "[[1, 2, 3]]").ok()["predictions"][0]["prediction"], 321.0);

    let models = gateway.get("/models").ok();
    let models = models["models"].as_array().expect("models");
    let reason = |model: &Value| {
        // What the runtime says of the cause in parentheses is its own and changes with it.
        let reason = model["reason"].as_str().unwrap_or("serves");
        (model["name"].as_str().expect("a name").to_owned(), reason.split(" (ONNX Runtime:").next().into())
    };
    insta::assert_json_snapshot!(models.iter().map(reason).collect::<Map<String, Value>>());

    for name in BROKEN {
        let refusal = gateway.post(&format!("/predict/{name}"), "[[1, 2, 3]]").refusal(503);
        assert!(refusal["detail"].as_str().is_some_and(|detail| detail.contains("is not serving")), "{refusal}");
        let of_model = [format!("model=\"{name}\"")];
        assert_eq!(gateway.metric("porteiro_model_failed", &[&of_model[0]]), 1.0, "{name}");
        assert_eq!(gateway.metric("porteiro_model_load_failures_total", &[&of_model[0]]), 1.0, "{name}");
        let is_it = |line: &str| line.contains("model not loaded") && line.contains(&format!("model={name} "));
        let line = gateway.log.wait("why the file is not served", is_it);
        assert!(line.contains("ERROR") && line.contains(&format!("models/{name}.onnx")), "{line}");
    }
    assert_eq!(gateway.metric("porteiro_model_failed", &[r#"model="digits""#]), 0.0);
    gateway.stop();
}

#[test]
fn files_that_contradict_the_config() {
    let config = r#"
        [models.names]
        file = "digits.onnx"
        features = ["a", "b"]
        [models.labels]
        file = "no_zipmap.onnx"
        labels = { 0 = "zero", 3 = "three" }
        [models.types]
        file = "columns.onnx"
        features = [{ name = "age", type = "string" }, "children", "sex", "region"]
        [models.task]
        file = "linear.onnx"
        task = "clustering"
        [models.twice]
        file = "zipmap.onnx"
        features = ["a", "b"]
        labels = { 9 = "nine" }
        nullable = ["a"]
        [models.nowhere]
        file = "nowhere.onnx"
        [models.nobody]
        labels = { 0 = "zero" }
        [models.integers]
        nullable = ["f1"]
    "#;
    let gateway =
        Site::of(&["digits", "no_zipmap", "columns", "linear", "zipmap", "integers", "kmeans"]).config(config).start();
    let models = gateway.get("/models").ok();
    let reason = |model: &Value| (model["name"].as_str().expect("a name").to_owned(), model["reason"].clone());
    let reasons: Map<String, Value> = models["models"].as_array().expect("models").iter().map(reason).collect();
    insta::assert_json_snapshot!(reasons);
    gateway.post("/predict/kmeans", "[[1, 2, 3, 4]]").ok();
    gateway.stop();
}

#[test]
fn two_sources_of_one_name_are_refused() {
    let gateway = Site::of(&["digits"]).model("linear", "digits/1.onnx").model("linear", "linear.onnx").start();
    let refusal = gateway.post("/predict/digits", "[[1, 2, 3]]").refusal(503);
    assert!(
        refusal["detail"].as_str().is_some_and(|detail| detail.contains("both digits.onnx and the folder digits/"))
    );
    gateway.post("/predict/linear", "[[1, 2]]").ok();
}

#[test]
fn a_file_that_can_not_be_opened() {
    let site = Site::of(&["digits"]);
    std::os::unix::fs::symlink("/nowhere/at/all.onnx", site.path("models/dangling.onnx")).expect("a link");
    std::fs::create_dir(site.path("models/folder.onnx")).expect("a folder");
    let gateway = site.start();
    let reason = gateway.get("/models/dangling").ok()["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("models/dangling.onnx can't be read: "), "{reason}");
    gateway.post("/predict/digits", "[[1, 2, 3]]").ok();
    gateway.stop();
}

/// Any part of a good file is either refused or a model; the program is alive either way.
#[test]
fn files_cut_at_any_length() {
    let whole = std::fs::read(fixture("golden")).expect("the fixture");
    let cuts: Vec<usize> = (1..whole.len()).step_by(23).collect();
    let site = cuts
        .iter()
        .fold(Site::of(&["digits"]), |site, cut| site.file(&format!("models/cut-{cut}.onnx"), &whole[..*cut]));
    let gateway = site.start();
    let models = gateway.get("/models").ok();
    assert_eq!(models["models"].as_array().map(Vec::len), Some(cuts.len() + 1));
    gateway.post("/predict/digits", "[[1, 2, 3]]").ok();
    gateway.stop();
}
