//! Many callers at once, a busy model, deadlines, a full queue, and the stop.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::busy::{SLOW, keep_busy, send, start};
use crate::gateway::{Answer, PATIENCE, Site};

#[test]
fn rows_of_concurrent_callers_never_mix() {
    const N_CALLERS: usize = 16;
    const N_REQUESTS: usize = 60;
    let gateway = Site::of(&["digits", "integers", "batch_mean"]).start();
    std::thread::scope(|scope| {
        for caller in 0..N_CALLERS {
            let gateway = &gateway;
            scope.spawn(move || {
                for request in 0..N_REQUESTS {
                    let number = caller * N_REQUESTS + request;
                    match number % 3 {
                        0 => {
                            let row = format!("{{\"f0\": {number}, \"f1\": 0, \"f2\": {number}}}");
                            assert_eq!(gateway.prediction("/predict/digits", row), (101 * number) as f64);
                        }
                        1 => {
                            // More rows than a run takes, so that they are cut and spread.
                            let rows: Vec<Value> = (0..200).map(|row| json!([row, number, 0])).collect();
                            let answer = gateway.post("/predict/integers", json!(rows).to_string()).ok();
                            let expected: Vec<Value> =
                                (0..200).map(|row| json!({"prediction": row + 10 * number})).collect();
                            assert_eq!(answer["predictions"], json!(expected));
                        }
                        _ => {
                            // Not row-wise: a row of another caller would move the mean.
                            let answer =
                                gateway.post("/predict/batch_mean", format!("[[{number}], [{}]]", number + 2)).ok();
                            assert_eq!(answer["predictions"], json!([{"prediction": -1.0}, {"prediction": 1.0}]));
                        }
                    }
                }
            });
        }
    });
    let requests = gateway.metric("porteiro_requests_total", &[r#"outcome="ok""#]);
    assert_eq!(requests, (N_CALLERS * N_REQUESTS) as f64);
    let by = |model: &str| gateway.get(&format!("/models/{model}")).ok()["batching"]["by"].clone();
    assert_eq!((by("digits"), by("batch_mean")), (json!("row"), json!("request")));
    gateway.stop();
}

#[test]
fn requests_that_wait_are_run_together() {
    let gateway = start("");
    let runs = || gateway.metric("porteiro_run_duration_seconds_count", SLOW);
    let batches = || gateway.metric("porteiro_batch_rows_count", SLOW);
    let busy = keep_busy(&gateway, 1_000);
    let waiting: Vec<TcpStream> =
        (0..5).map(|index| send(&gateway, &format!("{{\"rounds\": 0, \"index\": {index}}}"))).collect();
    gateway.wait_for_metric("porteiro_queue_rows", SLOW, 13.0);
    let (runs_before, batches_before) = (runs(), batches());
    assert_eq!(Answer::read(busy).ok()["predictions"][15]["prediction"], 10_000.0);
    for (index, stream) in waiting.into_iter().enumerate() {
        assert_eq!(Answer::read(stream).ok()["prediction"], (1_000 * index) as f64);
    }
    assert_eq!(runs() - runs_before, 6.0, "six requests were answered");
    assert_eq!(batches() - batches_before, 3.0, "in three runs, the last of them for five");
    gateway.stop();
}

#[test]
fn one_callers_bad_row_fails_nobody_elses() {
    let gateway = start("");
    let busy = keep_busy(&gateway, 1_000);
    // The graph has no entry 99, which fails the run that holds it.
    let waiting = [3, 99, 5].map(|index| send(&gateway, &format!("{{\"rounds\": 0, \"index\": {index}}}")));
    gateway.wait_for_metric("porteiro_queue_rows", SLOW, 11.0);
    Answer::read(busy).ok();
    let [three, bad, five] = waiting.map(Answer::read);
    assert_eq!(three.ok()["prediction"], 3_000.0);
    assert_eq!(five.ok()["prediction"], 5_000.0);
    let refusal = bad.refusal(500);
    assert!(refusal["detail"].as_str().is_some_and(|detail| detail.starts_with("the model failed on this input: ")));
    gateway.stop();
}

#[test]
fn a_deadline_passes() {
    let gateway = start("[server]\nrequest_timeout = \"200ms\"");
    let started = Instant::now();
    // The first passes it while it runs, the second while it waits. The second's work would take hours.
    let running = keep_busy(&gateway, 2_000);
    let waiting = send(&gateway, r#"{"rounds": 100000000, "index": 1}"#);
    let refusals = [running, waiting].map(|stream| Answer::read(stream).refusal(504));
    assert!(started.elapsed() < PATIENCE / 2, "answered by the deadline, not by the run");
    insta::assert_json_snapshot!(refusals[1], @r#"
    {
      "title": "The deadline passed",
      "status": 504,
      "detail": "the deadline passed before the model ran"
    }
    "#);
    gateway.wait_for_metric("porteiro_requests_total", &[r#"outcome="deadline_exceeded""#], 2.0);
    // What waited was dropped: the session is free again once the first run is over.
    let give_up = Instant::now() + PATIENCE;
    while gateway.post("/predict/slow", r#"{"rounds": 0, "index": 2}"#).status != 200 {
        assert!(Instant::now() < give_up, "the run that nobody waits for was not dropped");
    }
    gateway.stop();
}

#[test]
fn a_full_queue_refuses() {
    let gateway = start("");
    let busy = keep_busy(&gateway, 1_000);
    let rows = |n_rows: usize| format!("[{}]", vec!["[0, 1]"; n_rows].join(","));
    let waiting = send(&gateway, &rows(8));
    gateway.wait_for_metric("porteiro_queue_rows", SLOW, 16.0);
    let overloaded = || gateway.metric("porteiro_requests_total", &[r#"outcome="overloaded""#]);
    let overloaded_before = overloaded();
    let refused = gateway.post("/predict/slow", rows(1));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.refusal(429)["detail"], "too many rows wait for this model");
    assert_eq!(overloaded() - overloaded_before, 1.0);
    assert_eq!(gateway.prediction("/predict/digits", r#"{"f0": 1, "f1": 2, "f2": 3}"#), 321.0, "others are served");
    Answer::read(busy).ok();
    assert_eq!(Answer::read(waiting).ok()["predictions"].as_array().map(Vec::len), Some(8));
    // An empty queue takes a request of any size.
    assert_eq!(gateway.post("/predict/slow", rows(100)).ok()["predictions"].as_array().map(Vec::len), Some(100));
    gateway.stop();
}

#[test]
fn a_stop_answers_what_was_accepted() {
    let mut gateway = start("");
    let running = keep_busy(&gateway, 1_000);
    let waiting = send(&gateway, r#"{"rounds": 0, "index": 4}"#);
    gateway.wait_for_metric("porteiro_queue_rows", SLOW, 9.0);
    gateway.terminate();
    gateway.log.wait("the stop", |line| line.contains("stopping: what was accepted is answered"));
    assert_eq!(Answer::read(running).ok()["predictions"][0]["prediction"], 10_000.0);
    assert_eq!(Answer::read(waiting).ok()["prediction"], 4_000.0);
    let status = gateway.wait();
    assert!(status.success(), "{status}");
    assert!(gateway.log.lines().iter().any(|line| line.contains("stopped")));
    assert!(TcpStream::connect(gateway.address()).is_err(), "nothing listens any more");
}

#[test]
fn a_stop_is_bounded() {
    let mut gateway = start("[server]\nstop_timeout = \"200ms\"");
    let endless = keep_busy(&gateway, 100_000_000);
    let started = Instant::now();
    gateway.terminate();
    let status = gateway.wait();
    // The stop's own timeout, and the grace for a thread that is inside a run.
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    assert!(status.success(), "{status}: {:#?}", gateway.log.lines());
    drop(endless);
}

#[test]
fn an_interrupt_from_the_keyboard_stops_too() {
    let mut gateway = Site::of(&["digits"]).start();
    gateway.signal("INT");
    assert!(gateway.wait().success());
}
