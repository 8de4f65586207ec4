//! Requests whose data is wrong: each gets an answer that says what to change, and the next request is served.

use serde_json::{Map, Value, json};

use crate::gateway::{Gateway, Site};

/// Posts each body, and collects the refusals by name for a snapshot.
fn refusals(gateway: &Gateway, path: &str, content_type: &str, cases: &[(&str, &[u8])]) -> Map<String, Value> {
    let refuse = |(name, body): &(&str, &[u8])| {
        let answer = gateway.post_as(content_type, path, *body);
        assert!((400..500).contains(&answer.status), "{name}: {} {}", answer.status, answer.text);
        ((*name).to_owned(), answer.refusal(answer.status))
    };
    cases.iter().map(refuse).collect()
}

fn still_serves(gateway: Gateway) {
    assert_eq!(gateway.prediction("/predict/digits", r#"{"f0": 1, "f1": 2, "f2": 3}"#), 321.0);
    gateway.stop();
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let cases: [(&str, &[u8]); 20] = [
        ("missing comma", b"{\"f0\": 1,\n \"f1\": 2\n \"f2\": 3}"),
        ("missing colon", b"{\"f0\" 1, \"f1\": 2, \"f2\": 3}"),
        ("trailing comma", b"{\"f0\": 1, \"f1\": 2, \"f2\": 3,}"),
        ("cut in a number", b"[{\"f0\": 1, \"f1\": 2, \"f2\": 3},\n{\"f0\": 1, \"f1\": 2."),
        ("cut in a name", b"{\"f0\": 1, \"f"),
        ("cut in an array", b"[[1, 2, 3]"),
        ("two values", b"{\"f0\": 1, \"f1\": 2, \"f2\": 3} {\"f0\": 1, \"f1\": 2, \"f2\": 3}"),
        ("single quotes", b"{'f0': 1, 'f1': 2, 'f2': 3}"),
        ("python's None", b"{\"f0\": None, \"f1\": 2, \"f2\": 3}"),
        ("python's True", b"{\"f0\": 1, \"f1\": True, \"f2\": 3}"),
        ("NaN", b"{\"f0\": 1, \"f1\": NaN, \"f2\": 3}"),
        ("Infinity", b"[[1, Infinity, 3]]"),
        ("-Infinity", b"[[1, -Infinity, 3]]"),
        ("1e400", b"{\"f0\": 1, \"f1\": 1e400, \"f2\": 3}"),
        ("decimal comma", b"{\"f0\": 1,5, \"f1\": 2, \"f2\": 3}"),
        ("a form", b"f0=1&f1=2&f2=3"),
        ("empty", b""),
        ("only spaces", b" \n\t "),
        ("invalid UTF-8 in a name", b"{\"f\xff\": 1, \"f1\": 2, \"f2\": 3}"),
        ("bare bytes", b"\x00\xff\xfe"),
    ];
    let gateway = Site::of(&["digits"]).start();
    let refusals = refusals(&gateway, "/predict/digits", "application/json", &cases);
    for (name, refusal) in &refusals {
        assert_eq!(refusal["status"], 400, "{name}: {refusal}");
        assert!(refusal["line"].is_u64() && refusal["column"].is_u64(), "{name}: {refusal}");
    }
    insta::assert_json_snapshot!(refusals);
    still_serves(gateway);
}

#[test]
fn what_is_nested_ten_thousand_levels_deep_is_refused() {
    let nest = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let (array, object) = (nest("[", "]"), nest("{\"a\":", "}"));
    let cases = [
        ("arrays", array.clone()),
        ("objects", object.clone()),
        ("an array as a value", format!("{{\"f0\": {array}, \"f1\": 2, \"f2\": 3}}")),
        ("an object as a value", format!("[[{object}, 2, 3]]")),
        ("columns", format!("{{\"columns\": {array}, \"data\": []}}")),
        ("an extra field", format!("{{\"extra\": {object}, \"f0\": 1, \"f1\": 2, \"f2\": 3}}")),
        ("never closed", "[".repeat(10_000)),
    ];
    let cases: Vec<(&str, &[u8])> = cases.iter().map(|(name, body)| (*name, body.as_bytes())).collect();
    let gateway = Site::of(&["digits", "raw_tensor"]).start();
    let refused = refusals(&gateway, "/predict/digits", "application/json", &cases);
    insta::assert_json_snapshot!(refused);
    let tensor = format!("{{\"inputs\": {{\"x\": {array}}}}}");
    let refused = gateway.post("/predict/raw_tensor", tensor);
    assert!(matches!(refused.status, 400 | 422), "{}", refused.text);
    still_serves(gateway);
}

#[test]
fn data_that_breaks_the_contract_is_refused_with_all_its_problems() {
    let cases: [(&str, &[u8]); 23] = [
        ("a number as text", br#"{"f0": "1.5", "f1": 2, "f2": 3}"#),
        ("a decimal comma as text", br#"{"f0": "1,5", "f1": 2, "f2": 3}"#),
        ("words for a number", br#"{"f0": "a lot", "f1": "NaN", "f2": ""}"#),
        ("a flag for a number", br#"{"f0": true, "f1": 2, "f2": 3}"#),
        ("null", br#"{"f0": null, "f1": 2, "f2": 3}"#),
        ("an array for a number", br#"{"f0": [1], "f1": 2, "f2": 3}"#),
        ("an object for a number", br#"{"f0": {"value": 1}, "f1": 2, "f2": 3}"#),
        ("too large for float32", br#"{"f0": 1e39, "f1": 2, "f2": 3}"#),
        ("missing", br#"{"f0": 1}"#),
        ("nothing in it", b"{}"),
        ("extra", br#"{"f0": 1, "f1": 2, "f2": 3, "zzz": 4}"#),
        ("misspelt", br#"{"F-0": 1, "f1": 2, "f2": 3}"#),
        ("twice", br#"{"f0": 1, "f1": 2, "f2": 3, "f0": 9}"#),
        ("no rows", b"[]"),
        ("a row without values", b"[[]]"),
        ("a value where a row should be", b"[1, 2, 3]"),
        ("a single value", b"3"),
        ("too short and too long", b"[[1, 2], [1, 2, 3], [1, 2, 3, 4]]"),
        ("objects among arrays", br#"[[1, 2, 3], {"f0": 1, "f1": 2, "f2": 3}, 7, [4, 5, 6]]"#),
        ("columns misnamed", br#"{"columns": ["f0", "f1", "f3"], "data": [[1, 2, 3]]}"#),
        ("columns twice", br#"{"columns": ["f0", "f1", "f1"], "data": [[1, 2, 3]]}"#),
        ("columns that are no names", br#"{"columns": [0, 1, 2], "data": [[1, 2, 3]]}"#),
        (
            "problems of several rows",
            br#"[{"f0": 1, "f1": 2, "f2": 3}, {"f0": "x", "f1": null}, {"f0": 1, "f1": 2, "f2": 3, "f4": 1}]"#,
        ),
    ];
    let gateway = Site::of(&["digits"]).start();
    let refusals = refusals(&gateway, "/predict/digits", "application/json", &cases);
    for (name, refusal) in &refusals {
        assert_eq!(refusal["status"], 422, "{name}: {refusal}");
        assert!(!refusal["errors"].as_array().expect(name).is_empty(), "{name}: {refusal}");
    }
    insta::assert_json_snapshot!(refusals);
    still_serves(gateway);
}

#[test]
fn each_type_of_feature_has_its_own_rules() {
    let gateway = Site::of(&["digits", "columns", "flags", "integers"]).start();
    let columns: [(&str, &[u8]); 5] = [
        ("a fraction for an integer", br#"[[52, 2.5, "F", "north"]]"#),
        ("a number for a text", br#"{"age": 52, "children": 2, "sex": 1, "region": "north"}"#),
        ("a flag for a text", br#"{"age": 52, "children": 2, "sex": false, "region": "north"}"#),
        ("null for a text", br#"{"age": 52, "children": 2, "sex": null, "region": "north"}"#),
        ("a NUL in a text", br#"{"age": 52, "children": 2, "sex": "a\u0000b", "region": "north"}"#),
    ];
    insta::assert_json_snapshot!("columns", refusals(&gateway, "/predict/columns", "application/json", &columns));
    let flags: [(&str, &[u8]); 4] = [
        ("a text for a flag", br#"{"smoker": "yes", "count": 1}"#),
        ("two for a flag", br#"{"smoker": 2, "count": 1}"#),
        ("larger than int64", br#"{"smoker": true, "count": 18446744073709551615}"#),
        ("much larger than int64", br#"{"smoker": true, "count": 1e300}"#),
    ];
    insta::assert_json_snapshot!("flags", refusals(&gateway, "/predict/flags", "application/json", &flags));
    // What is taken, by the same rules.
    for (flag, expected) in [("true", 3.0), ("false", -3.0), ("1", 3.0), ("0", -3.0), ("1.0", 3.0)] {
        let row = format!("{{\"smoker\": {flag}, \"count\": 3.0}}");
        assert_eq!(gateway.prediction("/predict/flags", row), expected, "{flag}");
    }
    let limits = format!("[[{}, 0, 0], [{}, 0, 0]]", i64::MAX, i64::MIN);
    let answer = gateway.post("/predict/integers", limits).ok();
    assert_eq!(answer["predictions"], json!([{"prediction": i64::MAX}, {"prediction": i64::MIN}]));
    still_serves(gateway);
}

#[test]
fn csv_that_is_wrong() {
    let cases: [(&str, &[u8]); 12] = [
        ("empty", b""),
        ("only a header", b"f0,f1,f2\n"),
        ("semicolons", b"f0;f1;f2\n1;2;3\n"),
        ("no header", b"1,2,3\n4,5,6\n"),
        ("misspelt and missing", b"f0,f1,f_2\n1,2,3\n"),
        ("a column twice", b"f0,f1,f2,f1\n1,2,3,4\n"),
        ("short and long rows", b"f0,f1,f2\n1,2\n1,2,3\n1,2,3,4\n"),
        ("an empty field", b"f0,f1,f2\n1,,3\n"),
        ("a word", b"f0,f1,f2\n1,two,3\n1,NaN,3\n1,inf,3\n"),
        ("a decimal comma", b"f0,f1,f2\n\"1,5\",2,3\n"),
        ("invalid UTF-8", b"f0,f1,f2\n1,2,\xff\n"),
        ("an open quote", b"f0,f1,f2\n1,2,\"3\n4,5,6\n"),
    ];
    let gateway = Site::of(&["digits"]).start();
    insta::assert_json_snapshot!(refusals(&gateway, "/predict/digits", "text/csv", &cases));
    still_serves(gateway);
}

#[test]
fn tensors_that_are_wrong() {
    let cases: [(&str, &[u8]); 10] = [
        ("no inputs", br#"{"x": [1]}"#),
        ("an array", b"[[[1, 2, 3, 4]]]"),
        ("unknown input", br#"{"inputs": {"X": [[[1]]]}}"#),
        ("missing input", br#"{"inputs": {}}"#),
        ("another shape", br#"{"inputs": {"x": [[[1, 2, 3]]]}}"#),
        ("ragged", br#"{"inputs": {"x": [[[1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4]]]}}"#),
        ("uneven depth", br#"{"inputs": {"x": [[[1, 2, 3, 4], 5, [1, 2, 3, 4]]]}}"#),
        ("texts", br#"{"inputs": {"x": [[["a", 2, 3, 4]]]}}"#),
        ("too large", br#"{"inputs": {"x": [[[1e39, 2, 3, 4]]]}}"#),
        ("broken", b"{\"inputs\":\n {\"x\": [[[1, 2,, 3]]]}}"),
    ];
    let gateway = Site::of(&["digits", "raw_tensor"]).start();
    insta::assert_json_snapshot!(refusals(&gateway, "/predict/raw_tensor", "application/json", &cases));
    still_serves(gateway);
}

#[test]
fn a_near_name_is_suggested_among_many() {
    let gateway = Site::of(&["digits", "annotated"]).start();
    let row = r#"{"sepal_length": 5.1, "Sepal width (cm)": 3.5, "petal lenght (cm)": 1.4, "petal width (cm)": 0.2}"#;
    insta::assert_json_snapshot!(gateway.post("/predict/annotated", row).refusal(422));
    still_serves(gateway);
}

#[test]
fn a_thousand_problems_are_listed_and_the_rest_counted() {
    let gateway = Site::of(&["digits"]).start();
    let rows = vec![r#"{"f0": "x", "f1": 2, "f2": 3}"#; 1_500].join(",");
    let refusal = gateway.post("/predict/digits", format!("[{rows}]")).refusal(422);
    assert_eq!(refusal["errors"].as_array().expect("errors").len(), 1_000);
    assert_eq!(refusal["errors_omitted"], 500);
    still_serves(gateway);
}

#[test]
fn a_million_rows_are_served_or_refused_and_fit_the_memory() {
    let gateway = Site::of(&["digits"]).start();
    let rows = |n_rows: usize| format!("[{}]", vec!["[1,2,3]"; n_rows].join(","));
    let served = gateway.post("/predict/digits", rows(1_000_000));
    match served.status {
        200 => assert_eq!(served.json()["predictions"].as_array().map(Vec::len), Some(1_000_000)),
        413 | 429 => {
            served.refusal(served.status);
        }
        status => panic!("{status}: {}", served.text.chars().take(500).collect::<String>()),
    }
    let resident = gateway.metric("porteiro_resident_memory_bytes", &[]);
    assert!((1.0..1e9).contains(&resident), "{resident} bytes");
    // Named, they are more bytes than a request may have.
    let named = format!("[{}]", vec![r#"{"f0": 1.25, "f1": 2.25, "f2": 3.25}"#; 1_000_000].join(","));
    gateway.post("/predict/digits", named).refusal(413);
    still_serves(gateway);
}
