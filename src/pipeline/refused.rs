//! Describes a call that the upstream refused, so that causes can be told apart.

use portkey_operation::{JsonMap, Operation, CompiledOperation};
use serde_json::Value;

use crate::{
    auth::principal::{KeySource, AuthMethod, Principal},
    upstream::{Doubt, KeyHolder, RefusedCall},
};

/// The scope that the arguments name. Extracted before the call, because sending consumes the
/// arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    workspace: bool,
    organisation: bool,
}

impl Named {
    pub(super) fn of(args: &JsonMap) -> Self {
        let names = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        Self {
            workspace: names("workspace_id"),
            organisation: names("organisation_id"),
        }
    }

    /// Describes the call for an error of the upstream.
    pub(super) fn call(self, published: &CompiledOperation, principal: &Principal) -> RefusedCall {
        let mut names = Vec::new();
        collect(published.full_schema(), &mut names);
        RefusedCall {
            key: holder(published.operation(), principal),
            names,
            has_workspace: self.workspace,
            has_organisation: self.organisation,
            warnings: Vec::new(),
            doubt: Doubt::default(),
        }
    }
}

/// Returns who can replace the key that acts for a caller.
fn holder(operation: &Operation, principal: &Principal) -> KeyHolder {
    let key = principal.credentials.key(operation.base().upstream());
    match key.map(|key| key.source()) {
        Ok(KeySource::Request) => KeyHolder::Request,
        _ if principal.method == AuthMethod::Local => KeyHolder::Local,
        _ => KeyHolder::Operator,
    }
}

/// Collects the names of all fields in a schema.
fn collect(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            for (name, below) in map {
                if name == "properties"
                    && let Value::Object(fields) = below
                {
                    names.extend(fields.keys().cloned());
                    fields.values().for_each(|field| collect(field, names));
                } else {
                    collect(below, names);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}
