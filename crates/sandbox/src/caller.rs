//! Callers: the kind of a key, as derived from its text, and the permissions of that kind.

use http::Method;
use serde_json::Value;

use super::{
    KEY_PREFIX,
    api_error::ApiError,
    call::ApiCall,
    domains::{self, access, api_keys, workspaces},
    resource::{CrudAction, Resource, ResourceOwner},
    route::RouteAction,
    store::{CollectionKey, Item, ORGANISATION, Store, text},
};

/// Prefix of an Admin key's name, after [`KEY_PREFIX`].
const ADMIN_KEY_PREFIX: &str = "admin";

/// Prefix of a workspace key's name, after [`KEY_PREFIX`]. The slug or id of the workspace follows.
const WORKSPACE_KEY_PREFIX: &str = "workspace-";

/// Suffix of keys that may only read.
const READ_ONLY_SUFFIX: &str = "-read";

/// Path prefixes that require an Admin key.
const ADMIN_PATHS: &[&str] = &[
    "/admin/organisation/",
    "/admin/users",
    "/api-keys/organisation/",
    "/audit-logs",
    "/deployments",
    "/scim/",
    "/secret-references",
    "/workspace-exclusions",
];

/// Arguments that name a collection.
const COLLECTION_ARGUMENTS: &[&str] = &["collection_id", "parent_collection_id"];

/// The caller of the API, identified by its key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    kind: KeyKind,
    read_only: bool,
}

#[derive(Clone, Debug, Default)]
enum KeyKind {
    /// A key without a kind, which has access to everything.
    #[default]
    Unrestricted,
    /// An Admin key, which belongs to the organisation and has no access to the data plane.
    Admin,
    /// A key of the workspace with this id.
    Workspace(String),
}

impl Caller {
    /// Determines the caller from its key.
    pub(crate) fn new(store: &Store, key: &str) -> Result<Self, ApiError> {
        let Some(name) = key.strip_prefix(KEY_PREFIX) else {
            return Ok(Self::default());
        };
        if api_keys::is_sandbox_secret(key) {
            let kind = match api_keys::find_workspace_id(store, key)? {
                Some(workspace) => KeyKind::Workspace(workspace),
                None => KeyKind::Admin,
            };
            return Ok(Self {
                kind,
                read_only: false,
            });
        }
        if let Some(named) = name.strip_prefix(WORKSPACE_KEY_PREFIX) {
            let id = |handle: &str| {
                workspaces::resolve(store, handle).map(|found| text(found, "id").to_owned())
            };
            let found = match (id(named), named.strip_suffix(READ_ONLY_SUFFIX)) {
                (Ok(id), _) => Some((id, false)),
                (Err(_), Some(named)) => id(named).ok().map(|id| (id, true)),
                (Err(_), None) => None,
            };
            let (id, read_only) = found.ok_or_else(|| {
                ApiError::RejectedKey(format!("The key's workspace `{named}` does not exist"))
            })?;
            return Ok(Self {
                kind: KeyKind::Workspace(id),
                read_only,
            });
        }
        let read_only = name.ends_with(READ_ONLY_SUFFIX);
        let is_admin = name
            .strip_prefix(ADMIN_KEY_PREFIX)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        Ok(Self {
            kind: if is_admin {
                KeyKind::Admin
            } else {
                KeyKind::Unrestricted
            },
            read_only,
        })
    }

    /// Returns true if the key has access to everything.
    pub(crate) const fn is_unrestricted(&self) -> bool {
        matches!(self.kind, KeyKind::Unrestricted)
    }

    /// Returns the id of the key's workspace, if it belongs to one.
    pub(crate) fn workspace_id(&self) -> Option<&str> {
        match &self.kind {
            KeyKind::Workspace(id) => Some(id),
            KeyKind::Unrestricted | KeyKind::Admin => None,
        }
    }

    /// Rejects calls that this kind of key may not make at all. `path` excludes the version prefix.
    pub(crate) fn authorize(&self, method: &Method, path: &str) -> Result<(), ApiError> {
        let refuse = |why: &str| Err(ApiError::Forbidden(why.to_owned()));
        let reads = *method == Method::GET || path.ends_with("/render");
        if self.read_only && !reads {
            return refuse("The key's scopes do not allow it to write");
        }
        match self.kind {
            KeyKind::Unrestricted => Ok(()),
            KeyKind::Admin if is_data_plane(method, path) => {
                refuse("An Admin key cannot call the data plane: use a workspace's key")
            }
            KeyKind::Admin => Ok(()),
            KeyKind::Workspace(_) if requires_admin_key(method, path) => {
                refuse("A workspace's key cannot do this: use an Admin key")
            }
            KeyKind::Workspace(_) => Ok(()),
        }
    }

    /// Restricts a call with a workspace's key to that workspace, whichever workspace it names.
    pub(crate) fn confine_to_workspace(&self, call: &mut ApiCall, action: RouteAction) {
        let Some(workspace) = self.workspace_id() else {
            return;
        };
        let is_scope_field = |name: &str| matches!(name, "workspace_id" | "organisation_id");
        call.query.retain(|(name, _)| !is_scope_field(name));
        call.query
            .push(("workspace_id".to_owned(), workspace.to_owned()));
        call.body.retain(|name, _| !is_scope_field(name));
        if matches!(action, RouteAction::Crud(CrudAction::Create, _)) && !call.body.is_empty() {
            call.body
                .insert("workspace_id".to_owned(), workspace.into());
        }
    }

    /// Rejects a call if the caller has no access to the item in its path, or to the collection
    /// that it names. `path` excludes the version prefix.
    pub(crate) fn authorize_item(
        &self,
        store: &Store,
        method: &Method,
        path: &str,
        call: &ApiCall,
    ) -> Result<(), ApiError> {
        if self.workspace_id().is_none() {
            return Ok(());
        }
        for name in COLLECTION_ARGUMENTS {
            let in_body = call.body.get(*name).and_then(Value::as_str);
            let Some(handle) = in_body.or_else(|| call.query(name)) else {
                continue;
            };
            let shelf = CollectionKey {
                kind: "collections",
                owner: ORGANISATION,
            };
            let found = store.find(shelf, handle);
            if found.is_some_and(|collection| !self.can_see(store, shelf.kind, collection)) {
                let why = format!("No collection `{handle}` is open to this key");
                return Err(ApiError::Forbidden(why));
            }
        }
        let Some(resource) = resource_for_path(path) else {
            return Ok(());
        };
        // A prompt's handle may include its version.
        let handle = call.handle().split('@').next().unwrap_or_default();
        let Some(item) = store.find(resource.organisation_collection(), handle) else {
            return Ok(());
        };
        let is_shared = text(item, "workspace_id").is_empty() && resource.kind != "workspaces";
        match self.can_see(store, resource.kind, item) && (*method == Method::GET || !is_shared) {
            true => Ok(()),
            false => {
                let object = resource.object;
                Err(ApiError::Forbidden(format!(
                    "No {object} `{handle}` is open to this key"
                )))
            }
        }
    }

    /// Returns true if the caller has access to an item of the organisation's collections.
    pub(crate) fn can_see(&self, store: &Store, kind: &str, item: &Item) -> bool {
        let Some(workspace) = self.workspace_id() else {
            return true;
        };
        match (kind, text(item, "workspace_id")) {
            ("workspaces", _) => text(item, "id") == workspace,
            ("api-keys", "") => false,
            (kind, "") => access::is_visible_to(store, kind, item, workspace),
            (_, of) => of == workspace,
        }
    }
}

fn is_data_plane(method: &Method, path: &str) -> bool {
    let posts = *method == Method::POST;
    path == "/feedback"
        || path.starts_with("/feedback/")
        || posts && (path == "/logs" || path.ends_with("/completions"))
}

fn requires_admin_key(method: &Method, path: &str) -> bool {
    let makes_workspace = *method == Method::POST && path == "/admin/workspaces";
    let removes_workspace = *method == Method::DELETE
        && path
            .strip_prefix("/admin/workspaces/")
            .is_some_and(|id| !id.contains('/'));
    makes_workspace
        || removes_workspace
        || ADMIN_PATHS.iter().any(|start| {
            let rest = path.strip_prefix(start);
            rest.is_some_and(|rest| {
                start.ends_with('/') || rest.is_empty() || rest.starts_with('/')
            })
        })
}

/// Returns the organisation's resource to which the item at a path belongs.
fn resource_for_path(path: &str) -> Option<&'static Resource> {
    let resources = domains::ALL
        .iter()
        .flat_map(|domain| domain.resources)
        .copied();
    resources
        .filter(|resource| matches!(resource.owner, ResourceOwner::Organisation))
        .filter(|resource| {
            path.strip_prefix(resource.path)
                .is_some_and(|rest| rest.len() > 1)
        })
        .max_by_key(|resource| resource.path.len())
}
