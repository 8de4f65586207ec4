//! The commands other than `serve`: what they print and how they exit.

use serde_json::json;

use crate::gateway::{Site, fixture, redacted};

#[test]
fn help_of_each_command() {
    let site = Site::new();
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["check", "--help"], &["inspect", "--help"], &["predict", "--help"]]
    {
        let finished = site.run(arguments);
        assert_eq!(finished.code, 0);
        insta::assert_snapshot!(arguments.join("_").replace("--", ""), finished.stdout);
    }
    assert_eq!(site.run(&["--version"]).stdout, format!("porteiro {}\n", env!("CARGO_PKG_VERSION")));
    let unknown = site.run(&["srve"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("serve"), "{}", unknown.stderr);
}

#[test]
fn check_says_what_it_checked_and_whether_all_is_well() {
    let well = Site::of(&["golden", "annotated", "raw_tensor"]);
    let finished = well.run(&["check"]);
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    for part in [
        "golden version ",
        "2 golden rows reproduced",
        "contract agrees with the graph: 4 features",
        "served raw",
        "all is well",
    ] {
        assert!(finished.stdout.contains(part), "{part}: {}", finished.stdout);
    }
    let document = well.run(&["check", "--json"]).json();
    assert_eq!(document["ok"], true);
    assert_eq!(document["models"].as_array().map(Vec::len), Some(3));
    assert_eq!(document["models"][1]["golden"], json!({"rows": 2, "disagreements": [], "largest_difference": 0.0}));

    let broken = Site::of(&["golden", "wrong_golden"]);
    let finished = broken.run(&["check"]);
    assert_eq!(finished.code, 1);
    assert!(
        finished.stdout.contains("1 of 2 golden rows are not reproduced: row 0: [321.0] instead of 322"),
        "{}",
        finished.stdout
    );
    assert!(finished.stdout.ends_with("not well\n"));
    let finished = broken.run(&["check", "--json"]);
    assert_eq!((finished.code, &finished.json()["ok"]), (1, &json!(false)));
    assert_eq!(finished.json()["models"][1]["ok"], false);

    let nothing = Site::new();
    let finished = nothing.run(&["check"]);
    assert_eq!((finished.code, finished.stdout.ends_with("no models in models\n")), (2, true), "{}", finished.stdout);
    assert_eq!(nothing.run(&["check", "--json"]).json()["ok"], false);

    let no_default = Site::of(&["golden"]).config("default_model = \"wine\"");
    let finished = no_default.run(&["check"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stdout.contains("default_model is \"wine\", which does not serve"), "{}", finished.stdout);
    assert_eq!(no_default.run(&["check", "--json"]).json()["ok"], false);
}

#[test]
fn inspect_shows_a_file() {
    let site = Site::new();
    let inspect = |name: &str| {
        let finished = site.run(&["inspect", &fixture(name).display().to_string()]);
        assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
        let folder = fixture(name).parent().expect("a folder").display().to_string();
        // Sizes and hashes change with the exporter, and so does its version.
        let is_stable =
            |line: &&str| !["  version", "  made by", "  trained"].iter().any(|start| line.starts_with(start));
        finished.stdout.replace(&folder, "[fixtures]").lines().filter(is_stable).collect::<Vec<_>>().join("\n")
    };
    for name in ["zipmap_texts", "columns", "raw_tensor", "annotated"] {
        insta::assert_snapshot!(format!("inspect_{name}"), inspect(name));
    }
    let file = fixture("nullable").display().to_string();
    let mut document = redacted(site.run(&["inspect", &file, "--json"]).json());
    document["file"] = "[file]".into();
    document["trained"] = "[trained]".into();
    insta::assert_json_snapshot!("inspect_json", document);
}

#[test]
fn inspect_says_why_a_file_is_none() {
    let site = Site::new();
    let inspect = |name: &str| site.run(&["inspect", &fixture(name).display().to_string()]);
    for (name, part) in
        [("empty", "the file is empty"), ("text", "not an ONNX model"), ("truncated", "only a part of one")]
    {
        let finished = inspect(name);
        assert_eq!(finished.code, 2, "{name}");
        assert!(finished.stderr.contains(part), "{name}: {}", finished.stderr);
    }
    let custom = inspect("custom_operator");
    assert_eq!(custom.code, 1);
    assert!(custom.stdout.contains("com.example.Frobnicate"), "{}", custom.stdout);
    assert!(custom.stdout.contains("It can't be served as it is"), "{}", custom.stdout);
    let file = fixture("custom_operator").display().to_string();
    let document = site.run(&["inspect", &file, "--json"]);
    assert_eq!(document.code, 1);
    assert_eq!(document.json()["operators"], json!({"com.example.Frobnicate": 1}));
    assert!(document.json()["problem"].is_string());
    let nowhere = site.run(&["inspect", "nowhere.onnx"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.stderr.contains("nowhere.onnx can't be read"), "{}", nowhere.stderr);
}

#[test]
fn the_table_that_inspect_prints_can_be_pasted() {
    for name in ["annotated", "columns", "no_zipmap", "zipmap_texts", "raw_tensor", "nullable", "flags", "linear"] {
        let site = Site::of(&[name]);
        let table = site.run(&["inspect", &fixture(name).display().to_string(), "--json"]).json()["config"].clone();
        let table = table.as_str().expect("a table");
        let finished = site.config(table).run(&["check"]);
        assert_eq!(finished.code, 0, "{name}: {table}\n{}{}", finished.stdout, finished.stderr);
    }
}

#[test]
fn predict_reads_rows_from_anywhere() {
    let site = Site::of(&["digits", "annotated", "raw_tensor"])
        .file("rows.json", r#"[{"f0": 1, "f1": 2, "f2": 3}]"#)
        .file("rows.csv", "f2,f1,f0\n3,2,1\n6,5,4\n");
    let predict = |arguments: &[&str]| {
        let finished = site.run(&[&["predict"], arguments].concat());
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        finished
    };
    assert_eq!(predict(&["digits", r#"{"f0": 1, "f1": 2, "f2": 3}"#]).json()["prediction"], 321.0);
    let batch = json!([{"prediction": 321.0}]);
    assert_eq!(predict(&["digits", "@rows.json"]).json()["predictions"], batch);
    assert_eq!(predict(&["digits", "@rows.csv"]).stdout, "row,prediction\n0,321\n1,654\n");
    assert_eq!(predict(&["models/digits.onnx", "@rows.json"]).json()["predictions"], batch);
    // Without rows: the model's own example.
    assert_eq!(predict(&["annotated"]).json()["prediction"], "setosa");

    let input = site.run_with_input(&["predict", "digits", "-"], b"[[1, 2, 3]]");
    assert_eq!((input.code, &input.json()["predictions"]), (0, &batch));
    let input = site.run_with_input(&["predict", "digits", "-", "--csv"], b"f0,f1,f2\n1,2,3\n");
    assert_eq!((input.code, input.stdout.as_str()), (0, "row,prediction\n0,321\n"));
}

#[test]
fn predict_says_what_is_wrong() {
    let site = Site::of(&["digits", "empty"]);
    let fails = |arguments: &[&str]| {
        let finished = site.run(&[&["predict"], arguments].concat());
        assert_eq!(finished.code, 2, "{arguments:?}: {}", finished.stdout);
        assert_eq!(finished.stdout, "");
        finished.stderr
    };
    insta::assert_snapshot!(fails(&["digits", r#"[{"f0": "1", "f1": 2}, {"f0": 1, "f1": 2, "f2": 3, "f_2": 3}]"#]), @r#"
    porteiro: the data breaks the model's contract:
    row 0: "f0" expected a number, got the text "1" (send the number without quotes: 1)
    row 0: "f2" is missing
    row 1: "f_2" is not a feature of this model (did you mean "f2"?)
    "#);
    insta::assert_snapshot!(fails(&["digits", "[[1, 2, 3],\n [NaN, 1, 2]]"]), @"porteiro: line 2, column 3: expected value, in row 1, feature \"f0\" (JSON has no NaN or Infinity; a missing value is null)");
    insta::assert_snapshot!(fails(&["digitz", "[]"]), @r#"porteiro: there is no model "digitz" in models; did you mean "digits"?"#);
    insta::assert_snapshot!(fails(&["empty", "[]"]), @r#"porteiro: model "empty" is not serving: models/empty.onnx: the file is empty"#);
    assert!(fails(&["digits", "@nowhere.json"]).contains("nowhere.json can't be read"));
    assert!(fails(&["nowhere.onnx", "[]"]).contains("nowhere.onnx"));
    assert!(fails(&["../digits", "[]"]).contains("is no name of a model"));
}
