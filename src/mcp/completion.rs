//! Completion of identifiers from the list that contains them, fetched as the caller and cached
//! briefly.
//!
//! Clients request a completion with every key press. A failed list is therefore cached too, and a
//! list that is already being fetched is not fetched a second time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moka::sync::Cache;
use portkey_concurrency::{single_flight::SingleFlight, spawn_cache_expiry};
use portkey_operation::JsonMap;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use crate::{
    auth::principal::Principal,
    mcp::resources::ResourceKind,
    observability::request::RequestInfo,
    pipeline::{CallRecord, Dispatcher, ToolCall},
};

/// Lifetime of the cached candidates of a list.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(30);
/// Lifetime of a cached failure: the list gave no result, or none to this caller.
const FAILURE_CACHE_TTL: Duration = Duration::from_secs(10);
/// Maximum number of lists fetched concurrently.
const MAX_LOOKUPS: usize = 64;
/// Maximum number of lists fetched concurrently for one caller. Only a caller that makes up
/// workspaces needs more.
const MAX_LOOKUPS_PER_CALLER: usize = 4;
/// Maximum size of the cache, in bytes of names and values.
pub(crate) const MAX_CACHE_BYTES: usize = 4 << 20;
/// Page size to request: the smallest maximum that any Portkey list has.
const PAGE_SIZE: usize = 100;
/// Maximum number of pages read from one list.
const MAX_PAGES: usize = 5;
/// Maximum size of a value or a name, in bytes. Portkey's identifiers are not longer.
const MAX_VALUE_BYTES: usize = 255;
/// Names of the argument for a workspace, in tools and in prompts.
const WORKSPACE_ARGUMENTS: [&str; 3] = ["workspace_id", "workspace", "workspace_slug"];

/// Completes identifiers. Cheap to clone; clones share their cache.
#[derive(Clone, Debug)]
pub struct Completer {
    cache: Arc<Cache<CacheKey, CachedCandidates>>,
    lookups: SingleFlight<CacheKey, Candidates>,
}

/// Candidates of a list; `None` if the list gave no result.
type Candidates = Option<Arc<[Candidate]>>;

#[derive(Clone, Debug)]
struct CachedCandidates {
    candidates: Candidates,
    expires_at: Instant,
}

/// Key of a cached list: caller, list, workspace and policies. No caller is shown what only another
/// may read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    caller: Arc<str>,
    list: &'static str,
    workspace: Option<String>,
    policies: String,
}

/// An identifier and the display name of the entity that it identifies.
#[derive(Clone, Debug)]
struct Candidate {
    value: String,
    name: String,
}

/// The caller of a completion and the state of its request.
#[derive(Clone, Copy, Debug)]
pub struct CompletionLookup<'a> {
    /// Dispatcher that makes the list call.
    pub dispatcher: &'a Arc<Dispatcher>,
    /// Caller that requests the completion.
    pub principal: &'a Principal,
    /// Information about the request.
    pub request_info: &'a RequestInfo,
    /// Values of the arguments that are filled in already.
    pub arguments: &'a HashMap<String, String>,
}

impl Default for Completer {
    fn default() -> Self {
        let weigh = |key: &CacheKey, listed: &CachedCandidates| {
            let found = listed.candidates.iter().flat_map(|found| found.iter());
            let bytes: usize = found.map(|one| one.value.len() + one.name.len() + 64).sum();
            let workspace = key.workspace.as_ref().map_or(0, String::len);
            let key = key.caller.len() + key.policies.len() + workspace;
            u32::try_from(bytes + key + 256).unwrap_or(u32::MAX)
        };
        let builder = Cache::builder()
            .time_to_live(CACHE_TTL)
            .max_capacity(MAX_CACHE_BYTES as u64);
        let cache = Arc::new(builder.weigher(weigh).build());
        spawn_cache_expiry(&cache);
        Self {
            cache,
            lookups: SingleFlight::new(MAX_LOOKUPS),
        }
    }
}

impl Completer {
    /// Returns the identifiers of a domain's entities that match the typed text.
    ///
    /// A failure yields no identifiers and no error: a completion is only a help.
    pub async fn complete_ids(
        &self,
        asker: CompletionLookup<'_>,
        domain: &str,
        typed: &str,
    ) -> Vec<String> {
        let catalog = asker.dispatcher.catalog();
        let kinds = ResourceKind::by_domain(catalog);
        let Some(list) = kinds
            .get(domain)
            .and_then(|kind| kind.list_operation(catalog))
        else {
            return Vec::new();
        };
        // Checked before the cache, because this request may be restricted more than the last one.
        if !asker.dispatcher.is_authorized(asker.principal, list) {
            return Vec::new();
        }
        let workspace = WORKSPACE_ARGUMENTS
            .iter()
            .find_map(|name| asker.arguments.get(*name));
        // A longer text is no identifier: it matches nothing and names no workspace.
        if typed.len() > MAX_VALUE_BYTES
            || workspace.is_some_and(|workspace| workspace.len() > MAX_VALUE_BYTES)
        {
            return Vec::new();
        }
        let key = CacheKey {
            caller: asker.principal.name.clone(),
            list: list.operation.name(),
            workspace: workspace.cloned(),
            policies: asker.dispatcher.policy_revisions(asker.principal),
        };
        let known = self
            .cache
            .get(&key)
            .filter(|listed| Instant::now() < listed.expires_at);
        let found = match known {
            Some(listed) => listed.candidates,
            None => {
                self.load_candidates(asker, list.operation.name(), key)
                    .await
            }
        };
        let Some(found) = found else {
            return Vec::new();
        };
        let names = found
            .iter()
            .map(|one| (one.value.as_str(), one.name.as_str()));
        filter_matches(names, typed)
    }

    /// Fetches a list, unless that is in flight, and caches the outcome.
    ///
    /// The fetch continues if the client cancels its request, as clients do with the next key
    /// press.
    async fn load_candidates(
        &self,
        asker: CompletionLookup<'_>,
        list: &'static str,
        key: CacheKey,
    ) -> Candidates {
        let caller = key.caller.clone();
        let alike = |other: &CacheKey| other.caller == caller;
        let work = || {
            let cache = self.cache.clone();
            let key = key.clone();
            let dispatcher = asker.dispatcher.clone();
            let principal = asker.principal.clone();
            let request_info = asker.request_info.clone();
            async move {
                let workspace = key.workspace.as_deref();
                let found =
                    list_candidates(&dispatcher, &principal, &request_info, list, workspace).await;
                let candidates: Candidates = found.map(Arc::from);
                let time = if candidates.is_some() {
                    CACHE_TTL
                } else {
                    FAILURE_CACHE_TTL
                };
                let listed = CachedCandidates {
                    candidates: candidates.clone(),
                    expires_at: Instant::now() + time,
                };
                cache.insert(key, listed);
                candidates
            }
        };
        let running = self
            .lookups
            .join(key.clone(), (alike, MAX_LOOKUPS_PER_CALLER), work)?;
        running.value().await.flatten()
    }
}

/// Returns the candidates of which the value or the name contains the typed text, ignoring case.
///
/// Candidates that begin with the text come first.
pub fn filter_matches<'a>(
    candidates: impl Iterator<Item = (&'a str, &'a str)>,
    typed: &str,
) -> Vec<String> {
    let typed = typed.trim();
    if typed.len() > MAX_VALUE_BYTES {
        return Vec::new();
    }
    let typed = typed.to_lowercase();
    let mut first = Vec::new();
    let mut then = Vec::new();
    for (value, name) in candidates {
        let either = [value.to_lowercase(), name.to_lowercase()];
        if either.iter().any(|text| text.starts_with(&typed)) {
            first.push(value.to_owned());
        } else if either.iter().any(|text| text.contains(&typed)) {
            then.push(value.to_owned());
        }
    }
    first.append(&mut then);
    first
}

/// Reads the candidates of a list, up to [`MAX_PAGES`] pages; `None` if a call fails.
async fn list_candidates(
    dispatcher: &Dispatcher,
    principal: &Principal,
    request_info: &RequestInfo,
    name: &'static str,
    workspace: Option<&str>,
) -> Option<Vec<Candidate>> {
    let list = dispatcher.catalog().find(name).ok()?;
    let takes = |name: &str| {
        let fields = list.compiled().full_schema().get("properties");
        fields.is_some_and(|fields| fields.get(name).is_some())
    };
    let paging = [("current_page", "page_size"), ("currentPage", "pageSize")];
    let paging = paging.into_iter().find(|(page, _)| takes(page));
    let mut all = Vec::new();
    for page in 0..MAX_PAGES {
        let mut args = JsonMap::new();
        if let Some(workspace) = workspace.filter(|_| takes("workspace_id")) {
            args.insert("workspace_id".to_owned(), workspace.into());
        }
        if let Some((number, size)) = paging {
            args.insert(number.to_owned(), page.into());
            args.insert(size.to_owned(), PAGE_SIZE.into());
        }
        let call = ToolCall {
            principal,
            request_info,
            name,
            args,
            approval_response: None,
        };
        let answer = match dispatcher.call(call, &mut CallRecord::default()).await {
            Ok(answer) => answer,
            Err(error) => {
                debug!(tool = name, why = %error, "nothing to complete from");
                return None;
            }
        };
        let items = find_items(&answer);
        all.extend(items.iter().filter_map(parse_candidate));
        if paging.is_none() || items.len() < PAGE_SIZE {
            break;
        }
    }
    Some(all)
}

/// Returns the items of a list. The key that holds them differs between endpoints, so the first
/// array is taken.
fn find_items(answer: &Value) -> &[Value] {
    let all =
        std::iter::once(answer).chain(answer.as_object().into_iter().flat_map(|map| map.values()));
    all.filter_map(Value::as_array)
        .next()
        .map_or(&[], Vec::as_slice)
}

fn parse_candidate(item: &Value) -> Option<Candidate> {
    let text = |names: &[&str]| {
        let texts = names.iter().filter_map(|name| item.get(*name)?.as_str());
        texts
            .filter(|text| (1..=MAX_VALUE_BYTES).contains(&text.len()))
            .map(str::to_owned)
            .next()
    };
    // A slug is what people read, and every argument for an entity that has a slug accepts it.
    let value = text(&["slug", "id"])?;
    Some(Candidate {
        value,
        name: text(&["name", "email"]).unwrap_or_default(),
    })
}
