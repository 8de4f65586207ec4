//! The closed list of failure classes: what went wrong, in words that every protocol can translate.

use std::fmt;

/// The class of a failure. Each module's error says which it is; each protocol says once what it answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes can't be read as what they claim to be.
    Malformed,
    /// The data was read and breaks the model's contract.
    Invalid,
    /// No such model, version or page.
    NotFound,
    /// The page is there and takes another method.
    MethodNotAllowed,
    /// The body is larger than the limit.
    TooLarge,
    /// The body's type is none that this page reads.
    UnsupportedType,
    /// The client sent its body too slowly.
    ClientTimeout,
    /// More is asked than can be done now; the same request may succeed later.
    Overloaded,
    /// The gateway is starting or stopping, or the model is not serving.
    Unavailable,
    /// The deadline passed before the answer was there.
    DeadlineExceeded,
    /// The caller went away before the answer was there.
    Cancelled,
    /// A fault of the gateway or of the model; nothing the caller sent explains it.
    Internal,
}

impl ErrorKind {
    /// The word that metrics and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::UnsupportedType => "unsupported_type",
            Self::ClientTimeout => "client_timeout",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
