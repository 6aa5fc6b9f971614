//! Callers: the kind of a key, as derived from its text, and the permissions of that kind.

use http::Method;
use serde_json::Value;

use super::{
    KEY_PREFIX,
    call::Call,
    domains::{self, access, api_keys, workspaces},
    refusal::Refusal,
    resource::{Owner, Resource, Verb},
    route::Action,
    store::{Item, ORGANISATION, Shelf, Store, text},
};

/// Prefix of an Admin key's name, after [`KEY_PREFIX`].
const ADMIN: &str = "admin";

/// Prefix of a workspace key's name, after [`KEY_PREFIX`]. The slug or id of the workspace follows.
const WORKSPACE: &str = "workspace-";

/// Suffix of keys that may only read.
const READ_ONLY: &str = "-read";

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
const COLLECTIONS: &[&str] = &["collection_id", "parent_collection_id"];

/// The caller of the API, identified by its key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    kind: Kind,
    read_only: bool,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    /// A key without a kind, which has access to everything.
    #[default]
    Any,
    /// An Admin key, which belongs to the organisation and has no access to the data plane.
    Admin,
    /// A key of the workspace with this id.
    Workspace(String),
}

impl Caller {
    /// Determines the caller from its key.
    pub(crate) fn new(store: &Store, key: &str) -> Result<Self, Refusal> {
        let Some(name) = key.strip_prefix(KEY_PREFIX) else {
            return Ok(Self::default());
        };
        if api_keys::is_secret(key) {
            let kind = match api_keys::workspace_of(store, key)? {
                Some(workspace) => Kind::Workspace(workspace),
                None => Kind::Admin,
            };
            return Ok(Self {
                kind,
                read_only: false,
            });
        }
        if let Some(named) = name.strip_prefix(WORKSPACE) {
            let id = |handle: &str| {
                workspaces::resolve(store, handle).map(|found| text(found, "id").to_owned())
            };
            let found = match (id(named), named.strip_suffix(READ_ONLY)) {
                (Ok(id), _) => Some((id, false)),
                (Err(_), Some(named)) => id(named).ok().map(|id| (id, true)),
                (Err(_), None) => None,
            };
            let (id, read_only) = found.ok_or_else(|| {
                Refusal::NotAuthorised(format!("The key's workspace `{named}` does not exist"))
            })?;
            return Ok(Self {
                kind: Kind::Workspace(id),
                read_only,
            });
        }
        let read_only = name.ends_with(READ_ONLY);
        let is_admin = name
            .strip_prefix(ADMIN)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        Ok(Self {
            kind: if is_admin { Kind::Admin } else { Kind::Any },
            read_only,
        })
    }

    /// Returns true if the key has access to everything.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.kind, Kind::Any)
    }

    /// Returns the id of the key's workspace, if it belongs to one.
    pub(crate) fn workspace(&self) -> Option<&str> {
        match &self.kind {
            Kind::Workspace(id) => Some(id),
            Kind::Any | Kind::Admin => None,
        }
    }

    /// Rejects calls that this kind of key may not make at all. `path` excludes the version prefix.
    pub(crate) fn authorize(&self, method: &Method, path: &str) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(Refusal::Forbidden(why.to_owned()));
        let reads = *method == Method::GET || path.ends_with("/render");
        if self.read_only && !reads {
            return refuse("The key's scopes do not allow it to write");
        }
        match self.kind {
            Kind::Any => Ok(()),
            Kind::Admin if is_data_plane(method, path) => {
                refuse("An Admin key cannot call the data plane: use a workspace's key")
            }
            Kind::Admin => Ok(()),
            Kind::Workspace(_) if is_for_admins(method, path) => {
                refuse("A workspace's key cannot do this: use an Admin key")
            }
            Kind::Workspace(_) => Ok(()),
        }
    }

    /// Restricts a call with a workspace's key to that workspace, whichever workspace it names.
    pub(crate) fn confine(&self, call: &mut Call, action: Action) {
        let Some(workspace) = self.workspace() else {
            return;
        };
        let says_where = |name: &str| matches!(name, "workspace_id" | "organisation_id");
        call.query.retain(|(name, _)| !says_where(name));
        call.query
            .push(("workspace_id".to_owned(), workspace.to_owned()));
        call.body.retain(|name, _| !says_where(name));
        if matches!(action, Action::Ordinary(Verb::Create, _)) && !call.body.is_empty() {
            call.body
                .insert("workspace_id".to_owned(), workspace.into());
        }
    }

    /// Rejects a call if the caller has no access to the item in its path, or to the collection
    /// that it names. `path` excludes the version prefix.
    pub(crate) fn check_item(
        &self,
        store: &Store,
        method: &Method,
        path: &str,
        call: &Call,
    ) -> Result<(), Refusal> {
        if self.workspace().is_none() {
            return Ok(());
        }
        for name in COLLECTIONS {
            let in_body = call.body.get(*name).and_then(Value::as_str);
            let Some(handle) = in_body.or_else(|| call.query(name)) else {
                continue;
            };
            let shelf = Shelf {
                kind: "collections",
                owner: ORGANISATION,
            };
            let found = store.find(shelf, handle);
            if found.is_some_and(|collection| !self.sees(store, shelf.kind, collection)) {
                let why = format!("No collection `{handle}` is open to this key");
                return Err(Refusal::Forbidden(why));
            }
        }
        let Some(resource) = resource_of(path) else {
            return Ok(());
        };
        // A prompt's handle may include its version.
        let handle = call.handle().split('@').next().unwrap_or_default();
        let Some(item) = store.find(resource.shared(), handle) else {
            return Ok(());
        };
        let is_shared = text(item, "workspace_id").is_empty() && resource.kind != "workspaces";
        match self.sees(store, resource.kind, item) && (*method == Method::GET || !is_shared) {
            true => Ok(()),
            false => {
                let object = resource.object;
                Err(Refusal::Forbidden(format!(
                    "No {object} `{handle}` is open to this key"
                )))
            }
        }
    }

    /// Returns true if the caller has access to an item of the organisation's collections.
    pub(crate) fn sees(&self, store: &Store, kind: &str, item: &Item) -> bool {
        let Some(workspace) = self.workspace() else {
            return true;
        };
        match (kind, text(item, "workspace_id")) {
            ("workspaces", _) => text(item, "id") == workspace,
            ("api-keys", "") => false,
            (kind, "") => access::is_open_to(store, kind, item, workspace),
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

fn is_for_admins(method: &Method, path: &str) -> bool {
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
fn resource_of(path: &str) -> Option<&'static Resource> {
    let resources = domains::ALL
        .iter()
        .flat_map(|domain| domain.resources)
        .copied();
    resources
        .filter(|resource| matches!(resource.owner, Owner::Organisation))
        .filter(|resource| {
            path.strip_prefix(resource.path)
                .is_some_and(|rest| rest.len() > 1)
        })
        .max_by_key(|resource| resource.path.len())
}
