//! What the gateway answers to what is right: every kind of model, every shape of rows, and the pages beside them.

use serde_json::{Map, Value, json};

use crate::gateway::{Answer, Site, redacted};

const SHORT_IRIS: &str = r#"{"f0": 5.1, "f1": 3.5, "f2": 1.4, "f3": 0.2}"#;

#[test]
fn every_kind_of_model_answers() {
    let cases = [
        ("zipmap", SHORT_IRIS),
        ("zipmap_texts", SHORT_IRIS),
        ("no_zipmap", SHORT_IRIS),
        ("lightgbm", SHORT_IRIS),
        ("linear", r#"{"f0": 3, "f1": 0.5}"#),
        ("kmeans", SHORT_IRIS),
        ("columns", r#"{"age": 52, "children": 2, "sex": "F", "region": "north"}"#),
        ("digits", r#"{"f0": 1, "f1": 2, "f2": 3}"#),
        ("doubles", r#"{"f0": 0.1, "f1": 0, "f2": 1e300}"#),
        ("integers", r#"{"f0": 9007199254740993, "f1": -2, "f2": 0}"#),
        ("one_row", r#"{"f0": 1, "f1": 2, "f2": 3}"#),
        ("flags", r#"{"smoker": true, "count": 7}"#),
        ("several_outputs", r#"[{"f0": 1, "f1": 2}, {"f0": 3, "f1": 4}]"#),
        ("raw_tensor", r#"{"inputs": {"x": [[[1, 2, 3, 4], [0, 0, 0, 0.5], [1, 1, 1, 1]]]}}"#),
        ("different_widths", r#"{"single": 1, "pair_0": 2, "pair_1": 3}"#),
        ("default_input", r#"{"x": 14}"#),
        ("optional_input", r#"{"x": 41}"#),
        (
            "annotated",
            r#"{"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}"#,
        ),
        ("nullable", r#"[{"given": 1, "perhaps": null}, {"given": 1}, {"given": 1, "perhaps": 2}]"#),
        ("golden", r#"[[1, 2, 3]]"#),
    ];
    let gateway = Site::of(&cases.map(|(model, _)| model)).start();
    let answer = |(model, body): &(&str, &str)| {
        ((*model).to_owned(), redacted(gateway.post(&format!("/predict/{model}"), *body).ok()))
    };
    let answers: Map<String, Value> = cases.iter().map(answer).collect();
    insta::assert_json_snapshot!(answers);
    gateway.stop();
}

#[test]
fn all_shapes_of_rows_say_the_same() {
    let gateway = Site::of(&["columns"]).start();
    let post = |content_type: &str, body: &str| gateway.post_as(content_type, "/predict/columns", body);
    let expected = ["yes", "no", "yes"];
    let json = [
        r#"[{"age": 52, "children": 2, "sex": "F", "region": "north"},
            {"region": "south", "sex": "M", "children": 0, "age": 20.5},
            {"age": 41.0, "children": 1.0, "sex": "ü,\"", "region": ""}]"#,
        r#"[[52, 2, "F", "north"], [20.5, 0, "M", "south"], [41, 1, "ü,\"", ""]]"#,
        r#"{"columns": ["age", "children", "sex", "region"],
            "data": [[52, 2, "F", "north"], [20.5, 0, "M", "south"], [41, 1, "ü,\"", ""]]}"#,
        r#"{"data": [["north", 52, 2, "F"], ["south", 20.5, 0, "M"], ["", 41, 1, "ü,\""]], "index": [7, 8, 9],
            "columns": ["region", "age", "children", "sex"]}"#,
    ];
    for body in json {
        let answer = post("application/json; charset=utf-8", body).ok();
        assert_eq!(predictions(&answer), expected, "{body}");
    }
    let csv = "region,age,children,sex\r\nnorth,52,2,F\r\nsouth,20.5,0,M\r\nx,41,1,\"ü,\"\"\"\r\n";
    assert_eq!(predictions(&post("text/csv", csv).ok()), expected);
    let with_mark = format!("\u{feff}{csv}");
    assert_eq!(predictions(&post("text/csv; header=present", &with_mark).ok()), expected);
    // curl -d declares a form, and much else declares nothing of use.
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "application/vnd.pandas+json"] {
        assert_eq!(predictions(&post(content_type, json[0]).ok()), expected, "{content_type}");
    }
    let undeclared = format!(
        "POST /predict/columns HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
        json[0].len(),
        json[0]
    );
    assert_eq!(predictions(&gateway.raw(undeclared.as_bytes()).ok()), expected);
}

fn predictions(answer: &Value) -> Vec<&str> {
    answer["predictions"].as_array().expect("a batch").iter().filter_map(|row| row["prediction"].as_str()).collect()
}

#[test]
fn one_row_alone_and_one_in_a_batch() {
    let gateway = Site::of(&["digits"]).start();
    let alone = gateway.post("/predict/digits", r#"{"f0": 3, "f1": 2, "f2": 1}"#).ok();
    assert_eq!(alone["prediction"], 123.0);
    assert!(alone.get("predictions").is_none());
    let batch = gateway.post("/predict/digits", r#"[{"f0": 3, "f1": 2, "f2": 1}]"#).ok();
    assert_eq!(batch["predictions"], json!([{"prediction": 123.0}]));
    assert!(batch.get("prediction").is_none());
    assert_eq!(alone["model"], "digits");
    assert_eq!(alone["version"], batch["version"]);
    assert_ne!(alone["id"], batch["id"]);
}

#[test]
fn csv_is_answered_where_it_is_wanted() {
    let gateway = Site::of(&["digits", "annotated", "raw_tensor"]).start();
    let accept = |path: &str, body: &str| Answer::of(gateway.request(path, body).header("accept", "text/csv"));

    let answer = accept("/predict/digits", "[[1, 2, 3], [0, 0, 0.5]]");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(answer.text, "row,prediction\n0,321\n1,50\n");

    let answer = accept("/predict/annotated", "[[5.1, 3.5, 1.4, 0.2]]");
    let lines: Vec<&str> = answer.text.lines().collect();
    assert_eq!(lines[0], "row,prediction,probability_setosa,probability_versicolor,probability_virginica");
    assert_eq!(lines[1], "0,setosa,1,0,0");

    // A raw model's outputs fit no table, so they come as JSON, which the content type says.
    let zeros = r#"{"inputs": {"x": [[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]}}"#;
    let answer = accept("/predict/raw_tensor", zeros);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.ok()["outputs"], json!({"y": [[0.0, 0.0, 0.0]]}));

    // JSON first, and a refusal is a refusal.
    let both = gateway.request("/predict/digits", "[[1, 2, 3]]").header("accept", "application/json, text/csv");
    assert_eq!(Answer::of(both).ok()["predictions"][0]["prediction"], 321.0);
    accept("/predict/digits", "[]").refusal(422);
}

#[test]
fn a_graph_that_fixes_its_rows() {
    let gateway = Site::of(&["one_row", "four_rows"]).start();
    let values = |answer: Value| -> Vec<f64> {
        let rows = answer["predictions"].as_array().expect("a batch").clone();
        rows.iter().filter_map(|row| row["prediction"].as_f64()).collect()
    };
    // One row a run: any number of rows, one after the other.
    assert_eq!(values(gateway.post("/predict/one_row", "[[1, 0, 0], [0, 1, 0], [0, 0, 1]]").ok()), [1.0, 10.0, 100.0]);
    let four = "[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]";
    assert_eq!(values(gateway.post("/predict/four_rows", four).ok()), [1.0, 10.0, 100.0, 111.0]);
    let refusal = gateway.post("/predict/four_rows", "[[1, 0, 0], [0, 1, 0]]").refusal(422);
    insta::assert_json_snapshot!(refusal, @r#"
    {
      "title": "The data breaks the model's contract",
      "status": 422,
      "detail": "2 rows were sent; the model's graph takes exactly 4",
      "errors": [
        {
          "problem": "2 rows were sent; the model's graph takes exactly 4",
          "hint": "export the model with a dynamic first dimension"
        }
      ]
    }
    "#);
}

#[test]
fn every_example_is_its_own_input_predicted() {
    let models = ["annotated", "nullable", "columns", "digits", "flags", "zipmap_texts"];
    let gateway = Site::of(&models).start();
    for model in models {
        let example = gateway.get(&format!("/example/{model}")).ok();
        let predicted = gateway.post(&format!("/predict/{model}"), example["input"].to_string()).ok();
        assert_eq!(example["output"]["prediction"], predicted["prediction"], "{model}");
        assert_eq!(example["output"]["probabilities"], predicted["probabilities"], "{model}");
    }
    insta::assert_json_snapshot!(redacted(gateway.get("/example/annotated").ok()));
}

#[test]
fn models_are_described() {
    let gateway = Site::of(&["annotated", "zipmap", "raw_tensor", "empty"]).start();
    insta::assert_json_snapshot!("models", redacted(gateway.get("/models").ok()));
    let mut annotated = redacted(gateway.get("/models/annotated").ok());
    annotated["trained"]["at"] = "[time]".into();
    annotated["trained"]["libraries"] = "[versions]".into();
    insta::assert_json_snapshot!("model_annotated", annotated);
    insta::assert_json_snapshot!("model_empty", redacted(gateway.get("/models/empty").ok()));
    let refusal = gateway.get("/models/anotated").refusal(404);
    assert_eq!(refusal["detail"], r#"there is no model "anotated"; did you mean "annotated"?"#);
}

#[test]
fn probes_tell_alive_from_ready() {
    let ready = Site::of(&["digits", "empty"]).start();
    assert_eq!(ready.get("/healthz").ok(), json!({"status": "ok"}));
    assert_eq!(ready.get("/readyz").ok(), json!({"status": "ready", "serving": ["digits"], "failed": ["empty"]}));
    ready.stop();

    let nothing = Site::of(&["empty"]).start();
    assert_eq!(nothing.get("/healthz").ok(), json!({"status": "ok"}));
    let answer = nothing.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"status": "no model is serving", "serving": [], "failed": ["empty"]}));
    nothing.stop();
}

#[test]
fn an_empty_folder_is_served_as_such() {
    let gateway = Site::new().start();
    assert_eq!(gateway.get("/models").ok(), json!({"default_model": null, "models": []}));
    assert_eq!(gateway.get("/readyz").status, 503);
    let refusal = gateway.post("/predict", "{}").refusal(404);
    assert!(refusal["detail"].as_str().is_some_and(|detail| detail.contains("default_model")), "{refusal}");
    gateway.stop();
}

#[test]
fn tensors_that_are_read_by_row() {
    let gateway =
        Site::of(&["raw_tensor"]).config("[models.sums]\nfile = \"raw_tensor.onnx\"\ntask = \"regression\"").start();
    let body = r#"{"inputs": {"x": [[[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0]]]}}"#;
    let answer = gateway.post("/predict/sums", body).ok();
    assert_eq!(answer["predictions"].as_array().map(Vec::len), Some(2), "{answer}");
    assert_eq!(answer["predictions"][1]["prediction"], json!([0.0, 2.0, 0.0]));
    // Its example is a tensor of zeros, which it takes.
    let zeros = [0.0; 4];
    let example = gateway.get("/example/sums").ok();
    assert_eq!(example["input"]["inputs"]["x"], json!([[zeros, zeros, zeros]]));
    assert_eq!(example["output"]["predictions"][0]["prediction"], json!([0.0, 0.0, 0.0]));
}
