//! The flow of a tool call, for MCP clients and for the shell: from its name and arguments to the
//! whole result. Knows neither how results are truncated nor how errors are rendered.

use std::sync::Arc;

use portkey_concurrency::box_future;
use portkey_journal::Change;
use portkey_operation::{InputError, JsonMap};
use rmcp::{RoleServer, model::InputRequiredResult, service::RequestContext};

use super::{
    Server,
    builtin::{BuiltinResult, ToolTarget},
};
use crate::{
    auth::principal::Principal,
    changes::{self, PreparedChange},
    mcp::{results::ToolAnswer, surface},
    observability::{call_record::OutcomeKind, request::RequestInfo},
    pipeline::{
        self, Answer, CallError, CallRecord, RowQuery,
        approval::{ApprovalError, ApprovalRequest, ApprovalResponse, take_ticket},
    },
};

/// The flow of the tool calls of one request.
pub(super) struct ToolCallFlow<'a> {
    pub(super) server: &'a Server,
    /// Client to notify of progress; `None` in the shell.
    pub(super) client: Option<&'a RequestContext<RoleServer>>,
    pub(super) principal: &'a Principal,
    pub(super) request_info: &'a RequestInfo,
}

/// A way to reach a human who can approve a call.
pub(super) trait Approver {
    /// Requests approval from a human.
    ///
    /// # Errors
    /// Returns an error if the call has to wait for a ticket to be decided, or if nobody can
    /// approve it. A denial is no error here: the pipeline decides about it, and audits it.
    async fn request_approval(
        &self,
        request: &ApprovalRequest,
    ) -> Result<ApproverResponse, CallError>;
}

/// The response to an approval request.
pub(super) enum ApproverResponse {
    /// The call is repeated with this response; without one if a ticket was decided elsewhere.
    Decided(Option<ApprovalResponse>),
    /// The client asks the human, and repeats the call.
    InputRequired(Box<InputRequiredResult>),
}

/// The end of a tool call that was not rejected before the pipeline.
pub(super) enum ToolCallResult<'a> {
    /// A built-in tool completed the call.
    Builtin(BuiltinResult),
    /// A workflow or a tool of the history ended.
    Workflow(BuiltinResult),
    /// The client has to ask a human, and repeats the call.
    InputRequired(Box<InputRequiredResult>),
    /// An operation was called.
    Operation {
        name: &'a str,
        /// `true` if a built-in tool called it, so that the caller may not know its schema.
        is_by_builtin: bool,
        result: Result<ToolAnswer, CallError>,
    },
}

/// A computed call that is computed again after a human has decided: the resource may have changed
/// meanwhile.
#[derive(Clone, Copy)]
pub(super) enum Recheck<'a> {
    /// The arguments do not depend on a state.
    Nothing,
    /// The call carries a patch.
    Patch {
        /// Arguments with the patch, as received.
        received: &'a JsonMap,
        /// The change that the human has decided about.
        change: &'a PreparedChange<'a>,
    },
    /// The call undoes a change.
    Undo {
        /// The change.
        change: &'a Change,
        /// True if it is undone although the resource has changed since.
        force: bool,
        /// Arguments that the human has decided about.
        args: &'a JsonMap,
    },
}

/// The end of one call of an operation.
pub(super) enum CalledOperation {
    /// The pipeline answered.
    Ended(Result<Answer, CallError>),
    /// The client has to ask a human, and repeats the call.
    InputRequired(Box<InputRequiredResult>),
}

impl ToolCallFlow<'_> {
    /// Calls a built-in tool or an operation: resolves the target, takes the list options, requests
    /// approval if the call needs it, collects the pages and annotates the result.
    ///
    /// Rare steps are boxed: the future of a call is allocated and moved as a whole, and most calls
    /// would only carry their space along.
    ///
    /// # Errors
    /// Returns an error if the call is rejected before it reaches the pipeline. Errors of the
    /// pipeline are in the result.
    pub(super) async fn run<'n>(
        &self,
        name: &'n str,
        mut args: JsonMap,
        mut approval_response: Option<ApprovalResponse>,
        approver: impl Approver,
        record: &mut CallRecord,
    ) -> Result<ToolCallResult<'n>, CallError> {
        let builtin = surface::find_builtin(name);
        let (name, mut args) = match builtin {
            None => (name, args),
            Some(builtin) => {
                approval_response = approval_response.or_else(|| take_ticket(&mut args));
                let target = Box::pin(self.server.resolve_builtin(
                    builtin,
                    self.principal,
                    self.request_info,
                    args,
                    record,
                ))
                .await?;
                match target {
                    ToolTarget::Operation(operation, args) => (operation.name(), args),
                    ToolTarget::Workflow(workflow, args) => {
                        return Box::pin(self.run_workflow(
                            workflow,
                            args,
                            approval_response,
                            approver,
                            record,
                        ))
                        .await;
                    }
                    ToolTarget::Undo(change, args) => {
                        return Box::pin(self.run_undo(
                            &change,
                            args,
                            approval_response,
                            approver,
                            record,
                        ))
                        .await;
                    }
                    ToolTarget::Described(result) => {
                        record.outcome = OutcomeKind::Answered.into();
                        record.untrusted = result.is_untrusted;
                        return Ok(ToolCallResult::Workflow(result));
                    }
                    ToolTarget::Plan(steps) => {
                        let planned = Box::pin(self.plan_changes(steps, record)).await?;
                        return Ok(ToolCallResult::Workflow(planned));
                    }
                    ToolTarget::ApplyPlan(plan) => {
                        return Box::pin(self.apply_plan(
                            &plan,
                            approval_response,
                            approver,
                            record,
                        ))
                        .await;
                    }
                    ToolTarget::Completed(result) => {
                        record.outcome = OutcomeKind::Answered.into();
                        record.untrusted = result.is_untrusted;
                        return Ok(ToolCallResult::Builtin(result));
                    }
                }
            }
        };
        let list = self.take_list_request(name, &mut args, record)?;
        if let Some(list) = list.as_ref().filter(|list| list.wants_all_workspaces()) {
            let answer = Box::pin(self.collect_workspaces(name, list, record)).await?;
            return Ok(ToolCallResult::Operation {
                name,
                is_by_builtin: builtin.is_some(),
                result: Ok(answer.into()),
            });
        }
        approval_response = approval_response.or_else(|| take_ticket(&mut args));
        let received = changes::is_change(&args).then(|| args.clone());
        let prepared = match received.is_some() {
            true => Box::pin(self.prepare_change(name, &mut args, record)).await,
            false => Ok(None),
        };
        let change = match prepared {
            Ok(change) => change,
            Err(error) => {
                return Ok(ToolCallResult::Operation {
                    name,
                    is_by_builtin: builtin.is_some(),
                    result: Err(error),
                });
            }
        };
        if let Some(change) = &change
            && change.is_empty()
        {
            let result = Box::pin(self.finish_without_change(change, &args, record)).await;
            return Ok(ToolCallResult::Operation {
                name,
                is_by_builtin: builtin.is_some(),
                result: Ok(result.into()),
            });
        }
        let recheck = match (&received, &change) {
            (Some(received), Some(change)) => Recheck::Patch { received, change },
            _ => Recheck::Nothing,
        };
        let result = match box_future(self.call_with_approval(
            name,
            args,
            approval_response,
            &approver,
            recheck,
            record,
        ))
        .await
        {
            CalledOperation::Ended(result) => result,
            CalledOperation::InputRequired(result) => {
                return Ok(ToolCallResult::InputRequired(result));
            }
        };
        let result = match &change {
            Some(change) => {
                let mut result = result.map(Answer::into_document);
                change.redact(&mut result);
                // A dry run sends nothing, so that there is nothing to read back.
                if let (Ok(answer), true) = (&mut result, record.is_sent) {
                    *answer = Box::pin(self.report_change(change, answer.take(), record)).await;
                }
                result.map(Answer::Document)
            }
            None => result,
        };
        let result = match (&list, result) {
            (Some(list), Ok(first)) => Ok(self.collect_pages(name, list, first, record).await),
            (_, result) => result.map(ToolAnswer::from),
        };
        let result = match result {
            Ok(answer) => {
                let warnings = std::mem::take(&mut record.warnings);
                let times = std::mem::take(&mut record.times);
                Ok(answer.annotate(warnings, times))
            }
            Err(CallError::UnknownTool(unknown)) => {
                let principal = self.principal;
                Err(self
                    .server
                    .with_suggestions(principal, name, unknown)
                    .into())
            }
            error => error,
        };
        Ok(ToolCallResult::Operation {
            name,
            is_by_builtin: builtin.is_some(),
            result,
        })
    }

    /// Calls an operation, and requests approval if the call needs it.
    pub(super) async fn call_with_approval(
        &self,
        name: &str,
        args: JsonMap,
        approval_response: Option<ApprovalResponse>,
        approver: &impl Approver,
        recheck: Recheck<'_>,
        record: &mut CallRecord,
    ) -> CalledOperation {
        let dispatcher = self.server.dispatcher();
        let call = self.pipeline_call(name, args, approval_response);
        let request = match dispatcher.call_for_answer(call, record).await {
            Err(CallError::ApprovalRequired(request)) => request,
            result => return CalledOperation::Ended(result),
        };
        CalledOperation::Ended(match Box::pin(approver.request_approval(&request)).await {
            // Repeated whatever the response was: the pipeline decides about it, and audits it.
            Ok(ApproverResponse::Decided(response)) => {
                let is_denied = matches!(response, Some(ApprovalResponse::Resolved(Err(_))));
                if !is_denied && let Err(error) = Box::pin(self.check_again(name, recheck)).await {
                    let args = request.into_args();
                    dispatcher.record_rejected_call(
                        self.principal,
                        self.request_info,
                        &args,
                        record,
                    );
                    return CalledOperation::Ended(Err(error));
                }
                let call = self.pipeline_call(name, request.into_args(), response);
                match Box::pin(dispatcher.call_for_answer(call, record)).await {
                    // A second request for approval means that the ticket has expired.
                    Err(CallError::ApprovalRequired(_)) => Err(ApprovalError::TimedOut.into()),
                    result => result,
                }
            }
            Ok(ApproverResponse::InputRequired(result)) => {
                return CalledOperation::InputRequired(result);
            }
            Err(error) => Err(error),
        })
    }

    /// Calls an operation as [`Self::call_with_approval`] does, and reads the rows of the file that its
    /// answer names.
    pub(super) async fn read_rows_with_approval(
        &self,
        call: pipeline::ToolCall<'_>,
        rows: &Arc<RowQuery>,
        approver: &impl Approver,
        record: &mut CallRecord,
    ) -> CalledOperation {
        let dispatcher = self.server.dispatcher();
        let name = call.name;
        let request = match dispatcher.read_rows(call, Arc::clone(rows), record).await {
            Err(CallError::ApprovalRequired(request)) => request,
            result => return CalledOperation::Ended(result),
        };
        CalledOperation::Ended(match approver.request_approval(&request).await {
            Ok(ApproverResponse::Decided(response)) => {
                let call = self.pipeline_call(name, request.into_args(), response);
                match dispatcher.read_rows(call, Arc::clone(rows), record).await {
                    // A second request for approval means that the ticket has expired.
                    Err(CallError::ApprovalRequired(_)) => Err(ApprovalError::TimedOut.into()),
                    result => result,
                }
            }
            Ok(ApproverResponse::InputRequired(result)) => {
                return CalledOperation::InputRequired(result);
            }
            Err(error) => Err(error),
        })
    }

    /// Computes a call again, and rejects it if its arguments are others than those that a human has
    /// decided about.
    async fn check_again(&self, name: &str, recheck: Recheck<'_>) -> Result<(), CallError> {
        match recheck {
            Recheck::Nothing => Ok(()),
            Recheck::Patch { received, change } => {
                let mut args = received.clone();
                let is_same = match changes::take_patch(change.entry.compiled(), &mut args)? {
                    Some(request) => {
                        let again = self.change_context().prepare(change.entry, request).await?;
                        again.arguments() == change.arguments()
                    }
                    None => false,
                };
                let what = "the resource has changed while the call waited for approval, and nothing was \
                            sent. Read it, and give the patch again";
                match is_same {
                    true => Ok(()),
                    false => Err(InputError::new(changes::PATCH_ARGUMENT, what).into()),
                }
            }
            Recheck::Undo {
                change,
                force,
                args,
            } => {
                let again = self.change_context().prepare_undo(change, force).await?;
                let (entry, now) = again.call.entry_and_arguments();
                if entry.operation.name() == name && now == *args {
                    return Ok(());
                }
                let what = "the resource has changed while the undo waited for approval, and nothing was \
                            sent. Look at it, and undo the change again";
                Err(InputError::new(changes::CHANGE_ARGUMENT, what).into())
            }
        }
    }

    /// Builds a call of an operation for the pipeline.
    pub(super) fn pipeline_call<'c>(
        &'c self,
        name: &'c str,
        args: JsonMap,
        approval_response: Option<ApprovalResponse>,
    ) -> pipeline::ToolCall<'c> {
        pipeline::ToolCall {
            principal: self.principal,
            request_info: self.request_info,
            name,
            args,
            approval_response,
        }
    }
}
