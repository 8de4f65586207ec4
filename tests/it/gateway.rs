//! Starts the real program in a folder of its own, and talks to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must come. A wait that succeeds is over as soon as it does.
pub const PATIENCE: Duration = Duration::from_secs(20);

const PROGRAM: &str = env!("CARGO_BIN_EXE_porteiro");
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One for all tests: starting one takes longer than a request.
static CLIENT: LazyLock<Client> =
    LazyLock::new(|| Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client"));

/// The path of an ONNX file that `tests/fixtures/make.py` wrote.
pub fn fixture(name: &str) -> PathBuf {
    let path = Path::new(ROOT).join("target/fixtures").join(format!("{name}.onnx"));
    assert!(
        path.is_file(),
        "{} is not there; make it with: .venv/bin/python tests/fixtures/make.py target/fixtures",
        path.display()
    );
    path
}

/// A working folder: `config/`, `models/`, and the environment of the program.
pub struct Site {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("models")).expect("a folder");
        std::fs::create_dir(folder.path().join("config")).expect("a folder");
        let environment = Path::new(ROOT).join(".venv").display().to_string();
        Self { folder, environment: vec![("VIRTUAL_ENV".to_owned(), environment)] }
    }

    /// With fixtures under their own names.
    pub fn of(fixtures: &[&str]) -> Self {
        fixtures.iter().fold(Self::new(), |site, name| site.model(name, &format!("{name}.onnx")))
    }

    /// With a fixture at a path under `models/`.
    pub fn model(self, name: &str, path: &str) -> Self {
        let path = self.path("models").join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::copy(fixture(name), path).expect("a copy");
        self
    }

    pub fn config(self, toml: &str) -> Self {
        self.file("config/porteiro.toml", toml)
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(path), content).expect("a file");
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The program with arguments, in this folder and with no environment but this one's and `PATH`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(PROGRAM), arguments)
    }

    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::new(&self.command(arguments).output().expect("the program starts"))
    }

    /// Runs a command that reads standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(input).expect("input is read");
        Finished::new(&child.wait_with_output().expect("the program ends"))
    }

    /// Starts serving on a free port and waits until the models are loaded.
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        let line = gateway.log.wait("the address", |line| line.contains("listening on http://"));
        let (_, address) = line.split_once("http://").expect("an address");
        let address: String = address.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
        gateway.address = Some(address.parse().expect("an address"));
        gateway
    }

    /// Starts the program, which may fail to serve.
    pub fn spawn(self) -> Gateway {
        let mut command = self.command(&["serve"]);
        if !self.environment.iter().any(|(name, _)| name == "PORTEIRO__SERVER__LISTEN") {
            command.env("PORTEIRO__SERVER__LISTEN", "127.0.0.1:0");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = Log::new(2);
        log.read(child.stdout.take().expect("a pipe"));
        log.read(child.stderr.take().expect("a pipe"));
        Gateway { _site: self, child, log, address: None }
    }
}

/// What a command that ended said.
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        let code = output.status.code().expect("the program ends by itself");
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

/// A program that serves. It is killed when the test ends without stopping it.
pub struct Gateway {
    /// Held for its folder, which goes with it.
    _site: Site,
    pub log: Log,
    child: Child,
    address: Option<SocketAddr>,
}

impl Gateway {
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the gateway was started and listens")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn get(&self, path: &str) -> Answer {
        Answer::of(CLIENT.get(self.url(path)))
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.post_as("application/json", path, body)
    }

    pub fn post_as(&self, content_type: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer::of(self.request(path, body).header("content-type", content_type))
    }

    /// A request to post, to add headers to. It declares no type, which is taken as JSON.
    pub fn request(&self, path: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        CLIENT.post(self.url(path)).body(body.into())
    }

    /// The prediction of one row.
    pub fn prediction(&self, path: &str, body: impl Into<Vec<u8>>) -> Value {
        self.post(path, body).ok()["prediction"].clone()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends bytes as they are and reads until the gateway closes the connection.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The gateway may answer and close before it has read all.
        let _ = stream.write_all(bytes);
        Answer::read(stream)
    }

    /// The value of a sample of `/metrics`: the sum over those whose line holds all parts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sample(&self.get("/metrics").text, name, labels)
    }

    /// Asks for a metric until it is `expected`.
    pub fn wait_for_metric(&self, name: &str, labels: &[&str], expected: f64) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let found = self.metric(name, labels);
            if found.total_cmp(&expected).is_eq() {
                return;
            }
            assert!(Instant::now() < give_up, "{name}{labels:?} is {found}, and never was {expected}");
            std::thread::yield_now();
        }
    }

    /// Asks the program to end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(kill.expect("sh is there").success());
    }

    /// The files that the process has in its memory, as Linux tells.
    #[cfg(target_os = "linux")]
    pub fn memory_maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("the process is there")
    }

    /// Waits until the program has ended by itself. Its log is whole then.
    pub fn wait(&mut self) -> ExitStatus {
        self.log.wait_for_end();
        self.child.wait().expect("the program ended")
    }

    /// Stops the program, which must end well, and returns its log.
    pub fn stop(mut self) -> Vec<String> {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "{status}: {:#?}", self.log.lines());
        self.log.lines()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum over the samples of an OpenMetrics text whose labels hold all parts.
pub fn sample(text: &str, name: &str, labels: &[&str]) -> f64 {
    let is_of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect(name);
    text.lines().filter(is_of).filter(|line| labels.iter().all(|label| line.contains(label))).map(value).sum()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn of(request: RequestBuilder) -> Self {
        let response = request.send().expect("an answer");
        let status = response.status().as_u16();
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Self { status, headers, text: response.text().expect("a body of text") }
    }

    /// Reads a connection to its end.
    pub fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the answer, because the gateway did not read the whole request, takes nothing from it.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).expect("an answer of text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status: status.unwrap_or_else(|| panic!("no answer: {text:?}")), headers, text: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body of an answer that must be 200.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The body of a refusal, which must have the form of all refusals.
    pub fn refusal(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert!(self.header("x-request-id").is_some());
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        body
    }
}

/// The lines that a program writes, as it writes them. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

struct Lines {
    lines: Vec<String>,
    n_open: usize,
}

impl Log {
    fn new(n_open: usize) -> Self {
        Self { shared: Arc::new((Mutex::new(Lines { lines: Vec::new(), n_open }), Condvar::new())) }
    }

    /// Reads a pipe to its end, on a thread that ends with it.
    fn read(&self, pipe: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            let (lines, changed) = &*log.shared;
            for line in BufReader::new(pipe).lines() {
                lines.lock().expect("the log").lines.push(line.expect("lines are UTF-8"));
                changed.notify_all();
            }
            lines.lock().expect("the log").n_open -= 1;
            changed.notify_all();
        });
    }

    pub fn lines(&self) -> Vec<String> {
        self.shared.0.lock().expect("the log").lines.clone()
    }

    /// The first line of that kind, once it is there.
    pub fn wait(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let (lines, changed) = &*self.shared;
        let find = |lines: &Lines| lines.lines.iter().find(|line| is_it(line)).cloned();
        let is_pending = |lines: &mut Lines| find(lines).is_none() && lines.n_open > 0;
        let waited = changed.wait_timeout_while(lines.lock().expect("the log"), PATIENCE, is_pending);
        let (lines, _) = waited.expect("the log");
        find(&lines).unwrap_or_else(|| panic!("the log never had {what}: {:#?}", lines.lines))
    }

    fn wait_for_end(&self) {
        let (lines, changed) = &*self.shared;
        let waited = changed.wait_timeout_while(lines.lock().expect("the log"), PATIENCE, |lines| lines.n_open > 0);
        let (lines, timeout) = waited.expect("the log");
        assert!(!timeout.timed_out(), "the program does not end: {:#?}", lines.lines);
    }
}

/// The value with what differs from run to run replaced: ids, versions made of hashes, the working folder's name.
pub fn redacted(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| redact(key, value)).collect()),
        Value::Array(values) => values.into_iter().map(redacted).collect(),
        other => other,
    }
}

fn redact(key: String, value: Value) -> (String, Value) {
    let is_hash = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = match (key.as_str(), &value) {
        ("id", Value::String(id)) if uuid_version(id) == Some(b'7') => "[uuid v7]".into(),
        ("version" | "sha256", Value::String(version)) if is_hash(version) => "[hash]".into(),
        ("bytes" | "load_seconds" | "loaded_at_unix_seconds" | "producer", _) => format!("[{key}]").into(),
        _ => redacted(value),
    };
    (key, value)
}

/// The version digit of a UUID's text.
pub fn uuid_version(text: &str) -> Option<u8> {
    let bytes = text.as_bytes();
    let is_uuid = bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| bytes[14])
}
