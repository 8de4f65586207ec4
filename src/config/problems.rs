//! What is wrong with a configuration: every problem with its key and where it was written.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that should be there can't be read.
    #[error("can't read the config file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    /// A file is no TOML. The message holds line and column and shows the line.
    #[error("the config file {} is not valid TOML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },

    /// The sources can't be put over each other.
    #[error("can't put the configuration together")]
    Merge(#[from] config::ConfigError),

    /// The files were read, and these keys are wrong; never empty.
    #[error("{}", listed(problems))]
    Problems { problems: Vec<Problem> },
}

/// One key that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's whole path, `models.wine.features[2]`.
    pub key: String,
    pub message: String,
    /// What to write instead, where that can be told.
    pub hint: Option<String>,
    /// The file, environment variable or flag that says so.
    pub origin: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        Ok(())
    }
}

fn listed(problems: &[Problem]) -> String {
    let mut text = match problems.len() {
        1 => "the configuration has 1 problem:".to_owned(),
        n => format!("the configuration has {n} problems:"),
    };
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_line() {
        let problem = Problem {
            key: "server.listne".to_owned(),
            message: "unknown key".to_owned(),
            hint: Some("did you mean `listen`?".to_owned()),
            origin: Some("config/porteiro.toml".to_owned()),
        };
        let bare = Problem { hint: None, origin: None, key: "log.lvl".to_owned(), ..problem.clone() };
        assert_eq!(
            ConfigError::Problems { problems: vec![problem, bare] }.to_string(),
            "the configuration has 2 problems:\n  \
             server.listne: unknown key; did you mean `listen`? (config/porteiro.toml)\n  \
             log.lvl: unknown key"
        );
    }
}
