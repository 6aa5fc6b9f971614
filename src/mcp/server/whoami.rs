//! Who calls, and what the Portkey key is good for.

use futures_util::future::join_all;
use http::StatusCode;
use portkey_operation::{Effect, JsonMap, Plan, Upstream};
use serde_json::{Value, json};

use super::Server;
use crate::{
    auth::principal::Principal,
    observability::request::Arrival,
    pipeline::{Call, CallError, Record},
};

/// A read that tells something of a key. All are answered with a page of one, in which nothing is that
/// strangers wrote: who asks before it acts must not be tainted by that.
struct Probe {
    /// What it opens.
    opens: &'static str,
    operation: &'static str,
    args: &'static str,
}

const WORKSPACES: &str = "workspaces";
const USERS: &str = "users";
const CONFIGS: &str = "configs_without_workspace_id";
const DEFAULTS: &str = "organisation_defaults";

const PROBES: &[Probe] = &[
    Probe {
        opens: WORKSPACES,
        operation: "list-all-workspaces",
        args: r#"{"page_size":1}"#,
    },
    Probe {
        opens: CONFIGS,
        operation: "list-all-configs",
        args: r#"{"page_size":1}"#,
    },
    Probe {
        opens: "integrations",
        operation: "list-all-integrations",
        args: r#"{"page_size":1}"#,
    },
    Probe {
        opens: USERS,
        operation: "list-users",
        args: r#"{"pageSize":1}"#,
    },
    Probe {
        opens: DEFAULTS,
        operation: "get-organisation-defaults",
        args: "{}",
    },
];

/// What the key is, as far as the probes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    OrganisationAdmin,
    Workspace,
    WorkspaceOrAdmin,
    Refused,
    Unknown,
}

impl KeyKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OrganisationAdmin => "organisation_admin",
            Self::Workspace => "workspace",
            Self::WorkspaceOrAdmin => "workspace_or_admin",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// What follows for whoever uses the key.
    const fn note(self) -> Option<&'static str> {
        match self {
            Self::OrganisationAdmin => Some(
                "an Admin key of the organisation: name the `workspace_id` of what is in a workspace",
            ),
            Self::Workspace => Some("a key of one workspace: `workspace_id` is ignored"),
            Self::WorkspaceOrAdmin => Some(
                "a key of one workspace, or an Admin key that may not read organisation defaults",
            ),
            Self::Refused => Some(
                "refused by Portkey (401): it is wrong, revoked, expired or of another Portkey",
            ),
            Self::Unknown => None,
        }
    }
}

/// What the probes say of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlanKind {
    /// An operation that needs it answers.
    Enterprise,
    /// Whatever needs Enterprise is refused, for want of the plan or of a scope.
    Refused,
    Unknown,
}

impl PlanKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Enterprise => "enterprise",
            Self::Refused | Self::Unknown => "unknown",
        }
    }

    const fn note(self) -> Option<&'static str> {
        match self {
            Self::Enterprise => Some("an operation that needs Enterprise answers"),
            Self::Refused => {
                Some("what needs Enterprise is refused, for want of the plan or of a scope")
            }
            Self::Unknown => None,
        }
    }
}

/// What came of a probe.
struct Told<'a> {
    probe: &'a Probe,
    outcome: Result<Value, CallError>,
}

/// What `whoami` answers beside the rest if Portkey refuses the key.
pub(crate) const KEY_REFUSED: &str = "key_refused";

impl Told<'_> {
    /// Whether Portkey knows no such key; none where it has said neither yes nor no.
    fn refuses_key(&self) -> Option<bool> {
        match &self.outcome {
            Ok(_) => Some(false),
            Err(CallError::Refused(_, refusal)) => Some(refusal.status == StatusCode::UNAUTHORIZED),
            Err(_) => None,
        }
    }

    /// Whether the caller may read it: `yes`, `no` or `unknown`.
    const fn may_read(&self) -> &'static str {
        match &self.outcome {
            Ok(_) => "yes",
            Err(CallError::Refused(..)) => "no",
            Err(_) => "unknown",
        }
    }

    /// Why it was not read, where it was not.
    fn error(&self) -> Option<String> {
        match &self.outcome {
            Ok(_) => None,
            Err(CallError::Refused(_, refusal)) => Some(match &refusal.code {
                Some(code) => format!("{} {code}", refusal.status.as_u16()),
                None => refusal.status.as_u16().to_string(),
            }),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Server {
    /// Who calls, and what a few cheap reads say of the key. Each is a call of its own: policy, limits and
    /// the audit log have it.
    pub(super) async fn whoami(&self, principal: &Principal, arrival: &Arrival) -> Value {
        let probes = PROBES.iter().map(async |probe| {
            let args = serde_json::from_str(probe.args).unwrap_or_default();
            let call = Call {
                principal,
                arrival,
                name: probe.operation,
                args,
                answer: None,
            };
            Told {
                probe,
                outcome: self.dispatcher.recorded(call, &mut Record::default()).await,
            }
        });
        let told = join_all(probes).await;
        let opened = |what: &str| {
            told.iter()
                .any(|one| one.probe.opens == what && one.outcome.is_ok())
        };
        let may_read: JsonMap = told
            .iter()
            .map(|one| (one.probe.opens.to_owned(), one.may_read().into()))
            .collect();
        let errors = told
            .iter()
            .filter_map(|one| Some((one.probe.opens, one.error()?)));
        let read_errors: JsonMap = errors
            .map(|(opens, error)| (opens.to_owned(), error.into()))
            .collect();
        let judged: Vec<bool> = told.iter().filter_map(Told::refuses_key).collect();
        let is_refused = !judged.is_empty() && judged.iter().all(|refuses| *refuses);
        // Organisation defaults are for Admin keys alone. A workspace's key is shown its own workspace, and
        // no users of the organisation.
        let only = only_workspace(&told).filter(|_| !opened(USERS));
        let (key, workspace) = if is_refused {
            (KeyKind::Refused, None)
        } else if opened(DEFAULTS) {
            (KeyKind::OrganisationAdmin, None)
        } else if let Some(workspace) = only {
            (KeyKind::Workspace, Some(workspace))
        } else if opened(CONFIGS) {
            (KeyKind::WorkspaceOrAdmin, workspace_of_config(&told))
        } else {
            (KeyKind::Unknown, None)
        };
        let scopes: Vec<String> = principal.scopes.iter().map(ToString::to_string).collect();
        let offered = |effect| {
            let all = self.dispatcher.catalog().iter();
            all.filter(|entry| self.dispatcher.shows(principal, entry))
                .filter(|entry| entry.operation.effects() == effect)
                .count()
        };
        let plan = self.plan(&told);
        let mut answer = json!({
            "caller": &*principal.name,
            "authenticated_by": principal.method.word(),
            "scopes": scopes,
            "operations": {
                "read": offered(Effect::Read),
                "create": offered(Effect::Create),
                "update": offered(Effect::Update),
                "delete": offered(Effect::Delete),
            },
            "portkey_key": key.as_str(),
            "portkey_key_note": key.note(),
            "workspace_id": workspace,
            "plan": plan.as_str(),
            "plan_note": plan.note(),
            "may_read": may_read,
            "read_errors": read_errors,
            "enkrypt_key": principal.credentials.key(Upstream::Enkrypt).is_ok(),
        });
        if is_refused && let Some(answer) = answer.as_object_mut() {
            answer.insert(KEY_REFUSED.to_owned(), true.into());
        }
        answer
    }

    /// What the probes say of the plan: 403 is the same for a plan and for a scope that lacks (errors.md).
    fn plan(&self, told: &[Told<'_>]) -> PlanKind {
        let catalog = self.dispatcher.catalog();
        let gated = told.iter().filter(|one| {
            catalog
                .find(one.probe.operation)
                .is_ok_and(|entry| entry.operation.plan() == Plan::Enterprise)
        });
        let mut refused = false;
        for one in gated {
            match &one.outcome {
                Ok(_) => return PlanKind::Enterprise,
                Err(CallError::Refused(..)) => refused = true,
                Err(_) => {}
            }
        }
        match refused {
            true => PlanKind::Refused,
            false => PlanKind::Unknown,
        }
    }
}

/// The answer of a read, if it was opened.
fn answer_of<'a>(told: &'a [Told<'_>], opens: &str) -> Option<&'a Value> {
    told.iter()
        .find(|one| one.probe.opens == opens)?
        .outcome
        .as_ref()
        .ok()
}

/// The id of the only workspace that the key is shown.
fn only_workspace<'a>(told: &'a [Told<'_>]) -> Option<&'a str> {
    let workspaces = answer_of(told, WORKSPACES)?;
    workspaces.get("total").filter(|total| **total == 1)?;
    workspaces.pointer("/data/0/id")?.as_str()
}

/// The workspace that the key is of, as a config of it says.
fn workspace_of_config<'a>(told: &'a [Told<'_>]) -> Option<&'a str> {
    answer_of(told, CONFIGS)?
        .pointer("/data/0/workspace_id")?
        .as_str()
}
