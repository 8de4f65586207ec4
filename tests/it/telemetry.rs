//! Nothing is reported to anybody: no connection to elsewhere is tried.
//!
//! Official builds of ONNX Runtime report to their maker unless told not to. A library that the dynamic linker loads first
//! sees and refuses every attempt.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::gateway::{PATIENCE, ROOT, Site};

/// The shim, compiled into the site's folder, and the file of its attempts.
fn shim(site: &Site) -> (PathBuf, PathBuf) {
    let library = site.path("no_network.so");
    let source = Path::new(ROOT).join("tests/it/no_network.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(compiled.expect("a C compiler, cc").success());
    (library, site.path("attempts"))
}

fn under_shim(site: Site) -> (Site, PathBuf) {
    let (library, attempts) = shim(&site);
    let site = site
        .environment("LD_PRELOAD", &library.display().to_string())
        .environment("NO_NETWORK_LOG", &attempts.display().to_string());
    (site, attempts)
}

#[test]
fn the_shim_sees_attempts() {
    let (site, attempts) = under_shim(Site::new());
    let tries = "import socket\n\
        for attempt in (lambda: socket.getaddrinfo('example.invalid', 80),\n\
            lambda: socket.socket().connect(('192.0.2.1', 80)),\n\
            lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.2', 53))):\n\
        \x20   try:\n\
        \x20       attempt()\n\
        \x20   except OSError as error:\n\
        \x20       print(type(error).__name__)\n\
        listener = socket.create_server(('127.0.0.1', 0))\n\
        socket.create_connection(listener.getsockname()).close()\n";
    let python = Path::new(ROOT).join(".venv/bin/python");
    let output = site.command_of(&python, &["-c", tries]).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "gaierror\nOSError\nOSError\n");
    let attempts = std::fs::read_to_string(attempts).expect("attempts");
    assert_eq!(attempts, "getaddrinfo example.invalid\nconnect 192.0.2.1\nsendto 192.0.2.2\n");
}

#[test]
fn the_gateway_tries_no_connection() {
    let (site, attempts) = under_shim(Site::of(&["annotated", "digits"]));
    let mut gateway = site.start();
    // The shim is in the process, which the maps of its memory say.
    assert!(gateway.memory_maps().contains("no_network.so"));
    // The same library in another process that does not tell it to be quiet shows how long it takes to report.
    let talkative = Talkative::start();
    for number in 0..50 {
        let row = format!("{{\"f0\": {number}, \"f1\": 0, \"f2\": 0}}");
        assert_eq!(gateway.prediction("/predict/digits", row), f64::from(number));
    }
    gateway.get("/example/annotated").ok();
    gateway.get("/metrics");
    talkative.wait_for_attempt();
    gateway.terminate();
    assert!(gateway.wait().success());
    // The folder goes with the gateway.
    assert!(!attempts.exists(), "{}", std::fs::read_to_string(&attempts).unwrap_or_default());
}

/// ONNX Runtime in Python, with its reports on, under a shim of its own. It ends with its standard input.
struct Talkative {
    child: Child,
    attempt: Receiver<String>,
    _site: Site,
}

impl Talkative {
    fn start() -> Self {
        let (site, attempts) = under_shim(Site::of(&["digits"]));
        // It keeps what it has to report in the home folder.
        let home = site.path("").display().to_string();
        let site = site.environment("HOME", &home);
        // A pipe in place of the file of attempts, so that reading it waits for one.
        assert!(Command::new("mkfifo").arg(&attempts).status().expect("mkfifo").success());
        let (sender, attempt) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let pipe = std::fs::File::open(attempts).expect("the pipe");
            BufReader::new(pipe).read_line(&mut line).expect("a line");
            // Nobody waits for it where the test has failed.
            let _ = sender.send(line);
        });
        let program = "import onnxruntime, sys\n\
            session = onnxruntime.InferenceSession('models/digits.onnx')\n\
            session.run(None, {'x': [[1.0, 2.0, 3.0]]})\n\
            sys.stdin.read()\n";
        let python = Path::new(ROOT).join(".venv/bin/python");
        let child = site.command_of(&python, &["-c", program]).stdin(Stdio::piped()).spawn().expect("Python");
        Self { child, attempt, _site: site }
    }

    fn wait_for_attempt(&self) {
        let line = self.attempt.recv_timeout(3 * PATIENCE);
        let line = line.expect("a library that reports is seen to do so, or this test proves nothing");
        assert!(line.starts_with("getaddrinfo "), "{line}");
    }
}

impl Drop for Talkative {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
