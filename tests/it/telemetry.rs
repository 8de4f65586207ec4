//! Nothing is reported to anybody: no connection to elsewhere is tried.
//!
//! Official builds of ONNX Runtime report to their maker unless told not to. A library that the dynamic linker loads first
//! sees and refuses every attempt.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::gateway::{ROOT, Site};

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
    let gateway = site.start();
    for number in 0..50 {
        let row = format!("{{\"f0\": {number}, \"f1\": 0, \"f2\": 0}}");
        assert_eq!(gateway.prediction("/predict/digits", row), f64::from(number));
    }
    gateway.get("/example/annotated").ok();
    gateway.get("/metrics");
    // The shim is in the process, which the maps of its memory say.
    assert!(gateway.memory_maps().contains("no_network.so"));
    // The folder goes with the gateway.
    gateway.terminate();
    let mut gateway = gateway;
    assert!(gateway.wait().success());
    assert!(!attempts.exists(), "{}", std::fs::read_to_string(&attempts).unwrap_or_default());
}
