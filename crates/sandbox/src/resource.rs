//! What a resource is: a declaration from which the five ordinary actions follow.
//!
//! A new one is a `static` of this type in its domain's room; [`super::crud`] does the rest.

use serde_json::Value;

use super::{
    call::Call,
    field::{Field, Kind},
    page::{Envelope, Paging},
    refusal::Refusal,
    store::{Item, ORGANISATION, Shelf, Store},
};

/// A kind of thing that is created, listed, read, updated and deleted under one path.
pub(crate) struct Resource {
    /// What the store keeps it under.
    pub(crate) kind: &'static str,
    /// What an item calls itself in its `object` field.
    pub(crate) object: &'static str,
    /// Path of the collection; an item's path has its handle after it.
    pub(crate) path: &'static str,
    /// The actions there are.
    pub(crate) verbs: &'static [Verb],
    /// Whose the items are.
    pub(crate) owner: Owner,
    /// What names an item in a path.
    pub(crate) found_by: FoundBy,
    /// What a missing item is answered with.
    pub(crate) missing: Missing,
    /// What a slug made from a name begins with.
    pub(crate) slug_prefix: &'static str,
    /// The number of characters of the name that such a slug keeps.
    pub(crate) slug_name_length: usize,
    /// What a body may hold.
    pub(crate) fields: &'static [Field],
    /// Fields masked wherever an object that is read holds them.
    pub(crate) secrets: &'static [&'static str],
    /// Fields that are worked out when they are read.
    pub(crate) derived: &'static [(&'static str, Derive)],
    /// How a list is asked for and answered.
    pub(crate) list: Listing,
    /// The fields an item is read with. `masked_<field>` stands for a secret's masked form.
    pub(crate) reads: &'static [&'static str],
    /// The fields a create answers with.
    pub(crate) creates: &'static [&'static str],
    /// The fields an update answers with.
    pub(crate) updates: &'static [&'static str],
    /// What is special about its writes.
    pub(crate) hooks: Hooks,
}

/// Works out a field of an item from what is stored; with nothing it is left out.
pub(crate) type Derive = fn(&Store, &Call, &Item) -> Option<Value>;

/// One of the ordinary actions.
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
    /// All five.
    pub(crate) const ALL: &'static [Self] = &[
        Self::List,
        Self::Create,
        Self::Get,
        Self::Update,
        Self::Delete,
    ];
}

/// Whose the items of a resource are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The organisation's.
    Organisation,
    /// A workspace's, which each call has to name.
    Workspace,
}

/// What names an item in a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FoundBy {
    /// Its id.
    Id,
    /// Its slug.
    Slug,
    /// Its id or its slug.
    IdOrSlug,
}

/// What a missing item is answered with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    /// 404.
    NotFound,
    /// 403, as if it were there for others.
    Forbidden,
}

/// How a list is asked for and answered.
pub(crate) struct Listing {
    /// How it is cut.
    pub(crate) paging: Paging,
    /// What is around it.
    pub(crate) envelope: Envelope,
    /// What can be asked of its items.
    pub(crate) filters: &'static [Filter],
    /// The fields an item is listed with.
    pub(crate) shows: &'static [&'static str],
}

impl Listing {
    /// Pages of 100 in the usual envelope, without filters.
    pub(crate) const USUAL: Self = Self {
        paging: Paging::zero_based(100, usize::MAX),
        envelope: Envelope::LIST,
        filters: &[],
        shows: &[],
    };
}

/// A query argument that keeps some of a list's items.
pub(crate) struct Filter {
    /// The argument's name.
    pub(crate) param: &'static str,
    /// What it must be.
    pub(crate) kind: Kind,
    /// Whether an item is kept, given the argument as checked; with nothing, its field of the
    /// argument's name must be the same.
    pub(crate) keeps: Option<Keeps>,
}

/// Decides on an item of a list, given an argument as checked.
pub(crate) type Keeps = fn(&Store, &Item, &Value) -> bool;

impl Filter {
    /// Keeps the items whose field of this name is what was asked for.
    pub(crate) const fn same(param: &'static str, kind: Kind) -> Self {
        Self {
            param,
            kind,
            keeps: None,
        }
    }

    /// Whether an item is kept.
    pub(crate) fn passes(&self, store: &Store, item: &Item, asked: &Value) -> bool {
        match self.keeps {
            Some(keeps) => keeps(store, item, asked),
            None => item.get(self.param) == Some(asked),
        }
    }
}

/// What is special about a resource's writes. Each hook runs between the checks all resources
/// share and the change itself; only `created` comes after it and cannot refuse.
pub(crate) struct Hooks {
    /// The last word on a write: it may refuse it, or alter what is about to be stored.
    pub(crate) admit: fn(&Store, &Call, Draft<'_>) -> Result<(), Refusal>,
    /// The last word on a removal.
    pub(crate) release: fn(&Store, &Call, &Item) -> Result<(), Refusal>,
    /// What a new item, named by its shelf and id, brings with it.
    pub(crate) created: fn(&mut Store, Shelf<'_>, &str),
}

impl Hooks {
    /// Nothing is special.
    pub(crate) const NONE: Self = Self {
        admit: |_, _, _| Ok(()),
        release: |_, _, _| Ok(()),
        created: |_, _, _| {},
    };
}

/// A write that is about to happen.
pub(crate) struct Draft<'a> {
    /// The item as it stands; nothing when it is being created.
    pub(crate) before: Option<&'a Item>,
    /// The fields about to be stored, already checked one by one.
    pub(crate) change: &'a mut Item,
}

impl Resource {
    /// The organisation's, found by id or slug, with all five actions and nothing special; its
    /// fields and what is shown of it remain to be said.
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

    /// Where the items a call is about stand, given the id of their owner.
    pub(crate) fn shelf<'a>(&self, owner: &'a str) -> Shelf<'a> {
        Shelf {
            kind: self.kind,
            owner,
        }
    }

    /// Where the items stand when they are the organisation's.
    pub(crate) fn shared(&self) -> Shelf<'static> {
        self.shelf(ORGANISATION)
    }

    /// The item with this id, which the caller has just stored or found.
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

    /// The item a handle names, which must be one this resource can be found by.
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
