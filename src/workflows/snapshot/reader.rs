//! Reads the resources of a snapshot, place by place.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use portkey_operation::{JsonMap, UpdateRules};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    MAX_CALLS, Snapshot, SnapshotDocument, SnapshotKind, SnapshotScope, Unseen, argument_schemas,
    document::{build_document, document_path, path_segment, sort_rows},
    field_path,
    kinds::{KindPart, KindScope, ResourceRead},
    update_rules,
};
use crate::{
    pipeline::{CallError, state_fields::resource},
    security::sanitize::first_chars,
    workflows::{StepAnswer, Steps, arguments},
};

/// Time after which a snapshot makes no further call.
const TIME_LIMIT: Duration = Duration::from_secs(900);
/// Maximum number of pages that are read of one list.
const MAX_PAGES: u64 = 50;
/// Maximum size of the documents of a snapshot, in bytes of JSON.
const MAX_SNAPSHOT_BYTES: usize = 12 << 20;
/// Maximum number of parts that were not seen and are named one by one.
const MAX_UNSEEN: usize = 200;
/// Maximum length of a reason, in characters.
const MAX_REASON_CHARS: usize = 200;
/// Folder of the workspace of a key that cannot list workspaces.
const OWN_WORKSPACE: &str = "own";

/// A workspace.
#[derive(Debug)]
struct WorkspaceRow {
    /// Value of `workspace_id` in calls; `None` if the key knows its workspace.
    id: Option<String>,
    /// Name of its folder.
    slug: String,
}

/// The reason why a read has no answer.
enum ReadFailure {
    /// The resource is gone.
    Gone,
    Unseen(String),
}

/// Reads a snapshot. What a key may not read is a part that was not seen.
pub(in crate::workflows) async fn take_snapshot(steps: &Steps, scope: &SnapshotScope) -> Snapshot {
    let mut reader = Reader {
        steps,
        snapshot: Snapshot::default(),
        paths: HashSet::new(),
        deadline: Instant::now() + TIME_LIMIT,
        bytes: 0,
        redacted: HashSet::new(),
        takes_workspace: HashMap::new(),
    };
    let workspaces = reader.workspaces(scope).await;
    let ids = workspaces
        .iter()
        .filter_map(|row| Some((path_segment(&row.slug), row.id.clone()?)));
    reader.snapshot.workspace_ids = ids.collect();
    for kind in &scope.kinds {
        reader.read_kind(kind, scope, &workspaces).await;
    }
    let mut redacted: Vec<_> = reader.redacted.iter().copied().collect();
    redacted.sort_unstable();
    reader.snapshot.redacted = redacted;
    reader.snapshot
}

/// The reads of a snapshot.
struct Reader<'a> {
    steps: &'a Steps,
    snapshot: Snapshot,
    /// Paths in lower case, because some file systems do not tell cases apart.
    paths: HashSet<String>,
    deadline: Instant,
    bytes: usize,
    /// Operations of which a policy redacts values.
    redacted: HashSet<&'static str>,
    /// True for operations that take `workspace_id`.
    takes_workspace: HashMap<&'static str, bool>,
}

impl Reader<'_> {
    fn add_unseen(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        let unseen = Unseen {
            path: path.into(),
            reason: first_chars(&reason.into(), MAX_REASON_CHARS).to_owned(),
        };
        match self.snapshot.unseen.len() {
            MAX_UNSEEN.. => {
                // Without its path a file might be taken for one that is gone.
                let rest = Unseen {
                    path: format!("{}/", unseen.path.split('/').next().unwrap_or_default()),
                    reason: "more was not read".to_owned(),
                };
                let is_new = self
                    .snapshot
                    .unseen
                    .iter()
                    .all(|known| known.path != rest.path);
                if is_new {
                    self.snapshot.unseen.push(rest);
                }
            }
            _ => self.snapshot.unseen.push(unseen),
        }
    }

    async fn read(&mut self, operation: &'static str, args: JsonMap) -> Result<Value, ReadFailure> {
        if self.snapshot.calls >= MAX_CALLS {
            let what = format!("not read: the bound of {MAX_CALLS} calls is reached");
            return Err(ReadFailure::Unseen(what));
        }
        if Instant::now() >= self.deadline {
            let what = format!("not read within {} s", TIME_LIMIT.as_secs());
            return Err(ReadFailure::Unseen(what));
        }
        self.snapshot.calls += 1;
        match self.steps.call(operation, args).await {
            Ok(StepAnswer::Answered(value)) => Ok(value),
            Ok(StepAnswer::Redacted(value)) => {
                self.redacted.insert(operation);
                Ok(value)
            }
            Ok(StepAnswer::DryRun(_)) => {
                let what = format!("`{operation}`: a policy wants a dry run of it");
                Err(ReadFailure::Unseen(what))
            }
            // Deleted since it was listed.
            Err(CallError::Upstream(_, refusal)) if refusal.status.as_u16() == 404 => {
                Err(ReadFailure::Gone)
            }
            Err(error) => Err(ReadFailure::Unseen(error.to_string())),
        }
    }

    /// Reads all pages of a list.
    async fn read_list(
        &mut self,
        operation: &'static str,
        rows: &'static str,
        args: JsonMap,
    ) -> Result<Vec<Value>, ReadFailure> {
        Ok(self.read_list_with(operation, rows, args, &[]).await?.0)
    }

    /// Reads all pages of a list, and fields beside the rows of the first one.
    async fn read_list_with(
        &mut self,
        operation: &'static str,
        rows: &'static str,
        mut args: JsonMap,
        beside: &[&str],
    ) -> Result<(Vec<Value>, JsonMap), ReadFailure> {
        let first = self.read(operation, args.clone()).await?;
        let own = beside
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), first.get(*name)?.clone())))
            .filter(|(_, value)| !value.is_null())
            .collect();
        let (mut all, total) = rows_of(operation, rows, first)?;
        let (page_argument, size_argument, first_page) = page_arguments(operation);
        let is_short = |all: &[Value]| total.is_some_and(|total| total > all.len() as u64);
        // The first page shows the default size. Another size might be above the maximum.
        args.insert(size_argument.to_owned(), all.len().into());
        for number in 1..MAX_PAGES {
            if all.is_empty() || !is_short(&all) {
                break;
            }
            args.insert(page_argument.to_owned(), (first_page + number).into());
            let answer = self.read(operation, args.clone()).await?;
            let (page, _) = rows_of(operation, rows, answer)?;
            // An upstream without pages returns the first one again.
            if page.is_empty() || page.first() == all.first() {
                break;
            }
            all.extend(page);
        }
        if is_short(&all) {
            let total = total.unwrap_or_default();
            let what = format!("`{operation}` returned {} of {total} items", all.len());
            return Err(ReadFailure::Unseen(what));
        }
        Ok((all, own))
    }

    /// Returns the workspaces whose resources are read.
    async fn workspaces(&mut self, scope: &SnapshotScope) -> Vec<WorkspaceRow> {
        let is_needed = |kind: &&SnapshotKind| {
            !matches!(kind.scope, KindScope::Single | KindScope::Organisation)
        };
        if !scope.kinds.iter().any(is_needed) {
            return Vec::new();
        }
        let listed = self
            .read_list("list-all-workspaces", "data", JsonMap::new())
            .await;
        let rows = match listed {
            Ok(rows) => rows,
            Err(failure) => {
                self.add_unseen("workspaces/", failure.into_reason("list-all-workspaces"));
                let own = WorkspaceRow {
                    id: None,
                    slug: OWN_WORKSPACE.to_owned(),
                };
                return match scope.workspaces.is_empty() {
                    true => vec![own],
                    false => self.named_workspaces(&scope.workspaces).await,
                };
            }
        };
        let rows = rows.iter().filter_map(|row| {
            let slug = text_of(row, "slug").or_else(|| text_of(row, "id"))?;
            Some(WorkspaceRow {
                id: text_of(row, "id").or_else(|| Some(slug.clone())),
                slug,
            })
        });
        let is_chosen = |row: &WorkspaceRow| {
            let is_named = |name: &String| *name == row.slug || row.id.as_ref() == Some(name);
            scope.workspaces.is_empty() || scope.workspaces.iter().any(is_named)
        };
        let chosen: Vec<_> = rows.filter(is_chosen).collect();
        for name in &scope.workspaces {
            let is_found = |row: &WorkspaceRow| row.slug == *name || row.id.as_ref() == Some(name);
            if !chosen.iter().any(is_found) {
                let folder = format!("workspaces/{}/", path_segment(name));
                self.add_unseen(folder, "there is no such workspace for this key");
            }
        }
        chosen
    }

    /// Returns the workspaces of these names that the key sees. The lists of a key of a workspace have what is in its
    /// own one, whatever workspace is named, and would be taken for another one's.
    async fn named_workspaces(&mut self, names: &[String]) -> Vec<WorkspaceRow> {
        let mut rows = Vec::new();
        for name in names {
            let args = arguments([("workspace_id", name.as_str().into())]);
            match self.read("get-workspace", args).await {
                Ok(answer) => {
                    let workspace = resource(&answer);
                    rows.push(WorkspaceRow {
                        id: text_of(workspace, "id").or_else(|| Some(name.clone())),
                        slug: text_of(workspace, "slug").unwrap_or_else(|| name.clone()),
                    });
                }
                Err(failure) => {
                    let folder = format!("workspaces/{}/", path_segment(name));
                    let reason = failure.into_reason("get-workspace");
                    let what = format!("it is not known whether the key answers for it: {reason}");
                    self.add_unseen(folder, what);
                }
            }
        }
        rows
    }

    async fn read_kind(
        &mut self,
        kind: &'static SnapshotKind,
        scope: &SnapshotScope,
        workspaces: &[WorkspaceRow],
    ) {
        let is_whole = scope.workspaces.is_empty();
        let rules = kind
            .update
            .and_then(|update| update_rules(update.operation));
        match kind.scope {
            KindScope::Single if is_whole => match self.read(kind.list, JsonMap::new()).await {
                Ok(answer) => {
                    let fields = resource(&answer).as_object().cloned().unwrap_or_default();
                    let mut value = build_document(rules, fields);
                    for entries in kind.entries {
                        if let Some(Value::Array(rows)) = value.get_mut(entries.field) {
                            sort_rows(rows);
                        }
                    }
                    self.add_document(kind, document_path(kind, None, ""), value);
                }
                Err(failure) => {
                    let path = document_path(kind, None, "");
                    self.add_unseen(path, failure.into_reason(kind.list));
                }
            },
            KindScope::Single => {}
            KindScope::Workspaces => {
                for workspace in workspaces {
                    let row = arguments([
                        ("id", workspace.id.as_deref().unwrap_or_default().into()),
                        ("slug", workspace.slug.as_str().into()),
                    ]);
                    if workspace.id.is_some() {
                        self.read_resource(kind, rules, None, Value::Object(row))
                            .await;
                    }
                }
            }
            KindScope::Organisation | KindScope::Workspace | KindScope::Both => {
                if is_whole && kind.scope != KindScope::Workspace {
                    self.read_rows(kind, rules, None, workspaces).await;
                }
                if kind.scope != KindScope::Organisation {
                    for workspace in workspaces {
                        self.read_rows(kind, rules, Some(workspace), workspaces)
                            .await;
                    }
                }
            }
        }
    }

    /// Reads the resources that one list has.
    async fn read_rows(
        &mut self,
        kind: &'static SnapshotKind,
        rules: Option<&'static UpdateRules>,
        workspace: Option<&WorkspaceRow>,
        workspaces: &[WorkspaceRow],
    ) {
        let folder = match workspace {
            Some(workspace) => format!(
                "workspaces/{}/{}/",
                path_segment(&workspace.slug),
                kind.name
            ),
            None => format!("{}/", kind.name),
        };
        let id = workspace.and_then(|workspace| workspace.id.as_deref());
        let args = arguments([("workspace_id", id.map_or(Value::Null, Value::from))]);
        let rows = match self.read_list(kind.list, kind.rows, args).await {
            Ok(rows) => rows,
            Err(failure) => {
                self.add_unseen(folder, failure.into_reason(kind.list));
                return;
            }
        };
        for row in rows {
            let is_other = |field: &&str| row.get(*field).is_some_and(|value| !value.is_null());
            let is_chosen =
                |(field, value): (&str, &str)| row.get(field).is_none_or(|other| other == value);
            if kind.without.as_ref().is_some_and(is_other) || !kind.only.is_none_or(is_chosen) {
                continue;
            }
            let owner = row.get("workspace_id");
            let owned_by = |owner: &str| {
                workspaces
                    .iter()
                    .find(|row| row.id.as_deref() == Some(owner) || row.slug == owner)
            };
            let place = match (kind.scope, owner) {
                (KindScope::Organisation, _) => None,
                // A list of the organisation has what is in workspaces, too, and the other way round.
                (KindScope::Both, Some(Value::Null)) if workspace.is_some() => continue,
                (KindScope::Both, Some(Value::String(_))) if workspace.is_none() => continue,
                (_, Some(Value::String(owner))) => match owned_by(owner) {
                    Some(owner) => Some(owner),
                    None => workspace,
                },
                _ => workspace,
            };
            self.read_resource(kind, rules, place, row).await;
        }
    }

    /// Reads a resource that a list has.
    async fn read_resource(
        &mut self,
        kind: &'static SnapshotKind,
        rules: Option<&'static UpdateRules>,
        workspace: Option<&WorkspaceRow>,
        row: Value,
    ) {
        let handle = text_of(&row, kind.handle).or_else(|| text_of(&row, "id"));
        let Some(handle) = handle else {
            self.add_unseen(
                format!("{}/", kind.name),
                "an item has neither a slug nor an id",
            );
            return;
        };
        let place = workspace.map(|workspace| workspace.slug.as_str());
        let mut path = document_path(kind, place, &handle);
        if !self.paths.insert(path.to_lowercase()) {
            let id = text_of(&row, "id").unwrap_or_default();
            path = document_path(kind, place, &format!("{handle}-{id}"));
            if !self.paths.insert(path.to_lowercase()) {
                return;
            }
        }
        let id = workspace.and_then(|workspace| workspace.id.as_deref());
        let mut fields = row.as_object().cloned().unwrap_or_default();
        if let Some(detail) = kind.detail {
            match self.read_one(detail, &row, id).await {
                Ok(answer) => {
                    // The list may say what the read does not, such as the workspace.
                    let detail = resource(&answer).as_object().cloned().unwrap_or_default();
                    fields.extend(detail);
                }
                Err(ReadFailure::Gone) => return,
                Err(ReadFailure::Unseen(reason)) => {
                    self.add_unseen(path, reason);
                    return;
                }
            }
        }
        let mut value = build_document(rules, fields);
        for part in kind.parts {
            match self.read_part(part, &row).await {
                Ok(found) => {
                    if let Some(fields) = value.as_object_mut() {
                        fields.extend(found);
                        fields.sort_keys();
                    }
                }
                Err(failure) => {
                    let reason = failure.into_reason(part.read.operation);
                    if !part.is_optional {
                        self.add_unseen(path, reason);
                        return;
                    }
                    for field in part.beside.iter().chain([&part.field]) {
                        self.add_unseen(field_path(&path, field), reason.clone());
                    }
                }
            }
        }
        self.add_document(kind, path, value);
    }

    async fn read_one(
        &mut self,
        read: ResourceRead,
        row: &Value,
        workspace: Option<&str>,
    ) -> Result<Value, ReadFailure> {
        let Some(handle) = row.get(read.field).filter(|value| value.is_string()) else {
            let what = format!("the item has no `{}`", read.field);
            return Err(ReadFailure::Unseen(what));
        };
        let mut args = arguments([(read.argument, handle.clone())]);
        if let Some(workspace) = workspace {
            let takes_workspace = self.takes_workspace.entry(read.operation);
            if *takes_workspace.or_insert_with(|| takes_argument(read.operation, "workspace_id")) {
                args.entry("workspace_id")
                    .or_insert_with(|| workspace.into());
            }
        }
        self.read(read.operation, args).await
    }

    /// Returns the fields of a document that a part fills.
    async fn read_part(&mut self, part: &KindPart, row: &Value) -> Result<JsonMap, ReadFailure> {
        let Some(handle) = row.get(part.read.field).filter(|value| value.is_string()) else {
            let what = format!("the item has no `{}`", part.read.field);
            return Err(ReadFailure::Unseen(what));
        };
        let args = arguments([(part.read.argument, handle.clone())]);
        let operation = part.read.operation;
        if part.is_map {
            let answer = self.read(operation, args).await?;
            let map = answer.get(part.rows).cloned().unwrap_or_default();
            return Ok([(part.field.to_owned(), map)].into_iter().collect());
        }
        let (rows, mut found) = self
            .read_list_with(operation, part.rows, args, part.beside)
            .await?;
        let is_own = |row: &Value| {
            part.only_if
                .is_none_or(|flag| row.get(flag) == Some(&Value::Bool(true)))
        };
        let document = |row: Value| match row {
            Value::Object(mut fields) => {
                if !part.keep.is_empty() {
                    fields.retain(|name, _| part.keep.contains(&name.as_str()));
                }
                build_document(None, fields)
            }
            other => other,
        };
        let mut rows: Vec<Value> = rows.into_iter().filter(is_own).map(document).collect();
        sort_rows(&mut rows);
        found.insert(part.field.to_owned(), rows.into());
        Ok(found)
    }

    fn add_document(&mut self, kind: &'static SnapshotKind, path: String, value: Value) {
        self.bytes += value.to_string().len();
        if self.bytes > MAX_SNAPSHOT_BYTES {
            let what = format!(
                "the snapshot is larger than {} MiB; choose fewer kinds or workspaces",
                MAX_SNAPSHOT_BYTES >> 20
            );
            self.add_unseen(path, what);
            return;
        }
        self.snapshot
            .documents
            .insert(path, SnapshotDocument { kind, value });
    }
}

impl ReadFailure {
    fn into_reason(self, operation: &str) -> String {
        match self {
            Self::Gone => format!("`{operation}` answered 404"),
            Self::Unseen(reason) => reason,
        }
    }
}

/// Returns the rows of an answer, and how many there are according to the upstream.
fn rows_of(
    operation: &str,
    rows: &str,
    mut answer: Value,
) -> Result<(Vec<Value>, Option<u64>), ReadFailure> {
    let total = total_of(&answer);
    // Portkey's specification shows some lists bare.
    let rows = match answer.get_mut(rows) {
        Some(rows) => rows.take(),
        None => answer,
    };
    match rows {
        Value::Array(rows) => Ok((rows, total)),
        _ => Err(ReadFailure::Unseen(format!(
            "`{operation}` returned no list"
        ))),
    }
}

/// Returns the arguments of a list for its page and the size of one, and the number of the first page.
fn page_arguments(operation: &str) -> (&'static str, &'static str, u64) {
    match operation {
        "list-users" | "list-all-invites" => ("currentPage", "pageSize", 0),
        "list-scim-workspace-mappings" => ("page", "page_size", 0),
        "list-mcp-integration-capabilities"
        | "list-mcp-server-capabilities"
        | "list-mcp-server-user-access" => ("page", "page_size", 1),
        _ => ("current_page", "page_size", 0),
    }
}

/// Returns the number of items of a list according to the upstream.
fn total_of(answer: &Value) -> Option<u64> {
    ["total", "total_count"]
        .into_iter()
        .find_map(|name| answer.get(name)?.as_u64())
}

fn takes_argument(operation: &str, argument: &str) -> bool {
    argument_schemas(operation).is_some_and(|(known, _)| known.contains_key(argument))
}

fn text_of(row: &Value, field: &str) -> Option<String> {
    let text = row.get(field)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}
