//! What an identifier can be: asked of the list it stands in, as whoever completes it, and kept for a moment.
//!
//! Clients ask with every key that is pressed. So that a list fails as well is kept, and a list that is asked for
//! already is not asked for once more.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moka::sync::Cache;
use portkey_concurrency::single_flight::SingleFlight;
use portkey_operation::JsonMap;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use crate::{
    auth::principal::Principal,
    mcp::resources::Kind,
    observability::request::Arrival,
    pipeline::{Call, Dispatcher, Record},
};

/// How long what was listed is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(30);
/// How long it is kept that a list does not answer, or not to this caller.
const KEPT_FAILURE: Duration = Duration::from_secs(10);
/// Bound on the lists that are asked for at once.
const MAX_RUNNING: usize = 64;
/// Bound on those of one caller: there are more only where it makes up workspaces.
const MAX_RUNNING_PER_CALLER: usize = 4;
/// Bound on what is kept, in bytes of names and values.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Bound on a page; the smallest that any list has (quirks.md §4.6).
const PAGE: usize = 100;
/// Bound on the pages that are read of a list.
const MOST_PAGES: usize = 5;
/// Bound on a value or a name, in bytes: longer ones are no identifiers (quirks.md §5.6).
const LONGEST: usize = 255;
/// What the argument for a workspace is called, in tools and in prompts.
const WORKSPACE: [&str; 3] = ["workspace_id", "workspace", "workspace_slug"];

/// Completes identifiers; cheap to clone, and clones share what they keep.
#[derive(Clone, Debug)]
pub struct Completer {
    kept: Cache<Key, Listed>,
    running: SingleFlight<Key, Candidates>,
}

/// What a list has; none where it does not answer.
type Candidates = Option<Arc<[Candidate]>>;

#[derive(Clone, Debug)]
struct Listed {
    candidates: Candidates,
    until: Instant,
}

/// Whose list, which, and under which policies: nobody gets to see what another may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    caller: Arc<str>,
    list: &'static str,
    workspace: Option<String>,
    policies: String,
}

/// An identifier, and what people call what it names.
#[derive(Clone, Debug)]
struct Candidate {
    value: String,
    name: String,
}

/// Who completes something, and what is known beside it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Carries out the call of the list.
    pub dispatcher: &'a Arc<Dispatcher>,
    /// Who asks.
    pub principal: &'a Principal,
    /// How the request came.
    pub arrival: &'a Arrival,
    /// The arguments that are filled in already.
    pub chosen: &'a HashMap<String, String>,
}

impl Default for Completer {
    fn default() -> Self {
        let weigh = |key: &Key, listed: &Listed| {
            let found = listed.candidates.iter().flat_map(|found| found.iter());
            let bytes: usize = found.map(|one| one.value.len() + one.name.len() + 64).sum();
            let workspace = key.workspace.as_ref().map_or(0, String::len);
            let key = key.caller.len() + key.policies.len() + workspace;
            u32::try_from(bytes + key + 256).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder()
            .time_to_live(KEPT)
            .max_capacity(MAX_BYTES as u64);
        let kept = kept.weigher(weigh).build();
        Self {
            kept,
            running: SingleFlight::new(MAX_RUNNING),
        }
    }
}

impl Completer {
    /// The identifiers of a domain's things that fit what is typed. Whatever goes wrong leaves none: a
    /// completion is a help and no answer.
    pub async fn things(&self, asker: Asker<'_>, domain: &str, typed: &str) -> Vec<String> {
        let catalog = asker.dispatcher.catalog();
        let kinds = Kind::all(catalog);
        let Some(list) = kinds.get(domain).and_then(|kind| kind.list(catalog)) else {
            return Vec::new();
        };
        // Before what is kept is looked at: the request may be narrower than the last one.
        if !asker.dispatcher.is_open(asker.principal, list) {
            return Vec::new();
        }
        let workspace = WORKSPACE.iter().find_map(|name| asker.chosen.get(*name));
        // What is no identifier fits none, and is none of a workspace.
        if typed.len() > LONGEST || workspace.is_some_and(|workspace| workspace.len() > LONGEST) {
            return Vec::new();
        }
        let key = Key {
            caller: asker.principal.name.clone(),
            list: list.operation.name(),
            workspace: workspace.cloned(),
            policies: asker.dispatcher.revisions(asker.principal),
        };
        let known = self
            .kept
            .get(&key)
            .filter(|listed| Instant::now() < listed.until);
        let found = match known {
            Some(listed) => listed.candidates,
            None => self.ask(asker, list.operation.name(), key).await,
        };
        let Some(found) = found else {
            return Vec::new();
        };
        let names = found
            .iter()
            .map(|one| (one.value.as_str(), one.name.as_str()));
        matching(names, typed)
    }

    /// Asks for a list, unless that is under way, and keeps what comes of it. It goes on when whoever asks hangs
    /// up, as clients do with the next key that is pressed.
    async fn ask(&self, asker: Asker<'_>, list: &'static str, key: Key) -> Candidates {
        let caller = key.caller.clone();
        let alike = |other: &Key| other.caller == caller;
        let work = || {
            let (kept, key) = (self.kept.clone(), key.clone());
            let dispatcher = asker.dispatcher.clone();
            let (principal, arrival) = (asker.principal.clone(), asker.arrival.clone());
            async move {
                let workspace = key.workspace.as_deref();
                let found = listed(&dispatcher, &principal, &arrival, list, workspace).await;
                let candidates: Candidates = found.map(Arc::from);
                let time = if candidates.is_some() {
                    KEPT
                } else {
                    KEPT_FAILURE
                };
                let listed = Listed {
                    candidates: candidates.clone(),
                    until: Instant::now() + time,
                };
                kept.insert(key, listed);
                candidates
            }
        };
        let running = self
            .running
            .join(key.clone(), (alike, MAX_RUNNING_PER_CALLER), work)?;
        running.value().await.flatten()
    }
}

/// Those of which value or name has what is typed, whatever its case; where one begins with it, first.
pub fn matching<'a>(
    candidates: impl Iterator<Item = (&'a str, &'a str)>,
    typed: &str,
) -> Vec<String> {
    let typed = typed.trim();
    if typed.len() > LONGEST {
        return Vec::new();
    }
    let typed = typed.to_lowercase();
    let (mut first, mut then) = (Vec::new(), Vec::new());
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

/// What a list has, as far as it is read; none where it does not answer.
async fn listed(
    dispatcher: &Dispatcher,
    principal: &Principal,
    arrival: &Arrival,
    name: &'static str,
    workspace: Option<&str>,
) -> Option<Vec<Candidate>> {
    let list = dispatcher.catalog().find(name).ok()?;
    let takes = |name: &str| {
        let fields = list.published().full_schema().get("properties");
        fields.is_some_and(|fields| fields.get(name).is_some())
    };
    let paging = [("current_page", "page_size"), ("currentPage", "pageSize")];
    let paging = paging.into_iter().find(|(page, _)| takes(page));
    let mut all = Vec::new();
    for page in 0..MOST_PAGES {
        let mut args = JsonMap::new();
        if let Some(workspace) = workspace.filter(|_| takes("workspace_id")) {
            args.insert("workspace_id".to_owned(), workspace.into());
        }
        if let Some((number, size)) = paging {
            args.insert(number.to_owned(), page.into());
            args.insert(size.to_owned(), PAGE.into());
        }
        let call = Call {
            principal,
            arrival,
            name,
            args,
            answer: None,
        };
        let answer = match dispatcher.recorded(call, &mut Record::default()).await {
            Ok(answer) => answer,
            Err(error) => {
                debug!(tool = name, why = %error, "nothing to complete from");
                return None;
            }
        };
        let items = items(&answer);
        all.extend(items.iter().filter_map(candidate));
        if paging.is_none() || items.len() < PAGE {
            break;
        }
    }
    Some(all)
}

/// The items of a list, wherever its answer has them (quirks.md §4.8).
fn items(answer: &Value) -> &[Value] {
    let all =
        std::iter::once(answer).chain(answer.as_object().into_iter().flat_map(|map| map.values()));
    all.filter_map(Value::as_array)
        .next()
        .map_or(&[], Vec::as_slice)
}

fn candidate(item: &Value) -> Option<Candidate> {
    let text = |names: &[&str]| {
        let texts = names.iter().filter_map(|name| item.get(*name)?.as_str());
        texts
            .filter(|text| (1..=LONGEST).contains(&text.len()))
            .map(str::to_owned)
            .next()
    };
    // A slug is what people read, and every argument that has one takes it (quirks.md §5.2).
    let value = text(&["slug", "id"])?;
    Some(Candidate {
        value,
        name: text(&["name", "email"]).unwrap_or_default(),
    })
}
