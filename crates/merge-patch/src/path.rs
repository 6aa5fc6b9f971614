//! Paths into documents, for messages and as JSON Pointers.

use std::fmt;

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// A field of an object.
    Field(String),
    /// An item of a list, by its position.
    Index(usize),
    /// An entry of a keyed list.
    Entry {
        /// The key, such as `name=primary`.
        key: String,
        /// Position in the new document, or in the old one if the entry is removed.
        index: usize,
    },
}

/// The path of a value in a document. The empty path is the document itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentPath(Vec<PathStep>);

impl DocumentPath {
    /// Parses a path such as `config.targets[0].weight`, or a JSON Pointer, which begins with `/`.
    ///
    /// A number in a JSON Pointer may be an index or a name; [`Self::find`] takes what is there.
    pub fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        if let Some(pointer) = text.strip_prefix('/') {
            for token in pointer.split('/') {
                let name = token.replace("~1", "/").replace("~0", "~");
                steps.push(PathStep::Field(name));
            }
            return Self(steps);
        }
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (name, mut rest) = match part.find('[') {
                Some(at) => part.split_at(at),
                None => (part, ""),
            };
            if !name.is_empty() {
                steps.push(PathStep::Field(name.to_owned()));
            }
            while let Some((inside, after)) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            {
                steps.push(match inside.parse() {
                    Ok(index) => PathStep::Index(index),
                    Err(_) => PathStep::Entry {
                        key: inside.to_owned(),
                        index: usize::MAX,
                    },
                });
                rest = after;
            }
        }
        Self(steps)
    }

    /// Returns the steps.
    pub fn steps(&self) -> &[PathStep] {
        &self.0
    }

    /// Returns true if this is the path of the document itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns this path with a further step.
    #[must_use]
    pub fn join(&self, step: PathStep) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Returns the name of the first field, if the path begins with one.
    pub fn first_field(&self) -> Option<&str> {
        match self.0.first() {
            Some(PathStep::Field(name)) => Some(name),
            _ => None,
        }
    }

    /// Returns the path without its first step.
    #[must_use]
    pub fn without_first(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }

    /// Returns the name of the last field, which says what kind of value is at the path.
    pub fn last_field(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            PathStep::Field(name) => Some(name.as_str()),
            PathStep::Index(_) | PathStep::Entry { .. } => None,
        })
    }

    /// Returns true if a path begins with all the steps of this one.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Returns the path as a JSON Pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                PathStep::Field(name) => {
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                PathStep::Index(index) | PathStep::Entry { index, .. } => {
                    pointer.push_str(&index.to_string());
                }
            }
        }
        pointer
    }

    /// Finds the value at this path.
    pub fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(document, |value, step| match step {
            PathStep::Field(name) => match value {
                Value::Object(fields) => fields.get(name),
                Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                _ => None,
            },
            PathStep::Index(index) => value.get(*index),
            PathStep::Entry { key, .. } => {
                let items = value.as_array()?;
                items.iter().find(|item| has_key(item, key))
            }
        })
    }
}

/// Returns true if an entry has a key such as `name=primary`, whose parts are joined by commas.
fn has_key(item: &Value, key: &str) -> bool {
    key.split(',').all(|part| {
        let Some((field, expected)) = part.split_once('=') else {
            return false;
        };
        match item.get(field) {
            Some(Value::String(text)) => text == expected,
            Some(Value::Number(number)) => expected.parse().ok().as_ref() == Some(number),
            _ => false,
        }
    })
}

impl fmt::Display for DocumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Field(name) if i == 0 => f.write_str(name)?,
                PathStep::Field(name) => write!(f, ".{name}")?,
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Entry { key, .. } => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

impl FromIterator<PathStep> for DocumentPath {
    fn from_iter<I: IntoIterator<Item = PathStep>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_spellings_find_the_same_value() {
        let document =
            json!({ "config": { "targets": [{ "name": "a" }, { "name": "b", "w/x": 1 }] } });
        for text in [
            "config.targets[1].w/x",
            "config.targets[name=b].w/x",
            "/config/targets/1/w~1x",
        ] {
            let path = DocumentPath::parse(text);
            assert_eq!(path.find(&document), Some(&json!(1)), "{text}");
        }
    }

    #[test]
    fn path_is_shown_as_it_is_parsed() {
        let path = DocumentPath::parse("config.targets[1].weight");
        assert_eq!(path.to_string(), "config.targets[1].weight");
        assert_eq!(path.pointer(), "/config/targets/1/weight");
    }
}
