//! Resources: declarations from which the five standard actions follow.
//!
//! A new resource is a `static` of this type in the module of its domain. [`super::crud`]
//! implements its actions.

use serde_json::Value;

use super::{
    api_error::ApiError,
    call::ApiCall,
    field::{Field, FieldType},
    page::{Envelope, Paging},
    store::{CollectionKey, Item, ORGANISATION, Store},
};

/// A resource with the actions create, list, read, update and delete under one path.
pub(crate) struct Resource {
    /// Kind under which the store keeps the items.
    pub(crate) kind: &'static str,
    /// Value of an item's `object` field.
    pub(crate) object: &'static str,
    /// Path of the collection. An item's path ends with its handle.
    pub(crate) path: &'static str,
    /// Supported actions.
    pub(crate) actions: &'static [CrudAction],
    /// Owner of the items.
    pub(crate) owner: ResourceOwner,
    /// Handle of an item in a path.
    pub(crate) lookup_key: LookupKey,
    /// Response for a missing item.
    pub(crate) missing_response: MissingResponse,
    /// Prefix of generated slugs.
    pub(crate) slug_prefix: &'static str,
    /// Number of characters of the name in a generated slug.
    pub(crate) slug_name_length: usize,
    /// Fields of a request body.
    pub(crate) fields: &'static [Field],
    /// Fields that are masked in all objects of a response.
    pub(crate) secret_fields: &'static [&'static str],
    /// Fields that are computed when an item is read.
    pub(crate) derived_fields: &'static [(&'static str, DeriveField)],
    /// Settings of the list action.
    pub(crate) list: ListSettings,
    /// Fields of an item when it is read. `masked_<field>` is the masked form of a secret.
    pub(crate) read_fields: &'static [&'static str],
    /// Fields in the response to a create.
    pub(crate) create_fields: &'static [&'static str],
    /// Fields in the response to an update.
    pub(crate) update_fields: &'static [&'static str],
    /// Special behaviour of writes.
    pub(crate) hooks: Hooks,
}

/// Computes a field from a stored item; `None` omits the field.
pub(crate) type DeriveField = fn(&Store, &ApiCall, &Item) -> Option<Value>;

/// A standard action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrudAction {
    /// `GET` on the collection.
    List,
    /// `POST` on the collection.
    Create,
    /// `GET` on an item.
    Get,
    /// `PUT` on an item.
    Update,
    /// `DELETE` on an item.
    Delete,
}

impl CrudAction {
    /// All standard actions.
    pub(crate) const ALL: &'static [Self] = &[
        Self::List,
        Self::Create,
        Self::Get,
        Self::Update,
        Self::Delete,
    ];
}

/// Owner of a resource's items.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResourceOwner {
    /// The organisation owns the items.
    Organisation,
    /// A workspace owns the items, and each call must name it.
    Workspace,
}

/// Handle that identifies an item in a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LookupKey {
    /// Only the id.
    Id,
    /// Only the slug.
    Slug,
    /// The id or the slug.
    IdOrSlug,
}

/// Response for a missing item.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MissingResponse {
    /// 404.
    NotFound,
    /// 403, as for an item that others have access to.
    Forbidden,
}

/// Settings of a list action.
pub(crate) struct ListSettings {
    /// Paging of the list.
    pub(crate) paging: Paging,
    /// Envelope of a page.
    pub(crate) envelope: Envelope,
    /// Supported filters.
    pub(crate) filters: &'static [ListFilter],
    /// Fields of a listed item.
    pub(crate) item_fields: &'static [&'static str],
}

impl ListSettings {
    /// Pages of 100 items in the default envelope, without filters.
    pub(crate) const DEFAULT: Self = Self {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[],
        item_fields: &[],
    };
}

/// A query argument that filters a list.
pub(crate) struct ListFilter {
    /// Name of the argument.
    pub(crate) param: &'static str,
    /// Type of the argument.
    pub(crate) kind: FieldType,
    /// Predicate for items, given the validated argument. Without one, the field with the
    /// argument's name must be equal to it.
    pub(crate) predicate: Option<FilterPredicate>,
}

/// Tests an item against a validated argument.
pub(crate) type FilterPredicate = fn(&Store, &Item, &Value) -> bool;

impl ListFilter {
    /// Keeps the items whose field with this name equals the argument.
    pub(crate) const fn equals(param: &'static str, kind: FieldType) -> Self {
        Self {
            param,
            kind,
            predicate: None,
        }
    }

    /// Returns true if the item matches the argument.
    pub(crate) fn matches(&self, store: &Store, item: &Item, asked: &Value) -> bool {
        match self.predicate {
            Some(keeps) => keeps(store, item, asked),
            None => item.get(self.param) == Some(asked),
        }
    }
}

/// Special behaviour of writes. Hooks run between the standard validation and the change. Only
/// `after_create` runs afterwards and cannot reject the write.
pub(crate) struct Hooks {
    /// Rejects a write or alters the fields to be stored.
    pub(crate) before_write: fn(&Store, &ApiCall, PendingWrite<'_>) -> Result<(), ApiError>,
    /// Rejects a removal.
    pub(crate) before_delete: fn(&Store, &ApiCall, &Item) -> Result<(), ApiError>,
    /// Completes a new item, given its collection and id.
    pub(crate) after_create: fn(&mut Store, CollectionKey<'_>, &str),
}

impl Hooks {
    /// No special behaviour.
    pub(crate) const NONE: Self = Self {
        before_write: |_, _, _| Ok(()),
        before_delete: |_, _, _| Ok(()),
        after_create: |_, _, _| {},
    };
}

/// A validated write that has not been applied yet.
pub(crate) struct PendingWrite<'a> {
    /// The existing item; `None` on creation.
    pub(crate) before: Option<&'a Item>,
    /// Fields to be stored, each validated separately.
    pub(crate) change: &'a mut Item,
}

impl Resource {
    /// Declares a resource of the organisation, found by id or slug, with all standard actions.
    /// Fields and views must be added.
    pub(crate) const fn new(kind: &'static str, object: &'static str, path: &'static str) -> Self {
        Self {
            kind,
            object,
            path,
            actions: CrudAction::ALL,
            owner: ResourceOwner::Organisation,
            lookup_key: LookupKey::IdOrSlug,
            missing_response: MissingResponse::NotFound,
            slug_prefix: "",
            slug_name_length: 15,
            fields: &[],
            secret_fields: &[],
            derived_fields: &[],
            list: ListSettings::DEFAULT,
            read_fields: &[],
            create_fields: &["id", "slug"],
            update_fields: &[],
            hooks: Hooks::NONE,
        }
    }

    /// Returns the collection of the items of an owner.
    pub(crate) fn collection_key<'a>(&self, owner: &'a str) -> CollectionKey<'a> {
        CollectionKey {
            kind: self.kind,
            owner,
        }
    }

    /// Returns the collection of the organisation's items.
    pub(crate) fn organisation_collection(&self) -> CollectionKey<'static> {
        self.collection_key(ORGANISATION)
    }

    /// Returns an item by an id that the caller has just stored or found.
    pub(crate) fn find_stored<'s>(
        &self,
        store: &'s Store,
        owner: &str,
        id: &str,
    ) -> Result<&'s Item, ApiError> {
        let missing = || ApiError::NotFound {
            object: self.object,
            handle: id.to_owned(),
        };
        store
            .find(self.collection_key(owner), id)
            .ok_or_else(missing)
    }

    /// Returns an item by a handle of the supported kind.
    pub(crate) fn find<'s>(
        &self,
        store: &'s Store,
        owner: &str,
        handle: &str,
    ) -> Result<&'s Item, ApiError> {
        let found = store
            .find(self.collection_key(owner), handle)
            .filter(|item| match self.lookup_key {
                LookupKey::Id => item.get("id").is_some_and(|id| id == handle),
                LookupKey::Slug => item.get("slug").is_some_and(|slug| slug == handle),
                LookupKey::IdOrSlug => true,
            });
        found.ok_or_else(|| match self.missing_response {
            MissingResponse::NotFound => ApiError::NotFound {
                object: self.object,
                handle: handle.to_owned(),
            },
            MissingResponse::Forbidden => {
                ApiError::Forbidden(format!("No {} `{handle}` is open to this key", self.object))
            }
        })
    }
}
