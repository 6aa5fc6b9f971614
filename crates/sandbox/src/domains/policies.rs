//! What budget and rate policies have in common: conditions, a workspace, and an archive for an end.

use crate::{
    call::{Call, id_of},
    check,
    crud::{self, Outcome, done},
    field::{Field, Kind, List, Shape},
    refusal::Refusal,
    resource::{Derive, Filter, FoundBy, Resource, Verb},
    store::{Item, ORGANISATION, Store, text},
};

static CONDITION: Shape = Shape {
    rule: check_key,
    ..Shape::of(&[
        Field::new("key", Kind::Name).required(),
        Field::new("value", Kind::TextOrTexts).required(),
        Field::new("excludes", Kind::TextOrTexts),
    ])
};

/// One condition or more.
pub(super) static CONDITIONS: List = List {
    least: 1,
    ..List::of(Kind::Shape(&CONDITION))
};

static GROUP: Shape = Shape {
    rule: check_key,
    ..Shape::of(&[Field::new("key", Kind::Name).required()])
};

/// One group or more.
pub(super) static GROUPS: List = List {
    least: 1,
    ..List::of(Kind::Shape(&GROUP))
};

/// The states of a policy.
const STATES: Kind = Kind::Choice(&["active", "archived"]);

/// Only in this state.
pub(super) const BY_STATUS: Filter = Filter::same("status", STATES);

/// The purpose of a policy, in at most 500 characters.
pub(super) const DESCRIPTION: Field = Field::new("description", Kind::TextUpTo(500)).nullable();

/// The state of a policy; `archived` takes it out of force.
pub(super) const STATUS: Field = Field::new("status", STATES);

fn check_key(item: &Item) -> Result<(), &'static str> {
    // Any other key is accepted, because the vendor adds keys.
    match text(item, "key").strip_prefix("metadata.") {
        Some("") => Err("has a key without a name"),
        _ => Ok(()),
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
    policy.entry("status").or_insert_with(|| "active".into());
    Ok(())
}

/// The policies of a workspace, or of all, which are the active ones unless others are asked for.
pub(super) fn list(policies: &Resource, store: &Store, call: &Call) -> Outcome {
    let mut query = call.query.clone();
    query.push(("status".to_owned(), "active".to_owned()));
    crud::list(
        policies,
        store,
        &Call {
            query,
            ..Call::default()
        },
    )
}

/// One policy, if it is in the state asked for.
pub(super) fn get(policies: &Resource, store: &Store, call: &Call) -> Outcome {
    let asked = call.query("status").unwrap_or("active");
    check::value(store, STATES, "status", &asked.into())?;
    in_state(policies, store, call, asked)?;
    crud::get(policies, store, call)
}

/// Changes a policy that is not archived.
pub(super) fn update(policies: &Resource, store: &mut Store, call: &Call) -> Outcome {
    in_state(policies, store, call, "active")?;
    crud::update(policies, store, call)
}

/// Takes a policy out of force; it stays to be read.
pub(super) fn archive(policies: &Resource, store: &mut Store, call: &Call) -> Outcome {
    let (id, now) = (
        id_of(in_state(policies, store, call, "active")?),
        store.clock.now(),
    );
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
            Err(Refusal::Missing {
                object: policies.object,
                handle,
            })
        }
    }
}
