//! Resources: declarations from which the five standard actions follow.
//!
//! A new resource is a `static` of this type in the module of its domain. [`super::crud`]
//! implements its actions.

use serde_json::Value;

use super::{
    call::Call,
    field::{Field, Kind},
    page::{Envelope, Paging},
    refusal::Refusal,
    store::{Item, ORGANISATION, Shelf, Store},
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
    pub(crate) verbs: &'static [Verb],
    /// Owner of the items.
    pub(crate) owner: Owner,
    /// Handle of an item in a path.
    pub(crate) found_by: FoundBy,
    /// Response for a missing item.
    pub(crate) missing: Missing,
    /// Prefix of generated slugs.
    pub(crate) slug_prefix: &'static str,
    /// Number of characters of the name in a generated slug.
    pub(crate) slug_name_length: usize,
    /// Fields of a request body.
    pub(crate) fields: &'static [Field],
    /// Fields that are masked in all objects of a response.
    pub(crate) secrets: &'static [&'static str],
    /// Fields that are computed when an item is read.
    pub(crate) derived: &'static [(&'static str, Derive)],
    /// Settings of the list action.
    pub(crate) list: Listing,
    /// Fields of an item when it is read. `masked_<field>` is the masked form of a secret.
    pub(crate) reads: &'static [&'static str],
    /// Fields in the response to a create.
    pub(crate) creates: &'static [&'static str],
    /// Fields in the response to an update.
    pub(crate) updates: &'static [&'static str],
    /// Special behaviour of writes.
    pub(crate) hooks: Hooks,
}

/// Computes a field from a stored item; `None` omits the field.
pub(crate) type Derive = fn(&Store, &Call, &Item) -> Option<Value>;

/// A standard action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
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

impl Verb {
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
pub(crate) enum Owner {
    /// The organisation owns the items.
    Organisation,
    /// A workspace owns the items, and each call must name it.
    Workspace,
}

/// Handle that identifies an item in a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FoundBy {
    /// Only the id.
    Id,
    /// Only the slug.
    Slug,
    /// The id or the slug.
    IdOrSlug,
}

/// Response for a missing item.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    /// 404.
    NotFound,
    /// 403, as for an item that others have access to.
    Forbidden,
}

/// Settings of a list action.
pub(crate) struct Listing {
    /// Paging of the list.
    pub(crate) paging: Paging,
    /// Envelope of a page.
    pub(crate) envelope: Envelope,
    /// Supported filters.
    pub(crate) filters: &'static [Filter],
    /// Fields of a listed item.
    pub(crate) shows: &'static [&'static str],
}

impl Listing {
    /// Pages of 100 items in the default envelope, without filters.
    pub(crate) const USUAL: Self = Self {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[],
        shows: &[],
    };
}

/// A query argument that filters a list.
pub(crate) struct Filter {
    /// Name of the argument.
    pub(crate) param: &'static str,
    /// Type of the argument.
    pub(crate) kind: Kind,
    /// Predicate for items, given the validated argument. Without one, the field with the
    /// argument's name must be equal to it.
    pub(crate) keeps: Option<Keeps>,
}

/// Tests an item against a validated argument.
pub(crate) type Keeps = fn(&Store, &Item, &Value) -> bool;

impl Filter {
    /// Keeps the items whose field with this name equals the argument.
    pub(crate) const fn same(param: &'static str, kind: Kind) -> Self {
        Self {
            param,
            kind,
            keeps: None,
        }
    }

    /// Returns true if the item matches the argument.
    pub(crate) fn passes(&self, store: &Store, item: &Item, asked: &Value) -> bool {
        match self.keeps {
            Some(keeps) => keeps(store, item, asked),
            None => item.get(self.param) == Some(asked),
        }
    }
}

/// Special behaviour of writes. Hooks run between the standard validation and the change. Only
/// `after_create` runs afterwards and cannot reject the write.
pub(crate) struct Hooks {
    /// Rejects a write or alters the fields to be stored.
    pub(crate) admit: fn(&Store, &Call, Draft<'_>) -> Result<(), Refusal>,
    /// Rejects a removal.
    pub(crate) release: fn(&Store, &Call, &Item) -> Result<(), Refusal>,
    /// Completes a new item, given its collection and id.
    pub(crate) created: fn(&mut Store, Shelf<'_>, &str),
}

impl Hooks {
    /// No special behaviour.
    pub(crate) const NONE: Self = Self {
        admit: |_, _, _| Ok(()),
        release: |_, _, _| Ok(()),
        created: |_, _, _| {},
    };
}

/// A validated write that has not been applied yet.
pub(crate) struct Draft<'a> {
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
            verbs: Verb::ALL,
            owner: Owner::Organisation,
            found_by: FoundBy::IdOrSlug,
            missing: Missing::NotFound,
            slug_prefix: "",
            slug_name_length: 15,
            fields: &[],
            secrets: &[],
            derived: &[],
            list: Listing::USUAL,
            reads: &[],
            creates: &["id", "slug"],
            updates: &[],
            hooks: Hooks::NONE,
        }
    }

    /// Returns the collection of the items of an owner.
    pub(crate) fn shelf<'a>(&self, owner: &'a str) -> Shelf<'a> {
        Shelf {
            kind: self.kind,
            owner,
        }
    }

    /// Returns the collection of the organisation's items.
    pub(crate) fn shared(&self) -> Shelf<'static> {
        self.shelf(ORGANISATION)
    }

    /// Returns an item by an id that the caller has just stored or found.
    pub(crate) fn find_stored<'s>(
        &self,
        store: &'s Store,
        owner: &str,
        id: &str,
    ) -> Result<&'s Item, Refusal> {
        let missing = || Refusal::Missing {
            object: self.object,
            handle: id.to_owned(),
        };
        store.find(self.shelf(owner), id).ok_or_else(missing)
    }

    /// Returns an item by a handle of the supported kind.
    pub(crate) fn find<'s>(
        &self,
        store: &'s Store,
        owner: &str,
        handle: &str,
    ) -> Result<&'s Item, Refusal> {
        let found = store
            .find(self.shelf(owner), handle)
            .filter(|item| match self.found_by {
                FoundBy::Id => item.get("id").is_some_and(|id| id == handle),
                FoundBy::Slug => item.get("slug").is_some_and(|slug| slug == handle),
                FoundBy::IdOrSlug => true,
            });
        found.ok_or_else(|| match self.missing {
            Missing::NotFound => Refusal::Missing {
                object: self.object,
                handle: handle.to_owned(),
            },
            Missing::Forbidden => {
                Refusal::Forbidden(format!("No {} `{handle}` is open to this key", self.object))
            }
        })
    }
}
