//! `review-access`: keys and people that can do too much, by severity, with the evidence.

mod keys;
mod people;

use std::collections::HashMap;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use portkey_operation::{InputError, JsonMap, TimeRange, get};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Listing, Steps, Workflow, arguments,
    partial_reads::PartialReads,
    text,
    workspace_sight::{IfAbsent, describe_beyond, look_up_workspace},
};
use crate::pipeline::CallError;

/// Maximum number of calls, of which the members of a workspace take one or more.
const MAX_CALLS: usize = 60;
/// Default and maximum number of keys or people that a finding names.
const DEFAULT_NAMED: u64 = 5;
/// Default number of days without a request, and of days until an expiry.
const DEFAULT_DAYS: u64 = 30;
/// Maximum length of a name, in characters.
const MAX_NAME_CHARS: usize = 80;

pub(super) const WORKFLOW: Workflow = Workflow {
    operation: get::<ReviewAccess>("review-access", "/")
        .with_search_terms(&[
            "who can do too much",
            "access review",
            "unused keys",
            "keys that expire soon",
            "keys without owner or budget",
            "who is an admin",
            "overprivileged",
            "wer hat zu viele Rechte",
        ])
        // Names of keys and people are written by others.
        .returns_untrusted_content(),
    needs: &["list-all-api-keys"],
    needs_of_call: |_| Vec::new(),
    listing: Listing::WithOperations,
    max_steps: MAX_CALLS,
    reads_quietly: false,
    run: |args, steps| async move { run(&args, &steps).await }.boxed(),
};

/// Review access
///
/// Finds excess access: keys unused, expiring, over-scoped, without owner or budget, and people with
/// wide roles. Findings by severity with ids.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the arguments themselves are read")]
struct ReviewAccess {
    /// Only this workspace's keys and members.
    workspace_id: Option<String>,
    /// Only findings of this severity.
    #[schemars(extend("x-publish" = "hidden"))]
    severity: Option<SeverityName>,
    /// Days without a request; 30 when left out.
    #[schemars(range(min = 1, max = 90), extend("x-publish" = "hidden"))]
    unused_days: Option<u32>,
    /// Days until an expiry; 30 when left out.
    #[schemars(range(min = 1, max = 365), extend("x-publish" = "hidden"))]
    expires_within_days: Option<u32>,
    /// Named keys or people of each finding; 5 when left out.
    #[schemars(range(min = 1, max = 100), extend("x-publish" = "hidden"))]
    limit: Option<u32>,
}

/// Severity of a finding.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SeverityName {
    High,
    Medium,
    Low,
}

/// Severity of a finding, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    High,
    Medium,
    Low,
}

impl Severity {
    const ALL: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// A kind of finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FindingKind {
    severity: Severity,
    name: &'static str,
    /// Reason in a sentence.
    why: &'static str,
}

const fn kind(severity: Severity, name: &'static str, why: &'static str) -> FindingKind {
    FindingKind {
        severity,
        name,
        why,
    }
}

/// Findings, by kind.
#[derive(Default)]
struct Findings {
    groups: Vec<(FindingKind, Vec<Value>)>,
}

impl Findings {
    fn add(&mut self, kind: FindingKind, subject: JsonMap) {
        let subject = Value::Object(subject);
        match self.groups.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, subjects)) => subjects.push(subject),
            None => self.groups.push((kind, vec![subject])),
        }
    }

    fn count(&self, severity: Severity) -> usize {
        let groups = self
            .groups
            .iter()
            .filter(|(kind, _)| kind.severity == severity);
        groups.map(|(_, subjects)| subjects.len()).sum()
    }

    fn to_json(&self, wanted: Option<&str>, limit: usize) -> Vec<Value> {
        let groups = self
            .groups
            .iter()
            .filter(|(kind, _)| wanted.is_none_or(|wanted| wanted == kind.severity.as_str()));
        let finding = |(kind, subjects): &(FindingKind, Vec<Value>)| {
            json!({ "severity": kind.severity.as_str(), "finding": kind.name, "why": kind.why,
                "count": subjects.len(), "first": subjects.iter().take(limit).collect::<Vec<_>>() })
        };
        groups.map(finding).collect()
    }
}

/// A workspace, as far as the review needs it.
struct Workspace {
    id: String,
    slug: String,
    has_budget: bool,
}

/// Workspaces of the organisation.
#[derive(Default)]
struct Workspaces {
    all: Vec<Workspace>,
}

impl Workspaces {
    fn find(&self, handle: &str) -> Option<&Workspace> {
        self.all
            .iter()
            .find(|workspace| workspace.id == handle || workspace.slug == handle)
    }

    /// Returns the slug of a workspace, or else what was given.
    fn slug<'a>(&'a self, handle: &'a str) -> &'a str {
        self.find(handle).map_or(handle, |found| &found.slug)
    }
}

/// The review of one call.
struct Review<'a> {
    args: &'a JsonMap,
    steps: &'a Steps,
    now: Timestamp,
    reads: PartialReads<'a>,
    workspaces: Workspaces,
    findings: Findings,
}

/// Number of what was looked at.
struct Reviewed {
    keys: usize,
    people: usize,
}

async fn run(args: &JsonMap, steps: &Steps) -> Result<Value, CallError> {
    // Any range that has not ended ends now.
    let today = TimeRange::parse("1m", steps.clock());
    let now = today.and_then(|range| range.end().parse().ok());
    let now = now.ok_or_else(|| InputError::new("", "the clock of the server is out of range"))?;
    let mut review = Review {
        args,
        steps,
        now,
        reads: PartialReads::new(steps, MAX_CALLS),
        workspaces: Workspaces::default(),
        findings: Findings::default(),
    };
    let workspace = text(args, "workspace_id");
    let sight = look_up_workspace(steps, "workspace_id", workspace, IfAbsent::Refuse).await?;
    review.reads.count_calls(sight.calls);
    if let Some(doubt) = sight.doubt {
        review.reads.miss("workspace", &doubt);
    }
    review.read_workspaces().await;
    let users = review.review_users().await;
    let keys = review.review_keys(users.as_ref()).await;
    review.review_members().await;
    review.review_invites().await;
    let reviewed = Reviewed {
        keys,
        people: users.map_or(0, |users| users.len()),
    };
    Ok(review.finish(&reviewed))
}

impl Review<'_> {
    /// Returns the number of days that an argument has.
    fn days(&self, name: &str) -> u64 {
        let days = self.args.get(name).and_then(Value::as_u64);
        days.unwrap_or(DEFAULT_DAYS)
    }

    /// Returns a time a number of days from now.
    fn in_days(&self, days: i64) -> Timestamp {
        let time = self
            .now
            .saturating_add(SignedDuration::from_hours(24 * days));
        // Both are bounded by the schema.
        time.unwrap_or(self.now)
    }

    async fn read_workspaces(&mut self) {
        let part = "workspaces";
        let list = self
            .reads
            .list(part, "list-all-workspaces", JsonMap::new())
            .await;
        let items = list.map(|list| list.items).unwrap_or_default();
        if items.len() == 1 && !self.args.contains_key("workspace_id") {
            self.reads.count_calls(1);
            if let Some(beyond) = describe_beyond(self.steps, &items).await {
                self.reads.miss(part, &beyond);
            }
        }
        let workspace = |item: &Value| {
            let field = |name: &str| item.get(name)?.as_str().map(str::to_owned);
            let slug = field("slug").or_else(|| field("id"))?;
            Some(Workspace {
                id: field("id").unwrap_or_else(|| slug.clone()),
                slug,
                has_budget: has_budget(item),
            })
        };
        self.workspaces.all = items.iter().filter_map(workspace).collect();
    }

    fn finish(self, reviewed: &Reviewed) -> Value {
        let Self {
            args,
            reads,
            mut findings,
            ..
        } = self;
        let wanted = text(args, "severity");
        let limit = args.get("limit").and_then(Value::as_u64);
        let limit = usize::try_from(limit.unwrap_or(DEFAULT_NAMED)).unwrap_or(usize::MAX);
        findings.groups.sort_by_key(|(kind, _)| *kind);
        let mut answer = arguments(
            Severity::ALL.map(|severity| (severity.as_str(), findings.count(severity).into())),
        );
        answer.extend(arguments([
            (
                "reviewed",
                json!({ "keys": reviewed.keys, "people": reviewed.people }),
            ),
            ("findings", findings.to_json(wanted, limit).into()),
            ("calls", reads.calls().into()),
            ("not_seen", reads.into_missing()),
        ]));
        Value::Object(answer)
    }
}

/// Returns true if something has a limit on its spending, tokens or requests.
fn has_budget(holder: &Value) -> bool {
    let is_limit = |limit: &Value| limit.get("credit_limit").is_some_and(Value::is_number);
    match holder.get("usage_limits") {
        Some(Value::Array(limits)) => limits.iter().any(is_limit),
        Some(limit) => is_limit(limit),
        None => false,
    }
}

/// Returns the text of a field, bounded in length.
fn field(item: &Value, name: &str) -> Value {
    let text = item.get(name).and_then(Value::as_str);
    text.map_or(Value::Null, |text| {
        text.chars().take(MAX_NAME_CHARS).collect::<String>().into()
    })
}

/// Returns the day of a time.
fn day(item: &Value, name: &str) -> Value {
    match timestamp(item, name) {
        Some(at) => at.strftime("%Y-%m-%d").to_string().into(),
        None => Value::Null,
    }
}

fn timestamp(item: &Value, name: &str) -> Option<Timestamp> {
    item.get(name)?.as_str()?.parse().ok()
}

/// Users of the organisation by id, with their addresses.
type Users = HashMap<String, Value>;
