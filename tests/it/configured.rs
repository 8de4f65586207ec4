//! What the config says of models, and where it is said.

use serde_json::json;

use crate::gateway::Site;

#[test]
fn names_route_and_labels_from_the_config() {
    let gateway = Site::of(&["no_zipmap"])
        .config(
            r#"
            [models.flowers]
            file = "no_zipmap.onnx"
            route = "/garden/flowers"
            target = "species"
            features = ["sepal length", { name = "sepal width", type = "float" }, "petal length", "petal width"]
            labels = { 0 = "setosa", 1 = "versicolor", 2 = "virginica" }
            "#,
        )
        .start();
    let row = r#"{"petal width": 0.2, "petal length": 1.4, "sepal width": 3.5, "sepal length": 5.1}"#;
    let answer = gateway.post("/garden/flowers", row).ok();
    assert_eq!(answer["prediction"], "setosa");
    assert_eq!(answer["probabilities"], json!({"setosa": 1.0, "versicolor": 0.0, "virginica": 0.0}));
    assert_eq!(gateway.prediction("/predict/flowers", row), "setosa");
    // Its file is the table's own and not served under the file's name as well, and the only model is the default.
    gateway.post("/predict/no_zipmap", row).refusal(404);
    assert_eq!(gateway.prediction("/predict", row), "setosa");
    assert_eq!(gateway.get("/models/flowers").ok()["target"], "species");
    // The route takes what its model's page takes.
    assert_eq!(
        gateway.get("/garden/flowers").refusal(405)["detail"],
        "GET /garden/flowers is not served; use POST /garden/flowers"
    );
    gateway.post("/garden", row).refusal(404);
}

#[test]
fn extra_fields_are_ignored_where_the_config_says_so() {
    let gateway = Site::of(&["digits"]).config("[models.digits]\nextra = \"ignore\"").start();
    let row = r#"{"id": "a", "f0": 1, "note": {"deep": [1, null]}, "f1": 2, "f2": 3}"#;
    assert_eq!(gateway.prediction("/predict/digits", row), 321.0);
    let split = r#"{"columns": ["when", "f0", "f1", "f2"], "data": [["today", 1, 2, 3]]}"#;
    assert_eq!(gateway.post("/predict/digits", split).ok()["predictions"][0]["prediction"], 321.0);
    let csv = gateway.post_as("text/csv", "/predict/digits", "when,f0,f1,f2\ntoday,1,2,3\n");
    assert_eq!(csv.ok()["predictions"][0]["prediction"], 321.0);
    // What is missing is missing all the same.
    gateway.post("/predict/digits", r#"{"id": "a", "f0": 1, "f1": 2}"#).refusal(422);
}

#[test]
fn null_is_a_value_where_the_config_says_so() {
    // The graph counts a missing value as 100.
    let rows = r#"[[1, null], [null, 1], [null, null]]"#;
    let with = |nullable: &str| {
        let table = if nullable.is_empty() { String::new() } else { format!("nullable = {nullable}") };
        Site::of(&["nullable"]).config(&format!("[models.nullable]\n{table}")).start()
    };
    let errors = |gateway: &crate::gateway::Gateway| {
        let refusal = gateway.post("/predict/nullable", rows).refusal(422);
        let errors = refusal["errors"].as_array().expect("errors").clone();
        errors.iter().map(|error| format!("{} {}", error["row"], error["feature"])).collect::<Vec<_>>()
    };
    assert_eq!(errors(&with("")), [r#"1 "given""#, r#"2 "given""#], "as the file says");
    let all = with("true").post("/predict/nullable", rows).ok();
    let predictions: Vec<_> =
        all["predictions"].as_array().expect("rows").iter().map(|row| &row["prediction"]).collect();
    assert_eq!(predictions, [101.0, 101.0, 200.0]);
    // Golden rows with a null can't be sent any more, which is a contradiction and no model.
    let none = with("false");
    let reason = none.get("/models/nullable").ok()["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("golden rows") && reason.contains(r#""perhaps" must not be null"#), "{reason}");
}

#[test]
fn both_layouts_of_versions() {
    let site = || {
        Site::new()
            .model("digits", "triton/2/model.onnx")
            .model("digits", "triton/10/model.onnx")
            .model("linear", "flat/v1.onnx")
            .model("digits", "flat/v2.onnx")
            .model("annotated", "named.onnx")
    };
    let gateway = site().start();
    let versions = |model: &str| {
        let shown = gateway.get(&format!("/models/{model}")).ok();
        let reports = shown["versions"].as_array().expect("versions").clone();
        reports
            .iter()
            .map(|report| format!("{} {}", report["version"], report["state"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(versions("triton"), ["10 serving", "2 available"]);
    assert_eq!(versions("flat"), ["v2 serving", "v1 available"]);
    assert_eq!(versions("named"), ["2.1 serving"], "the file's own document names it");
    assert_eq!(gateway.post("/predict/triton", "[[1, 2, 3]]").ok()["version"], "10");
    assert_eq!(gateway.post("/predict/triton?version=10", "[[1, 2, 3]]").ok()["version"], "10");
    let refusal = gateway.post("/predict/triton?version=2", "[[1, 2, 3]]").refusal(404);
    assert_eq!(refusal["detail"], r#"model "triton" has no version "2" that serves; "10" does"#);
    assert_eq!(
        gateway.post("/predict/triton?verson=2", "[[1, 2, 3]]").refusal(400)["detail"],
        "the address takes one parameter, ?version="
    );
    gateway.stop();

    let pinned = site().config("[models.triton]\nversion = 2\n[models.flat]\nversion = \"v3\"").start();
    assert_eq!(pinned.post("/predict/triton", "[[1, 2, 3]]").ok()["version"], "2");
    let refusal = pinned.post("/predict/flat", "[[1, 2, 3]]").refusal(503);
    assert!(refusal["detail"].as_str().is_some_and(|detail| detail.contains("pins this version")), "{refusal}");
    pinned.stop();
}

#[test]
fn an_older_version_serves_where_the_newest_is_broken() {
    let gateway = Site::new().model("digits", "m/1.onnx").model("truncated", "m/2.onnx").start();
    let answer = gateway.post("/predict/m", "[[1, 2, 3]]").ok();
    assert_eq!(answer["version"], "1");
    let shown = gateway.get("/models/m").ok();
    assert_eq!(shown["state"], "serving");
    assert_eq!(shown["versions"][0]["state"], "failed");
    assert!(shown["reason"].as_str().is_some_and(|reason| reason.contains("2.onnx")), "{shown}");
}

#[test]
fn the_default_model_answers_short_addresses() {
    let gateway = Site::of(&["digits", "linear"]).config("default_model = \"linear\"").start();
    assert_eq!(gateway.post("/predict", "[[0, 0]]").ok()["model"], "linear");
    assert_eq!(gateway.get("/example").ok()["output"]["model"], "linear");
    assert_eq!(gateway.get("/models").ok()["default_model"], "linear");
    gateway.stop();

    let without = Site::of(&["digits", "linear"]).start();
    insta::assert_json_snapshot!(without.post("/predict", "[[0, 0]]").refusal(404), @r#"
    {
      "title": "Not found",
      "status": 404,
      "detail": "no default model is set: name one in the path, /predict/{model}, or set default_model in the config"
    }
    "#);
    without.get("/example").refusal(404);
}

#[test]
fn environment_over_files_over_defaults() {
    let gateway = Site::of(&["no_zipmap", "digits"])
        .model("digits", "../elsewhere/digits.onnx")
        .config("default_model = \"digits\"\n[models]\nauto = false\n[models.no_zipmap]\nlabels = { 0 = \"zero\" }")
        .environment("PORTEIRO__MODELS__NO_ZIPMAP__LABELS", "{ 0 = \"nil\", 1 = \"one\", 2 = \"two\" }")
        .environment("PORTEIRO__SERVER__MAX_BODY", "1KiB")
        .start();
    assert_eq!(
        gateway.post("/predict/no_zipmap", "[[5.1, 3.5, 1.4, 0.2]]").ok()["predictions"][0]["prediction"],
        "nil"
    );
    gateway.post("/predict/no_zipmap", " ".repeat(2_000)).refusal(413);
    // No table names digits, and `auto` is off.
    gateway.post("/predict/digits", "[[1, 2, 3]]").refusal(404);
    gateway.log.wait("a warning", |line| line.contains("the default model is not serving"));
    gateway.stop();
}

#[test]
fn features_in_another_order_than_the_files_own_do_not_reproduce_its_golden_rows() {
    // The file says f0, f1, f2. The columns of its tensor have no names that the graph could hold against the config.
    let wrong = Site::of(&["golden"]).config(r#"models.golden.features = ["f1", "f0", "f2"]"#);
    let finished = wrong.run(&["check"]);
    assert_eq!(finished.code, 1, "{}", finished.stdout);
    assert!(finished.stdout.contains("2 of 2 golden rows are not reproduced"), "{}", finished.stdout);
    // Other names in the file's order are only other names.
    let renamed = Site::of(&["golden"]).config(r#"models.golden.features = ["a", "b", "c"]"#);
    assert_eq!(renamed.run(&["check"]).code, 0);
}
