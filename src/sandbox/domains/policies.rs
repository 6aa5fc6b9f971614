//! What budget and rate policies have in common: conditions, a workspace, and an archive for an end.

use crate::{
    call::{Call, id_of},
    crud::{self, Outcome, done},
    field::{Field, Kind, List, Shape},
    refusal::Refusal,
    resource::{Derive, Filter, FoundBy, Resource, Verb},
    store::{Item, ORGANISATION, Store, text},
};

/// What conditions and groups may look at, beside `mcp_…` and `metadata.{name}`.
const KEYS: [&str; 9] = [
    "api_key",
    "organisation_id",
    "workspace_id",
    "virtual_key",
    "provider",
    "config",
    "prompt",
    "model",
    "endpoint_type",
];

static CONDITION: Shape = Shape {
    rule: check_key,
    ..Shape::of(&[
        Field::new("key", Kind::Name).required(),
        Field::new("value", Kind::TextOrTexts).required(),
        Field::new("excludes", Kind::TextOrTexts),
    ])
};

/// One condition or more.
pub(super) static CONDITIONS: List = List { least: 1, ..List::of(Kind::Shape(&CONDITION)) };

static GROUP: Shape =
    Shape { rule: check_key, ..Shape::of(&[Field::new("key", Kind::Name).required()]) };

/// One group or more.
pub(super) static GROUPS: List = List { least: 1, ..List::of(Kind::Shape(&GROUP)) };

/// Only in this state.
pub(super) const BY_STATUS: Filter = Filter::same("status", Kind::Choice(&["active", "archived"]));

fn check_key(item: &Item) -> Result<(), &'static str> {
    let key = text(item, "key");
    let named = |prefix: &str| key.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    match KEYS.contains(&key) || named("mcp_") || named("metadata.") {
        true => Ok(()),
        false => Err("has a key that no request has"),
    }
}

/// What both kinds of policy begin from; their fields and what is shown of them remain to be said.
pub(super) const fn resource(
    kind: &'static str,
    object: &'static str,
    path: &'static str,
) -> Resource {
    Resource {
        // The rest of what can be done depends on the state a policy is in.
        verbs: &[Verb::Create],
        found_by: FoundBy::Id,
        derived: &[TARGET],
        creates: &["id", "object"],
        ..Resource::new(kind, object, path)
    }
}

/// What a policy is on, left out when it was not said.
pub(super) const TARGET: (&str, Derive) = ("target", |_, _, policy| policy.get("target").cloned());

/// Puts a new policy into its workspace.
pub(super) fn place(store: &Store, call: &Call, policy: &mut Item) -> Result<(), Refusal> {
    policy.insert("workspace_id".to_owned(), call.workspace(store)?.into());
    policy.insert("status".to_owned(), "active".into());
    Ok(())
}

/// A workspace's policies, which are its active ones unless others are asked for.
pub(super) fn list(policies: &Resource, store: &Store, call: &Call) -> Outcome {
    call.workspace(store)?;
    let mut query = call.query.clone();
    query.push(("status".to_owned(), "active".to_owned()));
    crud::list(policies, store, &Call { query, ..Call::default() })
}

/// One policy, if it is in the state asked for.
pub(super) fn get(policies: &Resource, store: &Store, call: &Call) -> Outcome {
    in_state(policies, store, call, call.query("status").unwrap_or("active"))?;
    crud::get(policies, store, call)
}

/// Changes a policy that is not archived.
pub(super) fn update(policies: &Resource, store: &mut Store, call: &Call) -> Outcome {
    in_state(policies, store, call, "active")?;
    crud::update(policies, store, call)
}

/// Takes a policy out of force; it stays to be read.
pub(super) fn archive(policies: &Resource, store: &mut Store, call: &Call) -> Outcome {
    let (id, now) = (id_of(in_state(policies, store, call, "active")?), store.clock.now());
    if let Some(policy) = store.find_mut(policies.shared(), &id) {
        policy.insert("status".to_owned(), "archived".into());
        policy.insert("last_updated_at".to_owned(), now.into());
    }
    Ok(done())
}

/// The policy a path names, in this state.
pub(super) fn in_state<'s>(
    policies: &Resource,
    store: &'s Store,
    call: &Call,
    status: &str,
) -> Result<&'s Item, Refusal> {
    let policy = policies.find(store, ORGANISATION, call.handle())?;
    match text(policy, "status") == status {
        true => Ok(policy),
        false => {
            let handle = call.handle().to_owned();
            Err(Refusal::Missing { object: policies.object, handle })
        }
    }
}
