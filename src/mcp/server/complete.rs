//! Completion requests of MCP.

use std::collections::HashMap;

use portkey_policy::PolicyTarget;
use rmcp::{
    ErrorData, RoleServer,
    model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference},
    service::RequestContext,
};

use super::{Server, request_info::request_info};
use crate::{
    auth::principal::Principal,
    mcp::{
        completion::{CompletionLookup, filter_matches},
        guide::GUIDES,
        resources::{GUIDE_TEMPLATE, OPERATION_TEMPLATE, ResourceKind},
    },
};

/// Error text without the name, because rmcp logs errors and a caller may write anything as a name.
const UNKNOWN_ARGUMENT: &str = "there is no such argument";

impl Server {
    /// Returns at most a hundred values for an argument of a prompt or a resource template.
    pub(super) async fn complete_argument(
        &self,
        request: &CompleteRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let principal = self.caller(context)?;
        let request_info = &request_info(context);
        let (name, typed) = (
            request.argument.name.as_str(),
            request.argument.value.as_str(),
        );
        let invalid_params = |what: &'static str| ErrorData::invalid_params(what, None);
        let chosen = request
            .context
            .as_ref()
            .and_then(|context| context.arguments.as_ref());
        let chosen = &chosen.cloned().unwrap_or_else(HashMap::new);
        let asker = CompletionLookup {
            dispatcher: &self.dispatcher,
            principal,
            request_info,
            arguments: chosen,
        };
        let values = match &request.r#ref {
            Reference::Prompt(reference) => {
                let library = self.prompt_library();
                let prompt = self.find_visible_prompt(&library, principal, &reference.name);
                let prompt =
                    prompt.map_err(|error| ErrorData::invalid_params(error.to_string(), None))?;
                let argument = prompt
                    .argument(name)
                    .ok_or_else(|| invalid_params(UNKNOWN_ARGUMENT))?;
                match &argument.completes {
                    Some(domain) => self.completer.complete_ids(asker, domain, typed).await,
                    None => filter_matches(
                        argument.values.iter().map(|value| (value.as_str(), "")),
                        typed,
                    ),
                }
            }
            Reference::Resource(reference)
                if !self.is_template_visible(principal, &reference.uri) =>
            {
                return Err(invalid_params("there is no such template"));
            }
            Reference::Resource(reference) => match reference.uri.as_str() {
                GUIDE_TEMPLATE if name == "topic" => {
                    filter_matches(GUIDES.iter().map(|guide| (guide.topic, guide.title)), typed)
                }
                OPERATION_TEMPLATE if name == "name" => {
                    let entries = self.dispatcher.available_entries();
                    let seen = entries.filter(|entry| self.dispatcher.can_see(principal, entry));
                    filter_matches(seen.map(|entry| (entry.operation.name(), "")), typed)
                }
                GUIDE_TEMPLATE | OPERATION_TEMPLATE => {
                    return Err(invalid_params(UNKNOWN_ARGUMENT));
                }
                uri => {
                    let kinds = ResourceKind::by_domain(self.dispatcher.catalog());
                    let kind = kinds.values().find(|kind| kind.uri_template() == uri);
                    let seen =
                        |kind: &&ResourceKind<'_>| self.dispatcher.is_listed(principal, kind.read);
                    let unknown = || invalid_params("there is no such template");
                    let kind = kind.filter(seen).ok_or_else(unknown)?;
                    if name != kind.id_argument {
                        return Err(invalid_params(UNKNOWN_ARGUMENT));
                    }
                    self.completer
                        .complete_ids(asker, kind.read.domain.name, typed)
                        .await
                }
            },
            _ => return Err(invalid_params("`ref` names a prompt or a template")),
        };
        let values = match &request.r#ref {
            Reference::Resource(reference) => {
                self.filter_permitted_values(principal, &reference.uri, name, values)
            }
            _ => values,
        };
        Ok(CompleteResult::new(completion_info(values)))
    }
}

impl Server {
    /// Leaves out the values whose resource the policies deny.
    fn filter_permitted_values(
        &self,
        principal: &Principal,
        template: &str,
        argument: &str,
        mut values: Vec<String>,
    ) -> Vec<String> {
        let place = format!("{{{argument}}}");
        values.retain(|value| {
            let uri = template.replace(&place, value);
            let target = PolicyTarget::Resource(&uri);
            self.dispatcher.can_see_item(principal, &target)
        });
        values
    }
}

/// Limits the values to the maximum of the protocol, and adds their total.
fn completion_info(mut values: Vec<String>) -> CompletionInfo {
    let mut info = CompletionInfo::default();
    info.total = u32::try_from(values.len()).ok();
    info.has_more = Some(values.len() > CompletionInfo::MAX_VALUES);
    values.truncate(CompletionInfo::MAX_VALUES);
    info.values = values;
    info
}
