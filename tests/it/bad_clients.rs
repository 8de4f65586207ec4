//! Clients that ask for what is not there, send too much, too slowly, or go away.

use std::io::{Read, Write};
use std::time::Instant;

use crate::busy::{SLOW, keep_busy, send, start};
use crate::gateway::{Answer, Gateway, PATIENCE, Site};

const ROW: &str = r#"{"f0": 1, "f1": 2, "f2": 3}"#;

fn still_serves(gateway: Gateway) {
    assert_eq!(gateway.prediction("/predict/digits", ROW), 321.0);
    gateway.stop();
}

#[test]
fn wrong_methods_and_pages() {
    let gateway = Site::of(&["digits"]).start();
    let refusal = gateway.get("/predict/digits").refusal(405);
    assert_eq!(refusal["detail"], "GET /predict/digits is not served; use POST /predict/digits");
    assert_eq!(gateway.get("/predict/digits").header("allow"), Some("POST"));
    assert_eq!(gateway.get("/predict").refusal(405)["detail"], "GET /predict is not served; use POST /predict");
    for page in ["/models", "/models/digits", "/example/digits", "/example", "/healthz", "/readyz", "/metrics"] {
        let refusal = gateway.post(page, "{}").refusal(405);
        assert_eq!(refusal["detail"], format!("POST {page} is not served; use GET {page}"));
    }
    for page in ["/", "/predict/digits/more", "/nowhere", "/predict/"] {
        let refusal = gateway.post(page, ROW).refusal(404);
        assert!(refusal["hint"].as_str().is_some_and(|hint| hint.contains("/predict/{model}")), "{page}: {refusal}");
    }
    still_serves(gateway);
}

#[test]
fn models_that_are_not_there() {
    let gateway = Site::of(&["digits"]).file("secret.onnx", "not to be read").start();
    assert_eq!(
        gateway.post("/predict/digitz", ROW).refusal(404)["detail"],
        r#"there is no model "digitz"; did you mean "digits"?"#
    );
    assert_eq!(
        gateway.post("/predict/unlike", ROW).refusal(404)["detail"],
        r#"there is no model "unlike"; serving: digits"#
    );
    let refused = |path: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{ROW}",
            ROW.len()
        );
        // As it stands: a client library would tidy the path up.
        gateway.raw(request.as_bytes()).refusal(404)["detail"].to_string()
    };
    for path in [
        "/predict/../secret",
        "/predict/../../etc/passwd",
        "/predict/..",
        "/predict/%2e%2e%2fsecret",
        "/predict/..%2Fsecret.onnx",
        "/predict/%2Fetc%2Fpasswd",
        "/predict/digits%00",
        "/predict/%2e%2e",
        "/predict/%ff",
    ] {
        let detail = refused(path);
        assert!(!detail.contains("secret.onnx can't") && !detail.contains("root:"), "{path}: {detail}");
    }
    assert!(refused("/predict/%2e%2e%2fsecret").contains("there is no model"));
    // A name of any length is not repeated whole.
    let long = gateway.post(&format!("/predict/{}", "x".repeat(5_000)), ROW).refusal(404);
    assert!(long["detail"].as_str().is_some_and(|detail| detail.len() < 300), "{long}");
    still_serves(gateway);
}

#[test]
fn content_that_is_not_read() {
    let gateway = Site::of(&["digits"]).start();
    let send = |name: &str, value: &str| Answer::of(gateway.request("/predict/digits", ROW).header(name, value));
    for content_type in ["application/xml", "multipart/form-data; boundary=x", "image/png", "nonsense"] {
        let refusal = gateway.post_as(content_type, "/predict/digits", ROW).refusal(415);
        assert_eq!(refusal["hint"], "send application/json or text/csv");
    }
    assert_eq!(send("content-encoding", "gzip").refusal(415)["detail"], "compressed bodies are not read");
    send("content-encoding", "identity").ok();
    send("x-prediction-id", "two words").refusal(400);
    send("x-prediction-id", &"x".repeat(129)).refusal(400);
    still_serves(gateway);
}

#[test]
fn what_is_no_http() {
    let gateway = Site::of(&["digits"]).start();
    for bytes in [
        "nonsense\r\n\r\n".as_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // the start of TLS
        b"POST /predict/digits HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict/digits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = gateway.connect();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
    still_serves(gateway);
}

#[test]
fn a_body_that_is_too_large() {
    let gateway = Site::of(&["digits"]).config("[server]\nmax_body = \"64KiB\"").start();
    let expected = "the body is larger than 65536 bytes (setting server.max_body)";
    // Declared: refused before it is sent.
    let declared =
        "POST /predict/digits HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n";
    assert_eq!(gateway.raw(declared.as_bytes()).refusal(413)["detail"], expected);
    // In chunks, whose sum is not known before: refused once it is too large, and a client that sends on first reads it then.
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let head = "POST /predict/digits HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{}0\r\n\r\n", chunk.repeat(1_000));
    assert_eq!(gateway.raw(chunked.as_bytes()).refusal(413)["detail"], expected);
    // The same where the size is declared.
    assert_eq!(gateway.post("/predict/digits", " ".repeat(4 << 20)).refusal(413)["detail"], expected);
    // The largest that is taken.
    let largest = format!("{ROW}{}", " ".repeat((64 << 10) - ROW.len()));
    assert_eq!(gateway.prediction("/predict/digits", largest.clone()), 321.0);
    gateway.post("/predict/digits", largest + " ").refusal(413);
    gateway.wait_for_metric("porteiro_requests_total", &[r#"outcome="too_large""#], 4.0);
    still_serves(gateway);
}

#[test]
fn large_bodies_together_are_bounded() {
    let gateway = Site::of(&["digits"]).config("[server]\nmax_body = \"1MiB\"\nmax_inflight = \"1MiB\"").start();
    let head =
        format!("POST /predict/digits HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    let large = format!("{ROW}{}", " ".repeat(700 << 10));
    let give_up = Instant::now() + PATIENCE;
    // Which of the two comes first is not known; where it is the second, the holder is the one refused, and another tries.
    let (holder, refused) = loop {
        let mut holder = gateway.connect();
        holder.write_all(head.as_bytes()).expect("the head is taken");
        holder.write_all(ROW.as_bytes()).expect("a part of the body is taken");
        let answer = gateway.post("/predict/digits", large.clone());
        if answer.status != 200 {
            break (holder, answer);
        }
        assert!(Instant::now() < give_up, "the second large body was always taken");
    };
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.refusal(429)["detail"].as_str().is_some_and(|detail| detail.contains("server.max_inflight")));
    assert_eq!(gateway.prediction("/predict/digits", ROW), 321.0, "small ones are still taken");
    // Its going away gives the room back.
    drop(holder);
    let give_up = Instant::now() + PATIENCE;
    while gateway.post("/predict/digits", large.clone()).status != 200 {
        assert!(Instant::now() < give_up, "the room was never given back");
    }
    still_serves(gateway);
}

#[test]
fn a_client_that_hangs_up_in_the_middle_of_its_body() {
    let gateway = Site::of(&["digits"]).start();
    let mut stream = gateway.connect();
    let head = "POST /predict/digits HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"f0\": 1";
    stream.write_all(head.as_bytes()).expect("the head is taken");
    drop(stream);
    gateway.wait_for_metric("porteiro_requests_total", &[r#"outcome="cancelled""#], 1.0);
    still_serves(gateway);
}

#[test]
fn a_client_that_hangs_up_while_its_request_waits() {
    let gateway = start("");
    let busy = keep_busy(&gateway, 1_000);
    // This one's work would take hours.
    let endless = send(&gateway, r#"{"rounds": 100000000, "index": 2}"#);
    gateway.wait_for_metric("porteiro_queue_rows", SLOW, 9.0);
    drop(endless);
    gateway.wait_for_metric("porteiro_requests_total", &[SLOW[0], r#"outcome="cancelled""#], 1.0);
    Answer::read(busy).ok();
    // That others are answered shows that it was dropped.
    assert_eq!(gateway.prediction("/predict/slow", r#"{"rounds": 1, "index": 3}"#), 3001.0);
    still_serves(gateway);
}

#[test]
fn slow_clients_are_bounded() {
    let settings = "[server]\nheader_timeout = \"100ms\"\nbody_timeout = \"100ms\"";
    let gateway = Site::of(&["digits"]).config(settings).start();
    let started = Instant::now();
    // A head that never ends: the connection is closed.
    let mut stream = gateway.connect();
    stream.write_all(b"POST /predict/digits HTTP/1.1\r\nHost: x\r\n").expect("a part of the head is taken");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    // A connection on which nothing comes.
    let _ = gateway.connect().read_to_end(&mut Vec::new());
    // A body that never ends: told so.
    let head = "POST /predict/digits HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{\"f0\": 1";
    let refusal = gateway.raw(head.as_bytes()).refusal(408);
    assert_eq!(refusal["detail"], "the body was not complete after 0.1 s (setting server.body_timeout)");
    assert!(started.elapsed() < PATIENCE, "all three came to an end by the gateway's limits");
    gateway.wait_for_metric("porteiro_requests_total", &[r#"outcome="client_timeout""#], 1.0);
    still_serves(gateway);
}
