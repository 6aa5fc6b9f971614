//! The `whoami` tool: the caller and the permissions of the Portkey key.

use futures_util::future::join_all;
use http::StatusCode;
use portkey_operation::{Effect, JsonMap, Plan, Upstream};
use serde_json::{Value, json};

use super::Server;
use crate::{
    auth::principal::Principal,
    observability::{call_record::OutcomeKind, request::RequestInfo},
    pipeline::{CallError, CallRecord, ToolCall},
    upstream::SendError,
};

/// A read that tests a permission of the key.
///
/// All probes request a page of one and return no untrusted content: a caller that asks before it
/// acts must not be tainted by that.
struct Probe {
    /// Data that the operation reads.
    subject: &'static str,
    operation: &'static str,
    args: &'static str,
}

const WORKSPACES: &str = "workspaces";
const USERS: &str = "users";
const CONFIGS: &str = "configs_without_workspace_id";
const DEFAULTS: &str = "organisation_defaults";

const PROBES: &[Probe] = &[
    Probe {
        subject: WORKSPACES,
        operation: "list-all-workspaces",
        args: r#"{"page_size":1}"#,
    },
    Probe {
        subject: CONFIGS,
        operation: "list-all-configs",
        args: r#"{"page_size":1}"#,
    },
    Probe {
        subject: "integrations",
        operation: "list-all-integrations",
        args: r#"{"page_size":1}"#,
    },
    Probe {
        subject: USERS,
        operation: "list-users",
        args: r#"{"pageSize":1}"#,
    },
    Probe {
        subject: DEFAULTS,
        operation: "get-organisation-defaults",
        args: "{}",
    },
];

/// Kind of the key, as far as the probes show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    OrganisationAdmin,
    Workspace,
    WorkspaceOrAdmin,
    Refused,
    /// No key is configured, so nothing was asked.
    Missing,
    Unknown,
}

impl KeyKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OrganisationAdmin => "organisation_admin",
            Self::Workspace => "workspace",
            Self::WorkspaceOrAdmin => "workspace_or_admin",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the consequence for users of the key.
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
            Self::Missing | Self::Unknown => None,
        }
    }
}

/// Plan, as far as the probes show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlanKind {
    /// An operation that needs Enterprise answers.
    Enterprise,
    /// Every operation that needs Enterprise is rejected, for lack of the plan or of a scope.
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

/// Outcome of a probe.
struct ProbeOutcome<'a> {
    probe: &'a Probe,
    outcome: Result<Value, ProbeError>,
}

/// Reason for which a probe has no response.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("a policy wants a dry run of `{0}`, so that nothing was sent")]
    DryRun(&'static str),
}

impl Probe {
    /// Makes the read.
    async fn send(
        &self,
        server: &Server,
        principal: &Principal,
        request_info: &RequestInfo,
    ) -> Result<Value, ProbeError> {
        let call = ToolCall {
            principal,
            request_info,
            name: self.operation,
            args: serde_json::from_str(self.args).unwrap_or_default(),
            approval_response: None,
        };
        let mut record = CallRecord::default();
        let answer = server.dispatcher.call(call, &mut record).await?;
        match record.outcome.kind {
            // The report of a dry run tells nothing about the key.
            OutcomeKind::DryRun => Err(ProbeError::DryRun(self.operation)),
            _ => Ok(answer),
        }
    }
}

/// Field in the result of `whoami` if Portkey rejects the key.
pub(crate) const KEY_REFUSED_FIELD: &str = "key_refused";

/// Field in the result of `whoami` if no key is configured.
pub(crate) const KEY_MISSING_FIELD: &str = "key_missing";

/// Field in the result of `whoami` if Portkey answered no read.
pub(crate) const UNREACHABLE_FIELD: &str = "portkey_unreachable";

impl ProbeOutcome<'_> {
    /// Returns `Some(true)` if Portkey rejects the key, and `None` if the response tells neither.
    fn is_key_rejected(&self) -> Option<bool> {
        match &self.outcome {
            Ok(_) => Some(false),
            Err(ProbeError::Call(CallError::Upstream(_, refusal))) => {
                Some(refusal.status == StatusCode::UNAUTHORIZED)
            }
            Err(_) => None,
        }
    }

    /// Returns true if no complete response came from Portkey.
    const fn is_unanswered(&self) -> bool {
        matches!(
            &self.outcome,
            Err(ProbeError::Call(CallError::Send(
                SendError::Unreachable { .. }
                    | SendError::Interrupted(..)
                    | SendError::TimedOut { .. }
            )))
        )
    }

    /// Returns `yes`, `no` or `unknown`: the permission of the caller to read the data.
    const fn access_value(&self) -> &'static str {
        match &self.outcome {
            Ok(_) => "yes",
            Err(ProbeError::Call(CallError::Upstream(..))) => "no",
            Err(_) => "unknown",
        }
    }

    /// Returns the reason for which the data was not read, if any.
    fn error_message(&self) -> Option<String> {
        match &self.outcome {
            Ok(_) => None,
            Err(ProbeError::Call(CallError::Upstream(_, refusal))) => Some(match &refusal.code {
                Some(code) => format!("{} {code}", refusal.status.as_u16()),
                None => refusal.status.as_u16().to_string(),
            }),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Server {
    /// Returns the caller and the permissions of its key, as a few cheap reads show them.
    ///
    /// Each read is a call of its own, which policies, limits and the audit log see.
    pub(super) async fn whoami(&self, principal: &Principal, request_info: &RequestInfo) -> Value {
        let probes = PROBES.iter().map(async |probe| ProbeOutcome {
            probe,
            outcome: probe.send(self, principal, request_info).await,
        });
        let missing_key = principal.credentials.key(Upstream::Portkey).err();
        let outcomes = match missing_key {
            // Every probe would report the same.
            Some(_) => Vec::new(),
            None => join_all(probes).await,
        };
        let can_read = |subject: &str| {
            outcomes
                .iter()
                .any(|one| one.probe.subject == subject && one.outcome.is_ok())
        };
        let may_read: JsonMap = outcomes
            .iter()
            .map(|one| (one.probe.subject.to_owned(), one.access_value().into()))
            .collect();
        let errors = outcomes
            .iter()
            .filter_map(|one| Some((one.probe.subject, one.error_message()?)));
        let read_errors: JsonMap = errors
            .map(|(subject, error)| (subject.to_owned(), error.into()))
            .collect();
        let judged: Vec<bool> = outcomes
            .iter()
            .filter_map(ProbeOutcome::is_key_rejected)
            .collect();
        let is_refused = !judged.is_empty() && judged.iter().all(|refuses| *refuses);
        // Only Admin keys read organisation defaults. A workspace key sees its own workspace, and
        // no users of the organisation.
        let only = only_workspace(&outcomes).filter(|_| !can_read(USERS));
        let (key, workspace) = if missing_key.is_some() {
            (KeyKind::Missing, None)
        } else if is_refused {
            (KeyKind::Refused, None)
        } else if can_read(DEFAULTS) {
            (KeyKind::OrganisationAdmin, None)
        } else if let Some(workspace) = only {
            (KeyKind::Workspace, Some(workspace))
        } else if can_read(CONFIGS) {
            (KeyKind::WorkspaceOrAdmin, workspace_of_config(&outcomes))
        } else {
            (KeyKind::Unknown, None)
        };
        let scopes: Vec<String> = principal.scopes.iter().map(ToString::to_string).collect();
        let offered = |effect| {
            let all = self.dispatcher.catalog().iter();
            all.filter(|entry| self.dispatcher.can_see(principal, entry))
                .filter(|entry| entry.operation.effect() == effect)
                .count()
        };
        let plan = match is_refused {
            // The key was refused, and not what needs Enterprise.
            true => PlanKind::Unknown,
            false => self.plan_kind(&outcomes),
        };
        let is_unreachable =
            !outcomes.is_empty() && outcomes.iter().all(ProbeOutcome::is_unanswered);
        let mut answer = json!({
            "caller": &*principal.name,
            "authenticated_by": principal.method.as_str(),
            "scopes": scopes,
            "operations": {
                "read": offered(Effect::Read),
                "create": offered(Effect::Create),
                "update": offered(Effect::Update),
                "delete": offered(Effect::Delete),
            },
            "portkey_key": key.as_str(),
            "portkey_key_note": missing_key.map_or_else(|| key.note().map(str::to_owned), |error| Some(error.to_string())),
            "workspace_id": workspace,
            "plan": plan.as_str(),
            "plan_note": plan.note(),
            "may_read": may_read,
            "read_errors": read_errors,
            "enkrypt_key": principal.credentials.key(Upstream::Enkrypt).is_ok(),
        });
        if missing_key.is_some()
            && let Some(answer) = answer.as_object_mut()
        {
            answer.insert(KEY_MISSING_FIELD.to_owned(), true.into());
        }
        if is_refused && let Some(answer) = answer.as_object_mut() {
            answer.insert(KEY_REFUSED_FIELD.to_owned(), true.into());
        }
        if is_unreachable && let Some(answer) = answer.as_object_mut() {
            answer.insert(UNREACHABLE_FIELD.to_owned(), true.into());
        }
        answer
    }

    /// Returns the plan as far as the probes show it. Portkey answers 403 for a missing plan and
    /// for a missing scope alike.
    fn plan_kind(&self, outcomes: &[ProbeOutcome<'_>]) -> PlanKind {
        let catalog = self.dispatcher.catalog();
        let gated = outcomes.iter().filter(|one| {
            catalog
                .find(one.probe.operation)
                .is_ok_and(|entry| entry.operation.plan() == Plan::Enterprise)
        });
        let mut refused = false;
        for one in gated {
            match &one.outcome {
                Ok(_) => return PlanKind::Enterprise,
                Err(ProbeError::Call(CallError::Upstream(..))) => refused = true,
                Err(_) => {}
            }
        }
        match refused {
            true => PlanKind::Refused,
            false => PlanKind::Unknown,
        }
    }
}

/// Returns the response of a probe if it succeeded.
fn probe_answer<'a>(outcomes: &'a [ProbeOutcome<'_>], subject: &str) -> Option<&'a Value> {
    outcomes
        .iter()
        .find(|one| one.probe.subject == subject)?
        .outcome
        .as_ref()
        .ok()
}

/// Returns the id of the workspace if the key sees only one.
fn only_workspace<'a>(outcomes: &'a [ProbeOutcome<'_>]) -> Option<&'a str> {
    let workspaces = probe_answer(outcomes, WORKSPACES)?;
    workspaces.get("total").filter(|total| **total == 1)?;
    workspaces.pointer("/data/0/id")?.as_str()
}

/// Returns the workspace of the key, taken from one of its configs.
fn workspace_of_config<'a>(outcomes: &'a [ProbeOutcome<'_>]) -> Option<&'a str> {
    probe_answer(outcomes, CONFIGS)?
        .pointer("/data/0/workspace_id")?
        .as_str()
}
