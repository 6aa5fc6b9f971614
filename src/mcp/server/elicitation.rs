//! Approval requests to the human at the client, by MCP elicitation.
//!
//! Clients up to 2025-11-25 are asked while the call waits. Later ones receive the request as the
//! result of the call, and repeat the call with the response (SEP-2322).

use rmcp::{
    Peer, RoleServer,
    model::{
        BooleanSchema, CallToolRequestParams, ClientCapabilities, ElicitRequest,
        ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
        InputRequiredResult, StringSchema,
    },
    service::{RequestContext, ServiceError},
};

use super::tool_call::{Approver, ApproverResponse};
use crate::{
    auth::principal::Principal,
    pipeline::{
        CallError,
        approval::{
            ApprovalError, ApprovalMethod, ApprovalRequest, ApprovalResponse, Approvals,
            FormAction, FormResponse, escape_untrusted,
        },
    },
};

/// Key of the only input request of a call.
const APPROVAL_REQUEST_KEY: &str = "approval";
/// Form field for the decision.
const APPROVE_FIELD: &str = "approve";
/// Form field for the name to confirm.
const NAME_FIELD: &str = "name";

/// Requests approval from the human at the client, or else creates a ticket.
pub(super) struct ElicitationApprover<'a> {
    pub(super) approvals: Option<&'a Approvals>,
    pub(super) context: &'a RequestContext<RoleServer>,
    pub(super) principal: &'a Principal,
}

/// Takes the approval response out of a repeated call.
pub(super) fn take_response(request: &mut CallToolRequestParams) -> Option<ApprovalResponse> {
    let state = request.request_state.take()?;
    let said = request
        .input_responses
        .as_mut()?
        .remove(APPROVAL_REQUEST_KEY)?;
    // A response that cannot be parsed does not approve.
    let result =
        serde_json::from_value(said).unwrap_or(ElicitResult::new(ElicitationAction::Cancel));
    Some(ApprovalResponse::Signed {
        state,
        form: parse_form(result),
    })
}

impl Approver for ElicitationApprover<'_> {
    async fn request_approval(
        &self,
        question: &ApprovalRequest,
    ) -> Result<ApproverResponse, CallError> {
        let Self {
            approvals,
            context,
            principal,
        } = *self;
        let approvals = approvals.ok_or_else(|| ApprovalError::NoApprover {
            tool: question.tool,
            rule: question.rule.clone(),
        })?;
        // The human at the caller's own client is not one of several approvers.
        if question.approvers.is_some() || !supports_forms(context.client_capabilities().as_ref()) {
            return Err(create_ticket(approvals, principal, question).await);
        }
        let waits = context
            .protocol_version()
            .is_none_or(|version| version.has_initialize());
        let elicitation = build_elicitation(question);
        if !waits {
            let request = InputRequest::Elicitation(ElicitRequest::new(elicitation));
            let requests = [(APPROVAL_REQUEST_KEY.to_owned(), request)].into();
            let state = approvals.sign_request(principal, question).await?;
            let result = InputRequiredResult::new(Some(requests), Some(state));
            return Ok(ApproverResponse::InputRequired(Box::new(result)));
        }
        let approval = match elicit(&context.peer, elicitation, approvals).await {
            Ok(form) => question.resolve(&form, ApprovalMethod::Form, &principal.name),
            // The client declares forms but does not support them.
            Err(ApprovalError::RequestFailed(_)) if approvals.admin_url().is_some() => {
                return Err(create_ticket(approvals, principal, question).await);
            }
            Err(denied) => Err(denied),
        };
        Ok(ApproverResponse::Decided(Some(ApprovalResponse::Resolved(
            approval,
        ))))
    }
}

/// Creates a ticket for an approver who is not at this client.
async fn create_ticket(
    approvals: &Approvals,
    principal: &Principal,
    question: &ApprovalRequest,
) -> CallError {
    match approvals.create_ticket(principal, question).await {
        Ok(ticket) => ticket.to_pending(question.tool).into(),
        Err(denied) => denied.into(),
    }
}

async fn elicit(
    client: &Peer<RoleServer>,
    elicitation: ElicitRequestParams,
    approvals: &Approvals,
) -> Result<FormResponse, ApprovalError> {
    let asked = client.create_elicitation_with_timeout(elicitation, Some(approvals.timeout()));
    match asked.await {
        Ok(result) => Ok(parse_form(result)),
        Err(ServiceError::Timeout { .. }) => Err(ApprovalError::TimedOut),
        Err(error) => Err(ApprovalError::RequestFailed(error.to_string())),
    }
}

/// Returns `true` if the client supports forms. An elicitation capability without details means
/// that it does.
fn supports_forms(capabilities: Option<&ClientCapabilities>) -> bool {
    let elicitation = capabilities.and_then(|capabilities| capabilities.elicitation.as_ref());
    elicitation.is_some_and(|elicitation| elicitation.form.is_some() || elicitation.url.is_none())
}

/// Builds the form, which is the same for both kinds of client.
fn build_elicitation(question: &ApprovalRequest) -> ElicitRequestParams {
    let yes = |schema: BooleanSchema| {
        schema
            .title("Carry it out")
            .description("Whether to make this call.")
    };
    let form = ElicitationSchema::builder().required_bool_with(APPROVE_FIELD, yes);
    let form = match &question.confirm {
        Some(name) => {
            let what = format!("Type {} to confirm.", escape_untrusted(name));
            let name = |schema: StringSchema| schema.title("Name").description(what);
            form.required_string_with(NAME_FIELD, name)
        }
        None => form,
    };
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.text.clone(),
        requested_schema: form.build_unchecked(),
    }
}

fn parse_form(result: ElicitResult) -> FormResponse {
    let field = |name: &str| result.content.as_ref()?.get(name).cloned();
    FormResponse {
        action: match result.action {
            ElicitationAction::Accept => FormAction::Accept,
            ElicitationAction::Decline => FormAction::Decline,
            _ => FormAction::Cancel,
        },
        approve: field(APPROVE_FIELD).is_some_and(|yes| yes == true),
        typed_name: field(NAME_FIELD).and_then(|name| name.as_str().map(str::to_owned)),
    }
}
