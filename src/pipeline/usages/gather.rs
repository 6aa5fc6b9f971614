//! Gathers the references that lists and further reads show.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use portkey_api::references::{DetailRead, ListScope, Reference, ResourceKind, Source};
use portkey_operation::JsonMap;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    MAX_NAMED_USERS, PROVIDERS_OPERATION, UsageQuery, User, WORKSPACES_OPERATION,
    extract::{Mention, extract},
    lists_users,
    reads::{BoundedReads, ReadFailure, UsageReads},
};

/// Operation that only keys of the organisation may call.
const ORGANISATION_OPERATION: &str = "get-organisation-defaults";
/// Maximum number of pages that are read of one list.
const MAX_PAGES: usize = 8;
/// Maximum number of futures that wait for their turn in one list.
const MAX_WAITING: usize = 16;

/// A listed resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: Option<String>,
    pub(super) slug: Option<String>,
    pub(super) name: Option<String>,
}

/// A reference that was found, or a row that uses the target because it is listed for it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) kind: ResourceKind,
    pub(super) row: Row,
    pub(super) reference: Option<(&'static Reference, Mention)>,
    /// Place, where there is no reference.
    listed_at: &'static str,
}

impl Row {
    fn new(row: &Value) -> Self {
        let text = |name: &str| row.get(name)?.as_str().map(str::to_owned);
        Self {
            id: text("id"),
            slug: text("slug"),
            // Groups of a policy have a value that is counted.
            name: text("name").or_else(|| text("value_key")),
        }
    }

    /// Returns the slug, or else the id, by which operations find the resource.
    pub(super) fn handle(&self) -> &str {
        let handle = self.slug.as_deref().or(self.id.as_deref());
        handle.unwrap_or_default()
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = String> {
        [self.id.clone(), self.slug.clone()].into_iter().flatten()
    }

    pub(super) fn is_any_of(&self, handles: &[String]) -> bool {
        self.handles().any(|handle| handles.contains(&handle))
    }
}

impl Finding {
    pub(super) fn to_user(&self) -> User {
        let place = self
            .reference
            .as_ref()
            .map(|(_, mention)| mention.place.clone());
        User {
            kind: self.kind,
            row: self.row.clone(),
            place: place.unwrap_or_else(|| self.listed_at.to_owned()),
        }
    }
}

/// Reads lists and what they list.
pub(super) struct Gatherer<'a, R> {
    pub(super) reads: &'a BoundedReads<'a, R>,
    pub(super) query: &'a UsageQuery,
    /// Slug or id of the target.
    pub(super) target: &'a str,
    workspaces: OnceCell<Vec<Row>>,
}

impl<'a, R: UsageReads> Gatherer<'a, R> {
    pub(super) fn new(
        reads: &'a BoundedReads<'a, R>,
        query: &'a UsageQuery,
        target: &'a str,
    ) -> Self {
        Self {
            reads,
            query,
            target,
            workspaces: OnceCell::new(),
        }
    }

    /// Reads the sources. The order of findings is that of the sources and rows.
    pub(super) async fn gather(
        &self,
        sources: &[(&'static Source, Vec<&'static Reference>)],
    ) -> Vec<Finding> {
        let each = sources
            .iter()
            .map(|(source, references)| Box::pin(self.gather_source(source, references)));
        let each: Vec<_> = each.collect();
        let found: Vec<Vec<Finding>> = stream::iter(each).buffered(MAX_WAITING).collect().await;
        found.into_iter().flatten().collect()
    }

    async fn gather_source(
        &self,
        source: &'static Source,
        references: &[&'static Reference],
    ) -> Vec<Finding> {
        let rows = self.list(source).await;
        let is_own = |row: &Value| {
            let other = source.without.and_then(|field| row.get(field));
            other.is_none_or(Value::is_null)
        };
        let each = rows
            .into_iter()
            .filter(is_own)
            .map(|row| Box::pin(self.gather_row(source, references, row)));
        let each: Vec<_> = each.collect();
        let found: Vec<Vec<Finding>> = stream::iter(each).buffered(MAX_WAITING).collect().await;
        found.into_iter().flatten().collect()
    }

    async fn gather_row(
        &self,
        source: &'static Source,
        references: &[&'static Reference],
        answer: Value,
    ) -> Vec<Finding> {
        let mut row = Row::new(&answer);
        if source.rows.is_empty() {
            row.name = Some(source.referrer.as_str().to_owned());
            row.id = row.name.clone();
        }
        let finding = |reference| Finding {
            kind: source.referrer,
            row: row.clone(),
            reference,
            listed_at: match source.scope {
                ListScope::Target(ResourceKind::UsagePolicy) => "group_by",
                ListScope::Target(_) => "access",
                _ => "workspace_id",
            },
        };
        let mut found = Vec::new();
        if lists_users(source, self.query.kind.kind) {
            found.push(finding(None));
        }
        let mut details: Vec<(DetailRead, Option<Value>)> = Vec::new();
        for reference in references {
            let document = match reference.read {
                None => Some(&answer),
                Some(read) => {
                    if !details.iter().any(|(known, _)| *known == read) {
                        details.push((read, self.read_detail(read, &answer).await));
                    }
                    let known = details.iter().find(|(known, _)| *known == read);
                    known.and_then(|(_, document)| document.as_ref())
                }
            };
            let Some(document) = document else { continue };
            let (mentions, is_whole) = extract(reference, document);
            if !is_whole {
                let what = format!(
                    "a part of the large {} `{}`",
                    source.referrer.noun(1),
                    row.handle()
                );
                self.reads.add_note(what);
            }
            found.extend(
                mentions
                    .into_iter()
                    .map(|mention| finding(Some((*reference, mention)))),
            );
        }
        found
    }

    async fn read_detail(&self, read: DetailRead, row: &Value) -> Option<Value> {
        let handle = row.get(read.field)?.clone();
        let mut args = JsonMap::new();
        args.insert(read.argument.to_owned(), handle);
        match self.reads.read(read.operation, args).await {
            Ok(answer) => {
                let total = answer.get("total").and_then(Value::as_u64);
                let items = match answer.get("data") {
                    Some(data) if data.is_object() => return Some(data.clone()),
                    Some(Value::Array(items)) => items,
                    // Portkey's specification shows some lists bare.
                    _ => match &answer {
                        Value::Array(items) => items,
                        _ => return Some(answer),
                    },
                };
                if let Some(total) = total.filter(|total| *total > items.len() as u64) {
                    let what =
                        format!("`{}`: {} of {total} were read", read.operation, items.len());
                    self.reads.add_note(what);
                }
                Some(json!({ "items": items }))
            }
            // Deleted since it was listed.
            Err(ReadFailure::Refused { status: 404, .. }) => None,
            Err(failure) => {
                self.reads.add_unseen(read.operation, &failure);
                None
            }
        }
    }

    /// Reads a list: at once, or workspace by workspace where the key cannot see all of them.
    async fn list(&self, source: &'static Source) -> Vec<Value> {
        let mut args = JsonMap::new();
        let kind = self.query.kind;
        match source.scope {
            ListScope::Target(_) => {
                args.insert(kind.argument.to_owned(), self.target.into());
            }
            ListScope::Workspace if kind.kind == ResourceKind::Workspace => {
                args.insert("workspace_id".to_owned(), self.target.into());
            }
            ListScope::Workspace => {
                if let Some(workspace) = &self.query.workspace {
                    args.insert("workspace_id".to_owned(), workspace.as_str().into());
                }
            }
            ListScope::Organisation => {}
        }
        let is_limited = args.contains_key("workspace_id");
        let failure = match self.read_pages(source, args).await {
            Ok(rows) => return rows,
            Err(failure) => failure,
        };
        let needs_workspace = matches!(
            failure,
            ReadFailure::Refused {
                status: 400 | 403,
                ..
            }
        );
        if is_limited || source.scope != ListScope::Workspace || !needs_workspace {
            self.reads.add_unseen(source.list, &failure);
            return Vec::new();
        }
        let mut rows = Vec::new();
        let mut failures = 0;
        let workspaces = self.workspaces().await;
        for workspace in workspaces {
            let mut args = JsonMap::new();
            args.insert("workspace_id".to_owned(), workspace.handle().into());
            match self.read_pages(source, args).await {
                Ok(more) => rows.extend(more),
                Err(failure) => {
                    self.reads.add_unseen(source.list, &failure);
                    failures += 1;
                    // The key lacks the right everywhere.
                    if failures > 1 && rows.is_empty() {
                        break;
                    }
                }
            }
        }
        if workspaces.is_empty() {
            self.reads.add_unseen(source.list, &failure);
        }
        rows
    }

    async fn read_pages(
        &self,
        source: &Source,
        mut args: JsonMap,
    ) -> Result<Vec<Value>, ReadFailure> {
        let (mut rows, mut total) = self.read_page(source, args.clone()).await?;
        // The first page shows the default size. Another size might be above the maximum.
        args.insert("page_size".to_owned(), rows.len().into());
        let has_pages = !source.rows.is_empty() && !matches!(source.scope, ListScope::Target(_));
        for number in 1..MAX_PAGES {
            if !has_pages || rows.is_empty() || total.is_none_or(|total| total <= rows.len()) {
                break;
            }
            args.insert("current_page".to_owned(), number.into());
            let (page, _) = match self.read_page(source, args.clone()).await {
                Ok(page) => page,
                Err(failure) => {
                    self.reads.add_unseen(source.list, &failure);
                    break;
                }
            };
            // An upstream without pages returns the first one again.
            if page.is_empty() || page.first() == rows.first() {
                total = None;
                break;
            }
            rows.extend(page);
        }
        if let Some(total) = total.filter(|total| *total > rows.len()) {
            let what = format!("`{}`: {} of {total} were read", source.list, rows.len());
            self.reads.add_note(what);
        }
        Ok(rows)
    }

    async fn read_page(
        &self,
        source: &Source,
        args: JsonMap,
    ) -> Result<(Vec<Value>, Option<usize>), ReadFailure> {
        let mut answer = self.reads.read(source.list, args).await?;
        if source.rows.is_empty() {
            return Ok((vec![answer], None));
        }
        let total = answer.get("total").and_then(Value::as_u64);
        let is_global =
            answer.pointer("/global_workspace_access/enabled") == Some(&Value::Bool(true));
        if is_global {
            self.reads
                .add_fact("every workspace has access, by `global_workspace_access`");
        }
        // Portkey's specification shows some lists bare.
        let rows = match answer.get_mut(source.rows) {
            Some(rows) => rows.take(),
            None => answer,
        };
        let Value::Array(mut rows) = rows else {
            let what = format!("`{}` returned no list", source.list);
            return Err(ReadFailure::Failed(what));
        };
        if matches!(source.scope, ListScope::Target(_)) {
            let count = rows.len();
            rows.retain(|row| row.get("enabled") != Some(&Value::Bool(false)));
            // The total counts what is switched off, too.
            let off = count - rows.len();
            let total = total.and_then(|total| usize::try_from(total).ok());
            return Ok((rows, total.map(|total| total.saturating_sub(off))));
        }
        let total = total.and_then(|total| usize::try_from(total).ok());
        Ok((rows, total))
    }

    /// Returns all workspaces that the key can see. They are read once.
    async fn workspaces(&self) -> &[Row] {
        let read = async {
            let source = Source {
                referrer: ResourceKind::Workspace,
                list: WORKSPACES_OPERATION,
                scope: ListScope::Organisation,
                rows: "data",
                without: None,
                references: &[],
            };
            match self.read_pages(&source, JsonMap::new()).await {
                Ok(rows) => rows.iter().map(Row::new).collect(),
                Err(failure) => {
                    self.reads.add_unseen(WORKSPACES_OPERATION, &failure);
                    Vec::new()
                }
            }
        };
        self.workspaces.get_or_init(|| Box::pin(read)).await
    }

    /// Notes if the key sees one workspace alone, as a key of a workspace does: what is in the others and in the
    /// organisation may use the target, too.
    pub(super) async fn note_reach(&self) {
        let workspaces = self.workspaces().await;
        if workspaces.len() > 1 {
            return;
        }
        // An organisation may have one workspace only. Portkey tells its defaults to its own keys alone.
        if self
            .reads
            .read(ORGANISATION_OPERATION, JsonMap::new())
            .await
            .is_ok()
        {
            return;
        }
        let note = match workspaces.first() {
            Some(own) => format!(
                "other workspaces, if there are any: this key sees `{}` alone",
                own.handle()
            ),
            None => "workspaces: this key sees none".to_owned(),
        };
        self.reads.set_beyond(note);
    }

    /// Returns the slug of a workspace.
    pub(super) async fn workspace_slug(&self, handle: &str) -> String {
        let known = [handle.to_owned()];
        let found = self
            .workspaces()
            .await
            .iter()
            .find(|row| row.is_any_of(&known));
        found.map_or(handle, Row::handle).to_owned()
    }

    /// Returns the workspace of each provider in some workspaces, by its id. The list of all workspaces does not name
    /// it. A workspace that cannot be read is left out: its providers are counted already.
    pub(super) async fn provider_workspaces(
        &self,
        workspaces: &[String],
    ) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for workspace in workspaces.iter().take(MAX_NAMED_USERS) {
            let mut args = JsonMap::new();
            args.insert("workspace_id".to_owned(), workspace.as_str().into());
            let Ok(answer) = self.reads.read(PROVIDERS_OPERATION, args).await else {
                continue;
            };
            let rows = answer.get("data").and_then(Value::as_array);
            let ids = rows
                .into_iter()
                .flatten()
                .filter_map(|row| Row::new(row).id);
            found.extend(ids.map(|id| (id, workspace.clone())));
        }
        found
    }

    /// Completes workspaces of which only an id is known.
    pub(super) async fn name_workspaces(&self, users: &mut [User]) {
        let unnamed =
            |user: &&mut User| user.kind == ResourceKind::Workspace && user.row.name.is_none();
        for user in users.iter_mut().filter(unnamed) {
            let handles: Vec<String> = user.row.handles().collect();
            let found = self
                .workspaces()
                .await
                .iter()
                .find(|row| row.is_any_of(&handles));
            if let Some(found) = found {
                user.row = found.clone();
            }
        }
    }
}
