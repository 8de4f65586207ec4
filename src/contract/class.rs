//! A class of a classifier: what its label output holds, and the text under which it is looked up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One class, in the type in which the model returns it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Class {
    Bool(bool),
    Int(i64),
    Text(String),
}

impl Class {
    /// Whether both name the same class: exporters turn the classes `false` and `true` into 0 and 1.
    pub fn names_same(&self, other: &Class) -> bool {
        match (self, other) {
            (Self::Bool(flag), Self::Int(number)) | (Self::Int(number), Self::Bool(flag)) => {
                i64::from(*flag) == *number
            }
            (Self::Bool(flag), Self::Text(text)) | (Self::Text(text), Self::Bool(flag)) => {
                text.eq_ignore_ascii_case(if *flag { "true" } else { "false" })
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
