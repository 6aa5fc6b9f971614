//! The answer of a call: a document, or the upstream's own text if nothing in it has to change.

use serde_json::Value;

use crate::security::secrets::CleanJson;

/// The answer of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A document: something had to change, or this server made it.
    Document(Value),
    /// The upstream's own text. As a document it would be written the same.
    Clean(Box<CleanJson>),
}

impl Answer {
    /// Takes the answer as a document, and leaves `null`.
    pub fn take_document(&mut self) -> Value {
        std::mem::replace(self, Self::Document(Value::Null)).into_document()
    }

    /// Returns the answer as a document.
    pub fn into_document(self) -> Value {
        match self {
            Self::Document(document) => document,
            Self::Clean(json) => json.into_document(),
        }
    }
}

impl From<Value> for Answer {
    fn from(document: Value) -> Self {
        Self::Document(document)
    }
}
