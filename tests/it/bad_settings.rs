//! What keeps the program from serving at all: it says why, what to do, and exits with 2.

use std::net::TcpListener;

use crate::gateway::Site;

#[test]
fn three_mistakes_are_named_at_once() {
    let site = Site::of(&["digits"]).config(
        "default_modle = \"digits\"\n[server]\nlisten = 5000\nrequest_timeout = 30\n[models.digits]\nfeatures = [\"a\", \"a\", \"b\"]\n",
    );
    for command in ["serve", "check"] {
        let finished = site.run(&[command]);
        assert_eq!(finished.code, 2, "{}", finished.stderr);
        insta::allow_duplicates! {
            insta::assert_snapshot!(finished.stderr, @r#"
            porteiro: the configuration has 4 problems:
              server.listen: must be host and port, such as "127.0.0.1:5000", and is 5000; write "127.0.0.1:5000" (config/porteiro.toml)
              server.request_timeout: must be a time with its unit, such as "250ms" or "30s", and is 30; for seconds write "30s" (config/porteiro.toml)
              models.digits.features[1]: "a" is in the list twice (config/porteiro.toml)
              default_modle: unknown key; did you mean `default_model`? (config/porteiro.toml)
            "#);
        }
    }
    let json = site.run(&["check", "--json"]);
    assert_eq!(json.code, 2);
    assert!(json.json()["config"].as_str().is_some_and(|config| config.contains("default_modle")));
}

#[test]
fn a_file_that_is_no_toml() {
    let finished = Site::new().config("[server\nlisten = \"x\"\n").run(&["serve"]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("config/porteiro.toml is not valid TOML"), "{}", finished.stderr);
    assert!(finished.stderr.contains("line 1"), "{}", finished.stderr);
    let finished = Site::new().run(&["serve", "--config", "nowhere.toml"]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("can't read the config file nowhere.toml"), "{}", finished.stderr);
}

#[test]
fn an_unknown_variable_is_a_mistake() {
    let finished = Site::new().environment("PORTEIRO__SERVER__LISTNE", "127.0.0.1:0").run(&["serve"]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("server.listne: unknown key; did you mean `listen`?"), "{}", finished.stderr);
    assert!(finished.stderr.contains("PORTEIRO__SERVER__LISTNE"), "{}", finished.stderr);
}

#[test]
fn the_port_is_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let finished = Site::of(&["digits"]).run(&["serve", "--listen", &address]);
    assert_eq!(finished.code, 2);
    assert_eq!(
        finished.stderr,
        format!(
            "porteiro: {address} is taken by another program; stop it, or choose another port with --listen or \
             PORTEIRO__SERVER__LISTEN\n"
        )
    );
}

#[test]
fn an_address_that_is_none_of_this_machine() {
    let finished = Site::new().run(&["serve", "--listen", "203.0.113.1:5000"]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("can't listen on 203.0.113.1:5000"), "{}", finished.stderr);
    assert!(finished.stderr.contains("server.listen"), "{}", finished.stderr);
}

#[test]
fn onnx_runtime_is_not_found() {
    let fix = "Get it with `pip install onnxruntime==";
    let site = Site::of(&["digits"]).environment("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    for command in [&["serve"][..], &["check"], &["predict", "digits", "[[1, 2, 3]]"]] {
        let finished = site.run(command);
        assert_eq!(finished.code, 2);
        assert!(
            finished.stderr.contains("searched: /nowhere/libonnxruntime.so (ORT_DYLIB_PATH)"),
            "{}",
            finished.stderr
        );
        assert!(finished.stderr.contains(fix) && finished.stderr.contains("make build"), "{}", finished.stderr);
    }
    let finished = Site::of(&["digits"]).run(&["serve", "--onnxruntime", "/nowhere/lib.so"]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("/nowhere/lib.so (engine.onnxruntime)"), "{}", finished.stderr);
}

#[test]
fn no_environment_holds_onnx_runtime() {
    // The program looks for .venv above itself too, so it has to lie elsewhere than in the repository.
    let site = Site::of(&["digits"]).environment("VIRTUAL_ENV", "/nowhere/venv");
    let program = site.path("porteiro");
    std::fs::copy(env!("CARGO_BIN_EXE_porteiro"), &program).expect("a copy");
    let output = site.command_of(&program, &["check"]).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        // The system has the library in a folder of its own; there is nothing to miss.
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("ONNX Runtime was not found; searched: /nowhere/venv, "), "{stderr}");
    assert!(stderr.contains("Get it with `pip install onnxruntime=="), "{stderr}");
}

#[test]
fn a_library_that_is_no_onnx_runtime() {
    let site = Site::of(&["digits"]).file("libonnxruntime.so", "not a library");
    let library = site.path("libonnxruntime.so").display().to_string();
    let finished = site.run(&["check", "--onnxruntime", &library]);
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains(&format!("ONNX Runtime at {library} can't be used")), "{}", finished.stderr);
}

#[test]
fn the_folder_of_models_is_not_there() {
    let mut gateway = Site::of(&["digits"]).environment("PORTEIRO__MODELS__DIR", "nowhere").spawn();
    let status = gateway.wait();
    assert_eq!(status.code(), Some(2));
    let log = gateway.log.lines().join("\n");
    assert!(log.contains("the folder of models, nowhere, can't be read") && log.contains("models.dir"), "{log}");
}
