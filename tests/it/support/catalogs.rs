//! Catalogs as servers offer them.

use portkey_api::catalog::Catalog;

/// Returns the operations that a server offers by default: all but the preview operations.
pub(crate) fn default_catalog() -> Catalog {
    Catalog::full().without_previews(|_, _| false)
}
