//! From the merged tables to [`Settings`]: every section but the models, whose reading has a file of its own.

use std::net::Ipv6Addr;

use config::{Map, Value};

use super::models::{model_engine, models};
use super::names::near;
use super::problems::Problem;
use super::section::Section;
use super::values::{Read, Wrong, bytes, choice, duration, path, text, text_or_integer};
use super::{Engine, Log, LogFormat, ModelEngine, ModelName, Server, Settings};

/// The tables of the outermost level.
pub(super) const SECTIONS: [&str; 4] = ["server", "models", "engine", "log"];

pub(super) fn settings(table: Map<String, Value>, problems: &mut Vec<Problem>) -> Settings {
    let mut root = Section::new(String::new(), table, problems);
    let default_model = root.take("default_model", model_name);
    let server = server(root.section("server"));
    let engine = engine(root.section("engine"));
    let models = models(root.section("models"), &engine.defaults);
    let log = log(root.section("log"));
    root.finish();
    Settings { default_model, server, models, engine, log }
}

fn server(mut section: Section<'_>) -> Server {
    let default = Server::default();
    let server = Server {
        listen: section.take("listen", listen).unwrap_or(default.listen),
        request_timeout: section.take("request_timeout", duration).unwrap_or(default.request_timeout),
        stop_timeout: section.take("stop_timeout", duration).unwrap_or(default.stop_timeout),
        header_timeout: section.take("header_timeout", duration).unwrap_or(default.header_timeout),
        body_timeout: section.take("body_timeout", duration).unwrap_or(default.body_timeout),
        max_body: section.take("max_body", bytes).unwrap_or(default.max_body),
        max_inflight: section.take("max_inflight", bytes).unwrap_or(default.max_inflight),
    };
    if server.max_inflight < server.max_body {
        let message = format!("must be at least max_body ({} bytes), and is {}", server.max_body, server.max_inflight);
        section.refuse("max_inflight", Wrong::new(message).hint("no body of that size could ever be read"));
    }
    section.finish();
    server
}

fn engine(mut section: Section<'_>) -> Engine {
    let onnxruntime = section.take("onnxruntime", path);
    let defaults = model_engine(&mut section, &ModelEngine::default());
    section.finish();
    Engine { onnxruntime, defaults }
}

fn log(mut section: Section<'_>) -> Log {
    const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let default = Log::default();
    let log = Log {
        format: section.take("format", |value| choice(value, &FORMATS)).unwrap_or(default.format),
        level: section.take("level", level).unwrap_or(default.level),
    };
    section.finish();
    log
}

fn model_name(value: &Value) -> Read<ModelName> {
    ModelName::try_from(text(value)?).map_err(|error| Wrong::new(error.to_string()))
}

/// Host and port. The host is not looked up: that is for whoever binds.
fn listen(value: &Value) -> Read<String> {
    let wrong = || Wrong::must_be("host and port, such as \"127.0.0.1:5000\"", value);
    let text = text_or_integer(value).map_err(|_| wrong())?;
    let Some((host, port)) = text.rsplit_once(':') else {
        let is_port = text.parse::<u16>().is_ok();
        return Err(if is_port { wrong().hint(format!("write \"127.0.0.1:{text}\"")) } else { wrong() });
    };
    if port.parse::<u16>().is_err() {
        return Err(wrong().hint("a port is a number from 0 to 65535"));
    }
    if host.is_empty() {
        return Err(wrong().hint(format!("for all addresses of the machine write \"0.0.0.0:{port}\"")));
    }
    if host.contains(':') {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
        return if is_address {
            Ok(text)
        } else {
            Err(wrong().hint("an IPv6 address stands in brackets: \"[::1]:5000\""))
        };
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.chars().all(legal) { Ok(text) } else { Err(wrong()) }
}

/// A level, or `target=level` and more of them. The library behind it takes a misspelt level for the name of a target
/// and then logs nothing else, so bare words are checked here.
fn level(value: &Value) -> Read<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = text(value)?;
    for directive in text.split(',').filter(|directive| !directive.contains('[')) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            let wrong = Wrong::new(format!("{level:?} is no level; levels are {}", LEVELS.join(", ")));
            return Err(match near(level, LEVELS) {
                Some(near) => wrong.hint(format!("did you mean \"{near}\"?")),
                None => wrong.hint("one part of the gateway is set as \"info,porteiro::api=debug\""),
            });
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::new(None, text)
    }

    #[test]
    fn addresses_have_host_and_port() {
        for taken in ["127.0.0.1:5000", "0.0.0.0:0", "localhost:80", "[::1]:5000", "my-host.example:65535"] {
            assert_eq!(listen(&value(taken)).ok().as_deref(), Some(taken));
        }
        for (refused, hint) in [
            ("5000", Some("write \"127.0.0.1:5000\"")),
            (":5000", Some("for all addresses of the machine write \"0.0.0.0:5000\"")),
            ("::1:5000", Some("an IPv6 address stands in brackets: \"[::1]:5000\"")),
            ("[::zz]:5000", Some("an IPv6 address stands in brackets: \"[::1]:5000\"")),
            ("localhost", None),
            ("localhost:http", Some("a port is a number from 0 to 65535")),
            ("localhost:65536", Some("a port is a number from 0 to 65535")),
            ("a b:1", None),
            ("", None),
        ] {
            let wrong = listen(&value(refused)).expect_err(refused);
            assert_eq!(wrong.hint.as_deref(), hint, "{refused}");
        }
        let url = listen(&value("http://localhost:5000")).expect_err("a URL is no address");
        assert!(url.message.contains("host and port"), "{}", url.message);
    }

    #[test]
    fn levels_are_checked() {
        for taken in
            ["info", "WARN", "off", "info,porteiro::api=debug", "warn, hyper=off", "porteiro[request{id=1}]=trace"]
        {
            assert_eq!(level(&value(taken)).ok().as_deref(), Some(taken));
        }
        let wrong = level(&value("inof")).expect_err("no level");
        assert_eq!(wrong.hint.as_deref(), Some("did you mean \"info\"?"));
        assert!(level(&value("info,porteiro")).is_err());
        assert!(level(&value("porteiro=loud")).is_err());
    }

    #[test]
    fn the_bodies_held_at_once_hold_the_largest() {
        let toml = "[server]\nmax_body = '300MiB'";
        let table = config::Format::parse(&config::FileFormat::Toml, None, toml).expect("TOML");
        let mut problems = Vec::new();
        settings(table, &mut problems);
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["server.max_inflight"]);
    }
}
