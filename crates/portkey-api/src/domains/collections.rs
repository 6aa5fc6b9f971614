//! Collections: the folders of a workspace's prompts.

use portkey_operation::{Operation, UpdateRules, delete, get, post, put};
use schemars::JsonSchema;
use serde::Deserialize;

/// Operations of the domain `collections`.
pub const OPERATIONS: &[Operation] = &[
    get::<ListCollections>("list-collections", "/collections")
        .with_search_terms(&[
            "prompt folders",
            "directories",
            "folder overview",
            "Ordner anzeigen",
        ])
        .scopes(&["prompts.list"]),
    post::<CreateCollection>("create-collection", "/collections")
        .with_search_terms(&["new directory", "make group", "subfolder", "Ordner anlegen"])
        .scopes(&["prompts.create"]),
    get::<GetCollection>("get-collection", "/collections/{collection_id}")
        .with_search_terms(&[
            "open folder",
            "subfolders",
            "contents of a directory",
            "Ordner",
        ])
        .scopes(&["prompts.read"]),
    put::<UpdateCollection>("update-collection", "/collections/{collection_id}")
        .with_update(
            UpdateRules::read_by("get-collection").with_create_only(&["parent_collection_id"]),
        )
        .with_search_terms(&[
            "prompt folder name",
            "relabel directory",
            "edit",
            "Ordner umbenennen",
        ])
        .scopes(&["prompts.update"]),
    delete::<DeleteCollection>("delete-collection", "/collections/{collection_id}")
        .with_search_terms(&["folder", "directory", "drop", "Ordner löschen"])
        .scopes(&["prompts.delete"]),
];

/// List collections
///
/// Returns a workspace's prompt collections and how much is in each, one page at a time.
#[derive(Deserialize, JsonSchema)]
pub struct ListCollections {
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Zero-based.
    pub current_page: Option<u32>,
    /// Items per page.
    #[schemars(range(min = 1))]
    pub page_size: Option<u32>,
    /// Part of the name.
    pub search: Option<String>,
}

/// Create a collection
///
/// Adds a folder for prompts, on top or inside another one; returns id and slug.
#[derive(Deserialize, JsonSchema)]
pub struct CreateCollection {
    /// Name.
    ///
    /// Required: OpenAPI; Terraform always sends it.
    pub name: String,
    /// UUID or slug; Admin keys need it.
    pub workspace_id: Option<String>,
    /// Collection around it, by UUID or slug.
    pub parent_collection_id: Option<String>,
}

/// Get a collection
///
/// Returns one collection and the collections directly inside it.
#[derive(Deserialize, JsonSchema)]
pub struct GetCollection {
    /// UUID or slug.
    pub collection_id: String,
}

/// Rename a collection
///
/// Changes its name.
#[derive(Deserialize, JsonSchema)]
pub struct UpdateCollection {
    /// UUID or slug.
    pub collection_id: String,
    /// Name.
    ///
    /// Required: OpenAPI; there is nothing else to change.
    pub name: String,
}

/// Delete a collection
///
/// Removes the collection; first move out the prompts that should stay. 404 also means that it is the
/// workspace's default, which cannot go. This cannot be undone.
#[derive(Deserialize, JsonSchema)]
pub struct DeleteCollection {
    /// UUID or slug.
    pub collection_id: String,
    /// Also delete the collections and prompts inside.
    pub cascade: Option<bool>,
}
