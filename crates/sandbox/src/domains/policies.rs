//! Common parts of budget and rate policies: conditions, workspace, and archiving instead of
//! deletion.

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

/// At least one condition.
pub(super) static CONDITIONS: List = List {
    least: 1,
    ..List::of(Kind::Shape(&CONDITION))
};

static GROUP: Shape = Shape {
    rule: check_key,
    ..Shape::of(&[Field::new("key", Kind::Name).required()])
};

/// At least one group.
pub(super) static GROUPS: List = List {
    least: 1,
    ..List::of(Kind::Shape(&GROUP))
};

/// States of a policy.
const STATES: Kind = Kind::Choice(&["active", "archived"]);

/// Keeps the policies in the requested state.
pub(super) const BY_STATUS: Filter = Filter::same("status", STATES);

/// Purpose of a policy, at most 500 characters.
pub(super) const DESCRIPTION: Field = Field::new("description", Kind::TextUpTo(500)).nullable();

/// State of a policy; an `archived` one is not enforced.
pub(super) const STATUS: Field = Field::new("status", STATES);

fn check_key(item: &Item) -> Result<(), &'static str> {
    // Other keys are accepted, because the vendor adds keys.
    match text(item, "key").strip_prefix("metadata.") {
        Some("") => Err("has a key without a name"),
        _ => Ok(()),
    }
}

/// Returns the common declaration of both kinds of policy, without their fields and views.
pub(super) const fn resource(
    kind: &'static str,
    object: &'static str,
    path: &'static str,
) -> Resource {
    Resource {
        // The other actions depend on the state of the policy.
        verbs: &[Verb::Create],
        found_by: FoundBy::Id,
        derived: &[TARGET],
        creates: &["id", "object"],
        ..Resource::new(kind, object, path)
    }
}

/// Target of a policy, omitted if not set.
pub(super) const TARGET: (&str, Derive) = ("target", |_, _, policy| policy.get("target").cloned());

/// Assigns a new policy to its workspace.
pub(super) fn place(store: &Store, call: &Call, policy: &mut Item) -> Result<(), Refusal> {
    policy.insert("workspace_id".to_owned(), call.workspace(store)?.into());
    policy.entry("status").or_insert_with(|| "active".into());
    Ok(())
}

/// Lists the policies of one or all workspaces; the active ones unless another state is requested.
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

/// Returns one policy, if it is in the requested state.
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

/// Archives a policy, which can still be read.
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

/// Returns the policy that the path names, if it is in this state.
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
