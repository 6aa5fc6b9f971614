//! An API call: its caller, path, headers, query and body.

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    api_error::ApiError,
    caller::Caller,
    domains::workspaces,
    field::FieldType,
    store::{Item, ORGANISATION, Store, text},
    validation,
};

/// An API call that is passed to an action.
#[derive(Debug, Default)]
pub(crate) struct ApiCall {
    /// Caller of the API.
    pub(crate) caller: Caller,
    /// The values of the path's placeholders, in order.
    pub(crate) path: Vec<String>,
    pub(crate) headers: HeaderMap,
    /// Decoded query arguments, in order.
    pub(crate) query: Vec<(String, String)>,
    /// Body of the request; empty if there is none.
    pub(crate) body: Item,
    /// Body of the request if it is a list, which only some routes accept.
    pub(crate) list: Option<Vec<Value>>,
}

impl ApiCall {
    /// Returns the first placeholder of the path, which identifies the item.
    pub(crate) fn handle(&self) -> &str {
        self.path.first().map(String::as_str).unwrap_or_default()
    }

    /// Returns the value of a header, or `None` if it is absent or empty.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)?
            .to_str()
            .ok()
            .filter(|value| !value.is_empty())
    }

    /// Returns the value of a query argument, or `None` if it is absent or empty.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(given, value)| given == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Returns a query argument as an integer, which must be in a range.
    pub(crate) fn number_in_range(
        &self,
        name: &str,
        min: usize,
        max: usize,
    ) -> Result<Option<usize>, ApiError> {
        let Some(written) = self.query(name) else {
            return Ok(None);
        };
        match written.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ if max == usize::MAX => Err(ApiError::invalid_field(
                name,
                format_args!("must be a whole number from {min} up"),
            )),
            _ => Err(ApiError::invalid_field(
                name,
                format_args!("must be from {min} to {max}"),
            )),
        }
    }

    /// Returns the id of the workspace that the query or body names. An Admin key must name one; an
    /// unrestricted key defaults to the default workspace.
    pub(crate) fn workspace_id(&self, store: &Store) -> Result<String, ApiError> {
        if let Some(named) = self.requested_workspace_id(store)? {
            return Ok(named);
        }
        if self.caller.is_unrestricted() {
            return workspaces::resolve(store, workspaces::DEFAULT_SLUG).map(item_id);
        }
        Err(ApiError::Forbidden(
            "An organisation key must name a workspace_id here".to_owned(),
        ))
    }

    /// Returns the id of the workspace that the query or body names, if any.
    pub(crate) fn requested_workspace_id(&self, store: &Store) -> Result<Option<String>, ApiError> {
        let in_body = self
            .body
            .get("workspace_id")
            .filter(|value| !value.is_null())
            .cloned();
        let Some(named) = self.query("workspace_id").map(Into::into).or(in_body) else {
            return Ok(None);
        };
        let id = validation::validate_value(store, FieldType::Workspace, "workspace_id", &named)?;
        Ok(id.as_str().map(str::to_owned))
    }

    /// Checks the workspace and the organisation that the query or body names. These arguments are
    /// accepted on every route.
    pub(crate) fn check_scope(&self, store: &Store) -> Result<(), ApiError> {
        if let Some(workspace) = self.query("workspace_id") {
            validation::validate_value(
                store,
                FieldType::Workspace,
                "workspace_id",
                &workspace.into(),
            )?;
        }
        let in_body = self.body.get("organisation_id").and_then(Value::as_str);
        match self.query("organisation_id").or(in_body) {
            Some(id) if id != ORGANISATION => Err(ApiError::Forbidden(
                "The key belongs to another organisation".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Decodes the arguments of a query string.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Returns the id under which the store keeps an item.
pub(crate) fn item_id(item: &Item) -> String {
    text(item, "id").to_owned()
}
