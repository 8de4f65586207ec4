//! What the gateway tells of itself: metrics, ids, trace context, logs.

use serde_json::Value;

use crate::gateway::{Answer, Gateway, Site, uuid_version};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn with_header(gateway: &Gateway, name: &str, value: &str) -> Answer {
    Answer::of(gateway.request("/predict/digits", "[[1, 2, 3]]").header(name, value))
}

#[test]
fn metrics_count_what_was_asked() {
    let gateway = Site::of(&["digits", "golden"]).start();
    gateway.post("/predict/digits", "[[1, 2, 3], [4, 5, 6]]").ok();
    gateway.post("/predict/digits", "[[1, 2, 3]]").ok();
    gateway.post("/predict/digits", "[[1, 2]]").refusal(422);
    gateway.post("/predict/digits", "[[1, 2").refusal(400);
    gateway.post("/predict/nobody", "[[1, 2, 3]]").refusal(404);

    let answer = gateway.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.text.ends_with("# EOF\n"));
    let sample = |name: &str, labels: &[&str]| crate::gateway::sample(&answer.text, name, labels);
    let digits = r#"model="digits""#;
    let requests =
        |outcome: &str| sample("porteiro_requests_total", &[&format!("outcome=\"{outcome}\""), r#"protocol="native""#]);
    assert_eq!(
        (requests("ok"), requests("invalid"), requests("malformed"), requests("not_found")),
        (2.0, 1.0, 1.0, 1.0)
    );
    assert_eq!(sample("porteiro_requests_total", &[digits]), 4.0);
    assert!(!answer.text.contains("nobody"), "a name that a client made up is no label");
    assert_eq!(sample("porteiro_rows_total", &[digits]), 3.0);
    for histogram in ["queue", "run", "request"] {
        let name = format!("porteiro_{histogram}_duration_seconds");
        assert_eq!(sample(&format!("{name}_count"), &[digits]), 2.0, "{name}");
        assert!(sample(&format!("{name}_sum"), &[digits]) > 0.0, "{name}");
        assert_eq!(sample(&format!("{name}_bucket"), &[digits, r#"le="+Inf""#]), 2.0, "{name}");
    }
    assert_eq!(sample("porteiro_batch_rows_sum", &[digits]), 3.0);
    assert_eq!(sample("porteiro_queue_rows", &[digits]), 0.0);
    assert_eq!(sample("porteiro_model_info", &[digits, r#"task="regression""#, "sha256="]), 1.0);
    assert_eq!(sample("porteiro_build_info", &[env!("CARGO_PKG_VERSION"), "libonnxruntime"]), 1.0);
    assert!(sample("porteiro_resident_memory_bytes", &[]) > 1e6);
    let types = answer.text.lines().filter(|line| line.starts_with("# TYPE")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(types);
    gateway.stop();
}

#[test]
fn ids_come_in_and_go_out() {
    let gateway = Site::of(&["digits"]).start();
    let kept = with_header(&gateway, "x-request-id", "my-request/7");
    assert_eq!(kept.header("x-request-id"), Some("my-request/7"));
    let new = [gateway.get("/healthz"), with_header(&gateway, "x-request-id", "two words"), gateway.get("/nowhere")];
    for answer in &new {
        let id = answer.header("x-request-id").expect("an id");
        assert_eq!(uuid_version(id), Some(b'7'), "{id}");
    }
    assert_eq!(with_header(&gateway, "x-prediction-id", "order-17").ok()["id"], "order-17");
    let id = gateway.post("/predict/digits", "[[1, 2, 3]]").ok()["id"].as_str().expect("an id").to_owned();
    assert_eq!(uuid_version(&id), Some(b'7'), "{id}");
    assert_eq!(with_header(&gateway, "traceparent", TRACE).header("traceparent"), Some(TRACE));
    assert_eq!(with_header(&gateway, "traceparent", "nonsense").header("traceparent"), None);
    gateway.stop();
}

#[test]
fn logs_are_json_where_the_config_says_so_and_a_line_a_failed_request() {
    let gateway = Site::of(&["digits", "slow", "empty"]).config("[log]\nformat = \"json\"").start();
    gateway.post("/predict/digits", "[[1, 2, 3]]").ok();
    gateway.get("/healthz").ok();
    let refused = Answer::of(
        gateway
            .request("/predict/digits?version=\n", "[[1, 2]]")
            .header("x-request-id", "the-refused-one")
            .header("traceparent", TRACE),
    );
    refused.refusal(404);
    with_header(&gateway, "x-request-id", "the-good-one").ok();
    let failed = gateway.request("/predict/slow", "[[0, 99]]").header("x-request-id", "the-failed-one");
    Answer::of(failed).refusal(500);
    let lines: Vec<Value> = gateway
        .stop()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |id: &str| lines.iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    assert!(of("the-good-one").is_empty());
    let [refused] = of("the-refused-one")[..] else { panic!("not one line: {lines:#?}") };
    assert_eq!(refused["level"], "WARN");
    assert_eq!(refused["message"], "request refused");
    assert_eq!(refused["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&refused["status"], &refused["kind"]), (&404.into(), &"not_found".into()));
    assert_eq!((&refused["method"], &refused["path"]), (&"POST".into(), &"/predict/digits".into()));
    assert!(refused["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let [failed] = of("the-failed-one")[..] else { panic!("not one line: {lines:#?}") };
    assert_eq!((&failed["level"], &failed["message"]), (&"ERROR".into(), &"request failed".into()));
    let not_loaded: Vec<&Value> = lines.iter().filter(|line| line["message"] == "model not loaded").collect();
    assert_eq!(not_loaded.len(), 1);
    assert_eq!((&not_loaded[0]["model"], &not_loaded[0]["file"]), (&"empty".into(), &"models/empty.onnx".into()));
}

#[test]
fn a_level_is_kept_and_text_is_plain_where_no_terminal_reads_it() {
    let quiet = Site::of(&["digits"]).environment("PORTEIRO__LOG__LEVEL", "warn");
    let gateway = quiet.start();
    gateway.get("/nowhere").refusal(404);
    let log = gateway.stop();
    assert!(log.iter().any(|line| line.contains("request refused")));
    assert!(!log.iter().any(|line| line.contains("INFO")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains('\u{1b}')), "{log:#?}");
}

#[test]
fn the_start_says_what_is_served_and_what_to_try() {
    let gateway = Site::of(&["annotated", "empty"]).config("default_model = \"annotated\"").start();
    let url = gateway.url("");
    gateway.log.wait("what to try", |line| line.starts_with("  curl -d "));
    // Two pipes, whose lines may come in between each other: those of the log have a level.
    let is_log = |line: &String| [" INFO ", " WARN ", " ERROR "].iter().any(|level| line.contains(level));
    let lines = gateway.stop().into_iter().filter(|line| !is_log(line)).collect::<Vec<_>>();
    let welcome = lines.join("\n").replace(&url, "[url]").replace(env!("CARGO_PKG_VERSION"), "[version]");
    insta::assert_snapshot!(welcome);
}
