//! Lists of all workspaces: the lists of each as one, with the workspace in every row.

use portkey_operation::JsonMap;
use serde_json::{Value, json};

use super::{
    DATA_KEY,
    list::{MAX_LIST_ITEMS, split_envelope},
    warnings::add_warnings,
};

/// Field of a row that has the slug of its workspace.
const WORKSPACE_FIELD: &str = "workspace";
/// Maximum number of workspaces that are read for one list.
pub const MAX_LIST_WORKSPACES: usize = 50;
/// Maximum number of requests for one list of all workspaces.
pub const MAX_WORKSPACE_CALLS: usize = 100;

/// A workspace whose list is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedWorkspace {
    /// Id, or else the slug.
    pub id: String,
    /// Slug, or else the id.
    pub slug: String,
}

impl ListedWorkspace {
    /// Returns the workspaces of a list of them.
    pub fn from_list(answer: Value) -> Vec<Self> {
        let (_, _, items) = split_envelope(answer);
        let workspace = |item: &Value| {
            let field = |name: &str| item.get(name)?.as_str().map(str::to_owned);
            let id = field("id");
            let slug = field("slug");
            Some(Self {
                id: id.clone().or_else(|| slug.clone())?,
                slug: slug.or(id)?,
            })
        };
        items.iter().filter_map(workspace).collect()
    }
}

/// Collects the lists of workspaces.
#[derive(Debug, Default)]
pub struct WorkspaceCollector {
    items: Vec<Value>,
    read: Vec<Value>,
    not_read: Vec<Value>,
    warnings: Vec<String>,
}

impl WorkspaceCollector {
    /// Adds the list of a workspace.
    pub fn add(&mut self, workspace: &ListedWorkspace, answer: Value) {
        let (envelope, _, items) = split_envelope(answer);
        let mut read = json!({ WORKSPACE_FIELD: workspace.slug, "returned": items.len() });
        for name in ["total", "next", "stopped"] {
            let value = envelope.get(name).filter(|value| !value.is_null());
            if let (Some(fields), Some(value)) = (read.as_object_mut(), value) {
                fields.insert(name.to_owned(), value.clone());
            }
        }
        self.read.push(read);
        self.items.extend(items.into_iter().map(|item| match item {
            Value::Object(fields) => {
                let mut row = JsonMap::new();
                row.insert(WORKSPACE_FIELD.to_owned(), workspace.slug.as_str().into());
                row.extend(fields);
                // A field of that name in the item is not the slug.
                row.insert(WORKSPACE_FIELD.to_owned(), workspace.slug.as_str().into());
                Value::Object(row)
            }
            other => other,
        }));
    }

    /// Notes that the list of a workspace could not be read.
    pub fn miss(&mut self, workspace: &ListedWorkspace, error: String) {
        self.not_read
            .push(json!({ WORKSPACE_FIELD: workspace.slug, "error": error }));
    }

    /// Adds a warning.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Returns true if no more items are collected.
    pub fn is_full(&self) -> bool {
        self.items.len() >= MAX_LIST_ITEMS
    }

    /// Returns true if no list could be read, of one or more.
    pub fn has_failed(&self) -> bool {
        self.read.is_empty() && !self.not_read.is_empty()
    }

    /// Returns all rows, and how many each workspace has.
    pub fn finish(self) -> Value {
        let mut list =
            json!({ "object": "list", "returned": self.items.len(), "workspaces": self.read });
        if let Some(fields) = list.as_object_mut() {
            if !self.not_read.is_empty() {
                fields.insert("not_read".to_owned(), self.not_read.into());
            }
            fields.insert(DATA_KEY.to_owned(), self.items.into());
        }
        add_warnings(list, self.warnings)
    }
}
