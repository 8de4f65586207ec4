//! Names: a model's, which is safe in a path and in a file system, and the nearest of several to a misspelt one.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The longest name of a model, in characters.
const MAX_LENGTH: usize = 128;

/// A model's name: 1 to 128 ASCII letters, digits, `.`, `_` and `-`, not starting with a dot. So it holds no slash and is
/// never `..`; a clone copies no text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ModelName(Arc<str>);

/// The text is no [`ModelName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no name of a model: it takes 1 to 128 letters, digits, `.`, `_` or `-`, and no dot at the start")]
pub struct InvalidModelName {
    pub name: String,
}

impl TryFrom<&str> for ModelName {
    type Error = InvalidModelName;

    fn try_from(name: &str) -> Result<Self, InvalidModelName> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = (1..=MAX_LENGTH).contains(&name.len()) && name.bytes().all(legal) && !name.starts_with('.');
        if is_name {
            Ok(Self(name.into()))
        } else {
            // A client may have sent anything, and the name goes into an answer and into the log.
            Err(InvalidModelName { name: name.chars().take(MAX_LENGTH).collect() })
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = InvalidModelName;

    fn try_from(name: String) -> Result<Self, InvalidModelName> {
        Self::try_from(name.as_str())
    }
}

impl FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(name: &str) -> Result<Self, InvalidModelName> {
        Self::try_from(name)
    }
}

impl Deref for ModelName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ModelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for ModelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The candidate that `name` most likely stands for, if one is near enough to be worth a "did you mean". Case, spaces,
/// dots, hyphens and underscores don't count.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = simplified(name);
    // One slip in three characters; two transposed letters count once.
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &simplified(candidate)), candidate))
        .map(|(distance, candidate)| (beginning(&name, candidate).unwrap_or(distance), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < simplified(candidate).chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A name that another begins with counts as one slip: `sepal_length` for `sepal length (cm)`.
fn beginning(name: &str, candidate: &str) -> Option<usize> {
    const ENOUGH: usize = 4;
    (name.chars().count() >= ENOUGH && simplified(candidate).starts_with(name)).then_some(1)
}

fn simplified(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_models_name_is_safe_in_a_path() {
        for name in ["wine", "a", "wine-v2.1_final", "0", "-", &"x".repeat(128)] {
            assert_eq!(&*ModelName::try_from(name).expect(name), name);
        }
        for name in ["", ".", "..", ".hidden", "a/b", "../etc", "a\\b", "a b", "vinho-tinto-é", "a\0", &"x".repeat(129)]
        {
            assert!(ModelName::try_from(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn a_refused_name_is_quoted_and_cut() {
        let error = ModelName::try_from("\n".repeat(1_000)).expect_err("a line break is no name");
        assert_eq!(error.name.len(), 128);
        assert!(!error.to_string().contains('\n'), "a log line would be broken in two");
    }

    #[test]
    fn a_map_is_searched_by_text() {
        let by_name = BTreeMap::from([(ModelName::try_from("wine").expect("a name"), 1)]);
        assert_eq!(by_name.get("wine"), Some(&1));
    }

    #[test]
    fn near_names() {
        let features = ["fixed acidity", "volatile acidity", "pH", "alcohol", "color"];
        for (misspelt, meant) in [
            ("alcool", Some("alcohol")),
            ("fixed_acidity", Some("fixed acidity")),
            ("FIXED.ACIDITY", Some("fixed acidity")),
            ("volatil acidty", Some("volatile acidity")),
            ("colour", Some("color")),
            ("ph", Some("pH")),
            ("vola", Some("volatile acidity")),
            ("sulphates", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(near(misspelt, features), meant, "{misspelt}");
        }
    }
}
