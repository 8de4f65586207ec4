//! A model that can be kept busy for as long as a test likes, with one session: eight rows a run, and sixteen may wait.

use std::io::Write;
use std::net::TcpStream;

use crate::gateway::{Gateway, Site};

pub const SLOW: &[&str] = &[r#"model="slow""#];

/// Serves the slow model, and another beside it. `settings` go before its table.
pub fn start(settings: &str) -> Gateway {
    let config = format!("{settings}\n[models.slow]\nsessions = 1\nmax_batch_rows = 8\nqueue_rows = 16");
    Site::of(&["digits", "slow"]).config(&config).start()
}

/// A request to the slow model that was sent, and whose answer is still to be read.
pub fn send(gateway: &Gateway, body: &str) -> TcpStream {
    let mut stream = gateway.connect();
    let head = "POST /predict/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("the request is taken");
    stream
}

/// Gives the session a run of that many rounds, and returns once it is running. Another such run waits behind it, eight rows of
/// the same request, and all that is sent from now on waits behind both. The answer is sixteen times `9000 + rounds`.
pub fn keep_busy(gateway: &Gateway, rounds: usize) -> TcpStream {
    let stream = send(gateway, &format!("[{}]", vec![format!("[{rounds}, 9]"); 16].join(",")));
    // Sixteen rows wait before the first run takes eight of them, none once the second has the rest.
    gateway.wait_for_metric("porteiro_queue_rows", SLOW, 8.0);
    stream
}
