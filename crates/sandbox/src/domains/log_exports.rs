//! Log exports: jobs that are drafted, started, and completed or cancelled.

use serde_json::{Value, json};

use super::{analytics, users, workspaces};
use crate::{
    call::{Call, id_of},
    check,
    crud::{self, Outcome},
    field::{Field, Kind, List, Shape},
    refusal::Refusal,
    resource::{Draft, Filter, FoundBy, Hooks, Listing, Resource, Verb},
    route::{Domain, Version, get, post},
    store::{Item, ORGANISATION, Store, text},
};

pub(super) static DOMAIN: Domain = Domain {
    versions: &[Version::V1],
    resources: &[&EXPORTS],
    routes: &[
        get("/logs/exports/field-restrictions", restrictions),
        get("/logs/exports/{id}", read),
        post("/logs/exports/{id}/start", start),
        post("/logs/exports/{id}/cancel", cancel),
        get("/logs/exports/{id}/download", download),
    ],
};

/// Maximum number of logs per job.
const MOST: u64 = 50_000;

/// Workspace that does not export prompts and completions, and those fields.
const RESTRICTED: (&str, &[&str]) = ("ws-support-bot", &["request", "response"]);

static EXPORTS: Resource = Resource {
    verbs: &[Verb::List, Verb::Create, Verb::Update],
    found_by: FoundBy::Id,
    fields: &[
        Field::new("filters", Kind::Shape(&FILTERS)).required(),
        Field::new("requested_data", Kind::List(&REQUESTED)).required(),
        Field::new("workspace_id", Kind::Workspace).fixed(),
        Field::new("description", Kind::Text).nullable(),
    ],
    list: Listing {
        filters: &[Filter::same("workspace_id", Kind::Workspace)],
        shows: READ,
        ..Listing::USUAL
    },
    reads: READ,
    creates: &["id", "total", "object"],
    updates: &["id", "total", "object"],
    hooks: Hooks {
        admit,
        ..Hooks::NONE
    },
    ..Resource::new("log-exports", "export", "/logs/exports")
};

const READ: &[&str] = &[
    "id",
    "organisation_id",
    "filters",
    "requested_data",
    "status",
    "description",
    "created_at",
    "last_updated_at",
    "created_by",
    "workspace_id",
    "object",
];

static FILTERS: Shape = Shape::open(&[
    Field::new("time_of_generation_min", Kind::Moment),
    Field::new("time_of_generation_max", Kind::Moment),
    Field::new("metadata", Kind::Labels),
    Field::new("page_size", Kind::Whole(1, 50_000)),
    Field::new("current_page", Kind::Whole(0, i64::MAX)),
]);

static REQUESTED: List = List {
    least: 1,
    ..List::of(Kind::Choice(&[
        "id",
        "trace_id",
        "created_at",
        "request",
        "response",
        "is_success",
        "ai_org",
        "ai_model",
        "req_units",
        "res_units",
        "total_units",
        "request_url",
        "cost",
        "cost_currency",
        "response_time",
        "response_status_code",
        "mode",
        "config",
        "prompt_slug",
        "metadata",
    ]))
};

/// Returns the fields that must not be exported from a workspace.
fn denied(store: &Store, workspace: &str) -> Result<&'static [&'static str], Refusal> {
    let (slug, fields) = RESTRICTED;
    let found = workspaces::resolve(store, workspace)?;
    Ok(if text(found, "slug") == slug {
        fields
    } else {
        &[]
    })
}

/// Rejects changes to a job that is not a draft, and requests for denied fields.
fn admit(store: &Store, call: &Call, draft: Draft<'_>) -> Result<(), Refusal> {
    let Draft { before, change } = draft;
    let workspace = match before {
        Some(before) if text(before, "status") != "draft" => {
            return Err(not_now(before, "be changed"));
        }
        Some(before) => text(before, "workspace_id").to_owned(),
        None => {
            change.insert("status".to_owned(), "draft".into());
            change.insert("created_by".to_owned(), users::OWNER.into());
            call.workspace(store)?
        }
    };
    let requested = change.get("requested_data").and_then(Value::as_array);
    let mut requested = requested.into_iter().flatten().filter_map(Value::as_str);
    let denied = denied(store, &workspace)?;
    if let Some(field) = requested.find(|field| denied.contains(field)) {
        let why = format!("has `{field}`, which may not be exported from this workspace");
        return Err(Refusal::field("requested_data", why));
    }
    if let Some(filters) = change.get("filters").and_then(Value::as_object) {
        let size = filters
            .get("page_size")
            .and_then(Value::as_u64)
            .unwrap_or(MOST);
        let total = analytics::count(store, &workspace, filters)?.min(size);
        change.insert("total".to_owned(), total.into());
    }
    Ok(())
}

fn named<'s>(store: &'s Store, call: &Call) -> Result<&'s Item, Refusal> {
    EXPORTS.find(store, ORGANISATION, call.handle())
}

fn not_now(export: &Item, what: &str) -> Refusal {
    Refusal::Invalid(format!(
        "An export that is `{}` cannot {what}",
        text(export, "status")
    ))
}

fn turn(store: &mut Store, id: &str, status: &str) {
    let now = store.clock.now();
    if let Some(export) = store.find_mut(EXPORTS.shared(), id) {
        export.insert("status".to_owned(), status.into());
        export.insert("last_updated_at".to_owned(), now.into());
    }
}

/// Returns a job. A running job completes when it is first read.
fn read(store: &mut Store, call: &Call) -> Outcome {
    let export = named(store, call)?;
    let (id, running) = (id_of(export), text(export, "status") == "in_progress");
    let shown = crud::get(&EXPORTS, store, call)?;
    if running {
        turn(store, &id, "success");
    }
    Ok(shown)
}

fn start(store: &mut Store, call: &Call) -> Outcome {
    let export = named(store, call)?;
    if text(export, "status") != "draft" {
        return Err(not_now(export, "be started"));
    }
    let id = id_of(export);
    turn(store, &id, "in_progress");
    Ok(json!({ "message": "The export was started", "object": "export" }))
}

/// Cancels a job. Repeated calls have no further effect.
fn cancel(store: &mut Store, call: &Call) -> Outcome {
    let export = named(store, call)?;
    if !matches!(text(export, "status"), "in_progress" | "stopped") {
        return Err(not_now(export, "be stopped"));
    }
    let id = id_of(export);
    turn(store, &id, "stopped");
    Ok(json!({ "message": "The export was stopped", "object": "export" }))
}

/// Returns a new URL for each call.
fn download(store: &mut Store, call: &Call) -> Outcome {
    let export = named(store, call)?;
    if text(export, "status") != "success" {
        return Err(not_now(export, "be downloaded"));
    }
    let id = id_of(export);
    let signature = store.next_id();
    let url = format!("https://log-exports.example.com/{id}.jsonl?signature={signature}");
    Ok(json!({ "signed_url": url }))
}

fn restrictions(store: &mut Store, call: &Call) -> Outcome {
    let workspace = call.query("workspace_id");
    let workspace = workspace.ok_or_else(|| Refusal::field("workspace_id", "is required"))?;
    check::value(store, Kind::Workspace, "workspace_id", &workspace.into())?;
    Ok(json!({ "deniedFields": denied(store, workspace)? }))
}
