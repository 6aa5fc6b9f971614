//! Patches: parsed, applied within limits, and explained where they fail.

use json_patch::PatchOperation;
use serde_json::Value;

use super::{JsonObject, diff::Diff, list_rules::ListRules, merge::Merger, size};

/// Maximum number of operations in a patch.
pub const MAX_OPERATIONS: usize = 100;

/// A patch of a document.
#[derive(Clone, Debug)]
pub enum Patch {
    /// A merge patch (RFC 7396).
    Merge(JsonObject),
    /// Operations (RFC 6902), which take effect together or not at all.
    Operations(Vec<PatchOperation>),
    /// Differences of two earlier states. Those whose path the document lacks are not applied.
    Differences(Diff),
}

/// The reason why a patch cannot be read or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is neither an object nor a list.
    #[error(
        "takes an object of the fields to change (a merge patch, RFC 7396), or a list of operations \
         such as {{\"op\": \"replace\", \"path\": \"/name\", \"value\": \"…\"}} (RFC 6902)"
    )]
    NoPatch,
    /// An operation is not one of RFC 6902.
    #[error("operation {index} is not one of RFC 6902: {reason}")]
    InvalidOperation {
        /// Position of the operation.
        index: usize,
        /// Reason, as the parser states it.
        reason: String,
    },
    /// There are too many operations.
    #[error("has {0} operations; at most {MAX_OPERATIONS} may be in one patch")]
    TooManyOperations(usize),
    /// A `test` operation found another value.
    #[error(
        "the `test` of operation {index} at `{path}` found another value, so nothing was changed"
    )]
    TestFailed {
        /// Position of the operation.
        index: usize,
        /// Path of the operation, as a JSON Pointer.
        path: String,
    },
    /// An operation names a path that does not exist.
    #[error("operation {index}: there is nothing at `{path}`")]
    NoSuchPath {
        /// Position of the operation.
        index: usize,
        /// Path of the operation, as a JSON Pointer.
        path: String,
    },
    /// An object stands where a list is stored.
    #[error(
        "`{0}` is a list, which an object would replace. Give the list, or operations such as \
         {{\"op\": \"replace\", \"path\": \"/…/0/field\", \"value\": …}}"
    )]
    ObjectForList(String),
    /// An entry is to be deleted from a list without a key.
    #[error(
        "the entries of `{0}` have no key that tells all of them apart, so `_delete` cannot name one. \
         Give the whole list, or an operation `remove` with its position"
    )]
    NoKey(String),
    /// The patched document is larger or deeper than allowed.
    #[error("yields a document that is too large or too deep")]
    TooLarge,
}

impl Patch {
    /// Parses a patch: an object is a merge patch, a list has operations.
    ///
    /// # Errors
    /// Returns an error if the value is neither, or an operation is invalid.
    pub fn parse(value: Value) -> Result<Self, PatchError> {
        let operations = match value {
            Value::Object(fields) => return Ok(Self::Merge(fields)),
            Value::Array(operations) => operations,
            _ => return Err(PatchError::NoPatch),
        };
        if operations.len() > MAX_OPERATIONS {
            return Err(PatchError::TooManyOperations(operations.len()));
        }
        let parse = |(index, operation)| {
            let parsed = serde_json::from_value(operation);
            parsed.map_err(|error| PatchError::InvalidOperation {
                index,
                reason: error.to_string(),
            })
        };
        let operations = operations.into_iter().enumerate().map(parse);
        Ok(Self::Operations(operations.collect::<Result<_, _>>()?))
    }

    /// Returns true if the patch asks for no change.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Merge(fields) => fields.is_empty(),
            Self::Operations(operations) => operations
                .iter()
                .all(|operation| matches!(operation, PatchOperation::Test(_))),
            Self::Differences(diff) => diff.is_empty(),
        }
    }

    /// Iterates over the names of the top-level fields that the patch writes or removes.
    pub fn field_names(&self) -> Vec<String> {
        let first = |pointer: &json_patch::jsonptr::Pointer| {
            let token = pointer.tokens().next();
            token.map(|token| token.decoded().into_owned())
        };
        match self {
            Self::Merge(fields) => fields.keys().cloned().collect(),
            Self::Operations(operations) => {
                let mut names = Vec::new();
                for operation in operations {
                    match operation {
                        PatchOperation::Test(_) => {}
                        PatchOperation::Move(step) => {
                            names.extend(first(&step.from));
                            names.extend(first(&step.path));
                        }
                        other => names.extend(first(other.path())),
                    }
                }
                names
            }
            Self::Differences(diff) => {
                let fields = diff.changes.iter();
                fields
                    .filter_map(|change| change.path.first_field().map(str::to_owned))
                    .collect()
            }
        }
    }

    /// Returns the JSON Pointers of the values that operations copy, move or test.
    pub fn sources(&self) -> Vec<String> {
        let Self::Operations(operations) = self else {
            return Vec::new();
        };
        let source = |operation: &PatchOperation| match operation {
            PatchOperation::Copy(step) => Some(step.from.to_string()),
            PatchOperation::Move(step) => Some(step.from.to_string()),
            PatchOperation::Test(step) => Some(step.path.to_string()),
            _ => None,
        };
        operations.iter().filter_map(source).collect()
    }

    /// Applies the patch to a document.
    ///
    /// # Errors
    /// Returns an error if an operation fails, or if the outcome is too large.
    pub fn apply(&self, document: &Value, rules: ListRules) -> Result<Value, PatchError> {
        let mut patched = document.clone();
        match self {
            Self::Merge(patch) => {
                let merger = Merger {
                    rules,
                    protects_lists: true,
                };
                let mut fields = match patched {
                    Value::Object(fields) => fields,
                    _ => JsonObject::new(),
                };
                merger.merge_object(&mut fields, patch, "")?;
                patched = Value::Object(fields);
            }
            Self::Operations(operations) => {
                for (index, operation) in operations.iter().enumerate() {
                    let outcome = json_patch::patch(&mut patched, std::slice::from_ref(operation));
                    outcome.map_err(|error| explain(index, operation, &error.kind))?;
                    // A copy may double the document, so the size is checked after each step.
                    if !size::is_within_limits(&patched) {
                        return Err(PatchError::TooLarge);
                    }
                }
            }
            Self::Differences(diff) => patched = diff.apply(document),
        }
        match size::is_within_limits(&patched) {
            true => Ok(patched),
            false => Err(PatchError::TooLarge),
        }
    }
}

/// Explains why an operation failed.
fn explain(
    index: usize,
    operation: &PatchOperation,
    kind: &json_patch::PatchErrorKind,
) -> PatchError {
    let path = match (kind, operation) {
        (json_patch::PatchErrorKind::InvalidFromPointer, PatchOperation::Move(step)) => {
            step.from.to_string()
        }
        (json_patch::PatchErrorKind::InvalidFromPointer, PatchOperation::Copy(step)) => {
            step.from.to_string()
        }
        _ => operation.path().to_string(),
    };
    match kind {
        json_patch::PatchErrorKind::TestFailed => PatchError::TestFailed { index, path },
        _ => PatchError::NoSuchPath { index, path },
    }
}
