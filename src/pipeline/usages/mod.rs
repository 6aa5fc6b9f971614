//! Finds what refers to a resource, and its traffic, by the table of references.
//!
//! Reads are those of a caller, who is authorised for each of them. Nothing that is read is passed on
//! but ids, names of lists, places and counts. What cannot be seen is said.

mod existence;
mod extract;
mod gather;
mod impact;
mod reads;
mod report;

use portkey_api::references::{
    KindRow, ListScope, Reference, ResourceKind, SOURCES, Source, TrafficFilter,
};
use portkey_operation::JsonMap;
use serde_json::Value;

use self::{
    extract::extract,
    gather::{Finding, Gatherer, Row},
    reads::BoundedReads,
};
pub use self::{
    impact::{IMPACT_BOUNDS, QuietAnswer, QuietReads},
    reads::{ReadAnswer, ReadFailure, UsageReads},
    report::{
        DEFAULT_NAMED_USERS, Impact, ImpactGroup, ImpactUser, MAX_NAMED_USERS, UsageReport,
        UsageTarget,
    },
};

/// Operation that counts requests.
const TRAFFIC_OPERATION: &str = "get-requests-graph";
/// Operation that lists workspaces.
const WORKSPACES_OPERATION: &str = "list-all-workspaces";
/// Maximum number of resources in a filter of analytics.
const MAX_FILTER_VALUES: usize = 50;

/// A question about the usages of a resource.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// Kind of the resource.
    pub kind: &'static KindRow,
    /// Id or slug of the resource.
    pub target: String,
    /// Workspace to which the search is limited.
    pub workspace: Option<String>,
    /// Bounds of the reads.
    pub bounds: UsageBounds,
}

/// Bounds of the reads for one question.
#[derive(Clone, Copy, Debug)]
pub struct UsageBounds {
    /// Maximum number of calls.
    pub max_calls: usize,
    /// Maximum number of calls at a time.
    pub concurrency: usize,
    /// Time after which no more is read.
    pub timeout: std::time::Duration,
}

/// Operation that lists the providers of all workspaces.
const PROVIDERS_OPERATION: &str = "list-all-providers";

/// There is no resource of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} `{target}` that this key can see")]
pub struct NoSuchTarget {
    /// Kind in words.
    pub kind: &'static str,
    /// The name that was given.
    pub target: String,
    /// Argument of `find-usages` that has it.
    pub argument: &'static str,
}

/// Finds the usages of a resource.
///
/// # Errors
/// Returns an error if the resource does not exist. Other failures are in the report.
pub async fn find_usages(
    reads: &impl UsageReads,
    query: &UsageQuery,
) -> Result<UsageReport, NoSuchTarget> {
    let reads = BoundedReads::new(reads, query.bounds);
    if let Some(workspace) = &query.workspace {
        existence::check_workspace(&reads, workspace).await?;
    }
    let (target, document) = read_target(&reads, query).await?;
    let search = Search {
        query,
        target: &target,
    };
    let gatherer = Gatherer::new(&reads, query, target.handle());
    let findings = gatherer.gather(&search.sources()).await;
    if query.workspace.is_none() && query.kind.kind != ResourceKind::Workspace {
        gatherer.note_reach().await;
    }
    let mut users = search.direct_users(&findings);
    users.extend(search.users_through(&users, &findings));
    let served = search.find_served(&document);
    let mut impact = Impact {
        is_of_served: !query.kind.serves.is_empty(),
        ..Impact::default()
    };
    users.extend(served);
    gatherer.name_workspaces(&mut users).await;
    for user in users {
        impact.add(user);
    }
    impact.sort();
    impact.requests_30d = search.count_requests(&gatherer, &impact).await;
    if impact.has_doubles(ResourceKind::Provider) {
        let workspaces = impact.handles_of(ResourceKind::Workspace);
        let found = gatherer.provider_workspaces(&workspaces).await;
        impact.set_workspaces(ResourceKind::Provider, &found);
    }
    let calls = reads.count();
    impact.notes = reads.facts();
    impact.is_within_reach = !reads.has_unseen();
    impact.not_seen = reads.into_unseen();
    impact.summarize();
    Ok(UsageReport {
        target,
        impact: impact.into_public(),
        calls,
    })
}

/// Reads the resource, for its id, slug, name, and what it serves.
async fn read_target<R: UsageReads>(
    reads: &BoundedReads<'_, R>,
    query: &UsageQuery,
) -> Result<(UsageTarget, Value), NoSuchTarget> {
    let row = query.kind;
    let mut args = JsonMap::new();
    if row.listed_in.is_none() {
        args.insert(row.argument.to_owned(), query.target.as_str().into());
    }
    if let Some(workspace) = &query.workspace
        && row.is_in_workspace
    {
        args.insert("workspace_id".to_owned(), workspace.as_str().into());
    }
    let mut target = UsageTarget {
        kind: row.kind.as_str().to_owned(),
        given: query.target.clone(),
        id: None,
        slug: None,
        name: None,
    };
    let missing = || NoSuchTarget {
        kind: row.kind.noun(1),
        target: query.target.clone(),
        argument: "id",
    };
    let mut document = Value::Null;
    match reads.read(row.read, args).await {
        Ok(answer) => {
            let resource = match row.listed_in {
                Some(rows) => match find_row(&answer, rows, &query.target) {
                    Some(found) => found,
                    None if is_whole_list(&answer, rows) => return Err(missing()),
                    None => {
                        reads.add_note(format!("`{}`: it is not on the first page", row.read));
                        &Value::Null
                    }
                },
                None => {
                    let resource = answer.get("data").filter(|data| data.is_object());
                    resource.unwrap_or(&answer)
                }
            };
            let text = |name: &str| resource.get(name)?.as_str().map(str::to_owned);
            target.id = text("id");
            target.slug = text("slug");
            target.name = text("name");
            if let Some((group, role)) = text("scim_group").zip(text("role")) {
                let fact = format!("members of the group `{group}` have the role `{role}` by it");
                reads.add_fact(&fact);
            }
            document = resource.clone();
        }
        Err(ReadFailure::Refused { status: 404, .. }) => {
            // Without a workspace, an Admin key finds the providers of its default workspace only.
            let is_elsewhere = row.kind == ResourceKind::Provider && query.workspace.is_none();
            if !is_elsewhere || !find_provider(reads, &mut target).await {
                return Err(missing());
            }
        }
        // No id has this form.
        Err(ReadFailure::Invalid(_)) => return Err(missing()),
        Err(failure @ ReadFailure::Refused { status: 403, .. }) => {
            if existence::is_listed(reads, row.kind, &query.target).await == Some(false) {
                return Err(missing());
            }
            reads.add_unseen(row.read, &failure);
        }
        // References by the name that was given are still found.
        Err(failure) => reads.add_unseen(row.read, &failure),
    }
    Ok((target, document))
}

/// Returns the row of a list that has an id.
fn find_row<'a>(answer: &'a Value, rows: &str, id: &str) -> Option<&'a Value> {
    let mut rows = answer.get(rows)?.as_array()?.iter();
    rows.find(|row| row.get("id").is_some_and(|other| other == id))
}

/// Returns true if a list has all its rows in this answer.
fn is_whole_list(answer: &Value, rows: &str) -> bool {
    let count = answer
        .get(rows)
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let totals = ["total_count", "total"];
    let total = totals.iter().find_map(|name| answer.get(*name)?.as_u64());
    total.is_none_or(|total| total <= count as u64)
}

/// Finds a provider in the list of all workspaces. Returns false if the list shows that there is none.
async fn find_provider<R: UsageReads>(
    reads: &BoundedReads<'_, R>,
    target: &mut UsageTarget,
) -> bool {
    let answer = match reads.read(PROVIDERS_OPERATION, JsonMap::new()).await {
        Ok(answer) => answer,
        Err(failure) => {
            reads.add_unseen(PROVIDERS_OPERATION, &failure);
            return true;
        }
    };
    let providers = answer.get("data").and_then(Value::as_array);
    let providers = providers.map(Vec::as_slice).unwrap_or_default();
    let text = |row: &Value, name: &str| row.get(name)?.as_str().map(str::to_owned);
    let found = providers.iter().find(|row| {
        let is_this = |name| text(row, name).is_some_and(|value| value == target.given);
        is_this("slug") || is_this("id")
    });
    if let Some(row) = found {
        target.id = text(row, "id");
        target.slug = text(row, "slug");
        target.name = text(row, "name");
    }
    let total = answer.get("total").and_then(Value::as_u64);
    let is_whole = total.is_none_or(|total| total <= providers.len() as u64);
    found.is_some() || !is_whole
}

/// The search for the users of one target.
struct Search<'a> {
    query: &'a UsageQuery,
    target: &'a UsageTarget,
}

/// A resource that uses the target.
#[derive(Clone, Debug)]
struct User {
    kind: ResourceKind,
    row: Row,
    place: String,
}

impl Search<'_> {
    /// Returns the lists that may show usages, each with the places to look at.
    fn sources(&self) -> Vec<(&'static Source, Vec<&'static Reference>)> {
        let kind = self.query.kind.kind;
        let is_relevant = |reference: &&Reference| {
            let names = |kind| reference.targets.contains(&kind);
            names(kind) || self.query.kind.through.is_some_and(names)
        };
        let with_references = SOURCES.iter().map(|source| {
            let references = source.references.iter().filter(is_relevant);
            (source, references.collect::<Vec<_>>())
        });
        let is_source = |(source, references): &(&Source, Vec<_>)| {
            !references.is_empty() || lists_users(source, kind)
        };
        with_references.filter(is_source).collect()
    }

    /// Returns the resources that refer to the target itself.
    fn direct_users(&self, findings: &[Finding]) -> Vec<User> {
        let kind = self.query.kind.kind;
        let handles = self.target.handles();
        let means = |finding: &&Finding| match &finding.reference {
            None => true,
            Some((reference, mention)) => {
                reference.targets.contains(&kind) && mention.means(&handles)
            }
        };
        let is_other =
            |finding: &&Finding| finding.kind != kind || !finding.row.is_any_of(&handles);
        findings
            .iter()
            .filter(means)
            .filter(is_other)
            .map(Finding::to_user)
            .collect()
    }

    /// Returns the resources that refer to what stands in for the target.
    fn users_through(&self, users: &[User], findings: &[Finding]) -> Vec<User> {
        let Some(through) = self.query.kind.through else {
            return Vec::new();
        };
        let stand_ins = users.iter().filter(|user| user.kind == through);
        let handles: Vec<String> = stand_ins.flat_map(|user| user.row.handles()).collect();
        let means = |finding: &&Finding| {
            let reference = finding.reference.as_ref();
            reference.is_some_and(|(reference, mention)| {
                reference.targets.contains(&through) && mention.means(&handles)
            })
        };
        findings
            .iter()
            .filter(means)
            .map(Finding::to_user)
            .collect()
    }

    /// Returns what the target itself names and serves.
    fn find_served(&self, document: &Value) -> Vec<User> {
        let mut users = Vec::new();
        for reference in self.query.kind.serves {
            let Some(kind) = reference.targets.first() else {
                continue;
            };
            let (mentions, _) = extract(reference, document);
            users.extend(mentions.into_iter().map(|mention| User {
                kind: *kind,
                row: Row {
                    id: Some(mention.handle),
                    ..Row::default()
                },
                place: mention.place,
            }));
        }
        users
    }

    /// Counts the requests of 30 days. Returns `None` if analytics cannot tell.
    async fn count_requests<R: UsageReads>(
        &self,
        gatherer: &Gatherer<'_, R>,
        impact: &Impact,
    ) -> Option<u64> {
        let filter = self.query.kind.traffic?;
        let values = self.filter_values(&filter, impact);
        if values.is_empty() {
            // Without a provider no request goes through an integration.
            let is_seen = filter.of_referrers == self.query.kind.through;
            return (is_seen && filter.of_referrers.is_some() && !gatherer.reads.has_unseen())
                .then_some(0);
        }
        if values.len() > MAX_FILTER_VALUES {
            let what = format!("traffic of more than {MAX_FILTER_VALUES} resources");
            gatherer.reads.add_note(what);
            return None;
        }
        let mut args = JsonMap::new();
        args.insert("time_of_generation_min".to_owned(), "30d".into());
        args.insert("time_of_generation_max".to_owned(), "now".into());
        args.insert(filter.argument.to_owned(), values.join(",").into());
        if let Some(workspace) = &self.query.workspace {
            let slug = gatherer.workspace_slug(workspace).await;
            args.insert("workspace_slug".to_owned(), slug.into());
        }
        match gatherer.reads.read(TRAFFIC_OPERATION, args).await {
            Ok(answer) => {
                let total = answer.pointer("/summary/total").and_then(Value::as_u64);
                if total.is_none() {
                    let what = format!("`{TRAFFIC_OPERATION}` returned no total");
                    gatherer.reads.add_note(what);
                }
                total
            }
            Err(failure) => {
                gatherer.reads.add_unseen(TRAFFIC_OPERATION, &failure);
                None
            }
        }
    }

    fn filter_values(&self, filter: &TrafficFilter, impact: &Impact) -> Vec<String> {
        let mut values: Vec<String> = match (filter.of_referrers, filter.by_id) {
            (None, true) => vec![
                self.target
                    .id
                    .as_deref()
                    .unwrap_or(&self.target.given)
                    .to_owned(),
            ],
            (None, false) => vec![self.target.handle().to_owned()],
            (Some(kind), _) => impact.handles_of(kind),
        };
        values.sort();
        values.dedup();
        values
    }
}

/// Returns true if everything that a source lists for a target uses it.
fn lists_users(source: &Source, kind: ResourceKind) -> bool {
    match source.scope {
        ListScope::Organisation => false,
        // Every workspace has a collection, which is no use of it.
        ListScope::Workspace => {
            kind == ResourceKind::Workspace && source.referrer != ResourceKind::Collection
        }
        ListScope::Target(target) => target == kind,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{sync::Mutex, time::Duration};

    use portkey_api::references::find_kind;
    use serde_json::json;

    use super::*;

    const BOUNDS: UsageBounds = UsageBounds {
        max_calls: 100,
        concurrency: 4,
        timeout: Duration::from_secs(60),
    };

    /// An upstream with three workspaces of two configs each, whose lists need a workspace.
    struct AdminKey {
        calls: Mutex<Vec<(&'static str, JsonMap)>>,
        /// True if it never answers a config.
        hangs: bool,
    }

    impl AdminKey {
        fn new(hangs: bool) -> Self {
            Self {
                calls: Mutex::default(),
                hangs,
            }
        }

        fn answer(&self, operation: &str, args: &JsonMap) -> Result<Value, ReadFailure> {
            let workspace = args.get("workspace_id").and_then(Value::as_str);
            let refused = ReadFailure::Refused {
                status: 403,
                message: "name a workspace".to_owned(),
            };
            Ok(match operation {
                "get-provider" => json!({ "id": "1", "slug": "p", "name": "P" }),
                WORKSPACES_OPERATION => json!({ "total": 3, "data": [
                    { "id": "a", "slug": "ws-a" }, { "id": "b", "slug": "ws-b" }, { "id": "c", "slug": "ws-c" }] }),
                TRAFFIC_OPERATION => json!({ "summary": { "total": 1200 } }),
                "list-all-configs" => {
                    let workspace = workspace.ok_or(refused)?;
                    json!({ "total": 2, "data": [
                        { "id": format!("{workspace}-1"), "slug": format!("{workspace}-1") },
                        { "id": format!("{workspace}-2"), "slug": format!("{workspace}-2") }] })
                }
                "get-config" => json!({ "config": "{\"provider\":\"@p\"}" }),
                _ if workspace.is_none() => return Err(refused),
                _ => json!({ "total": 0, "data": [] }),
            })
        }
    }

    impl UsageReads for AdminKey {
        async fn read(
            &self,
            operation: &'static str,
            args: JsonMap,
        ) -> Result<ReadAnswer, ReadFailure> {
            if self.hangs && operation == "get-config" {
                std::future::pending::<()>().await;
            }
            let answer = self.answer(operation, &args);
            self.calls.lock().unwrap().push((operation, args));
            answer.map(|value| ReadAnswer {
                value,
                is_redacted: false,
            })
        }
    }

    fn query(bounds: UsageBounds) -> UsageQuery {
        UsageQuery {
            kind: find_kind("provider").unwrap(),
            target: "p".to_owned(),
            workspace: None,
            bounds,
        }
    }

    #[tokio::test]
    async fn lists_that_need_a_workspace_are_read_for_each() {
        let reads = AdminKey::new(false);
        let report = find_usages(&reads, &query(BOUNDS)).await.unwrap();
        assert_eq!(
            report.impact.summary,
            "6 configs, 1,200 requests in 30 days"
        );
        assert!(report.impact.is_complete());
        assert_eq!(report.calls, reads.calls.lock().unwrap().len());
    }

    #[tokio::test]
    async fn search_within_a_workspace_reads_that_one() {
        let reads = AdminKey::new(false);
        let query = UsageQuery {
            workspace: Some("ws-b".to_owned()),
            ..query(BOUNDS)
        };
        let report = find_usages(&reads, &query).await.unwrap();
        assert_eq!(
            report.impact.summary,
            "2 configs, 1,200 requests in 30 days"
        );
    }

    #[tokio::test]
    async fn bound_of_calls_is_kept_and_said() {
        let reads = AdminKey::new(false);
        let bounds = UsageBounds {
            max_calls: 14,
            ..BOUNDS
        };
        let report = find_usages(&reads, &query(bounds)).await.unwrap();
        assert_eq!(reads.calls.lock().unwrap().len(), 14);
        let unseen = report.impact.not_seen.join("\n");
        assert!(
            unseen.contains("the bound of 14 calls is reached"),
            "{unseen}"
        );
        assert!(
            report
                .impact
                .summary
                .contains("not everything could be seen")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_limit_ends_the_search_with_what_was_found() {
        let reads = AdminKey::new(true);
        let report = find_usages(&reads, &query(BOUNDS)).await.unwrap();
        let unseen = report.impact.not_seen.join("\n");
        assert!(
            unseen.contains("`get-config`, 6 times: not read within 60 s"),
            "{unseen}"
        );
    }
}
