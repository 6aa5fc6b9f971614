//! Completion requests of MCP.

use std::collections::HashMap;

use rmcp::{
    ErrorData, RoleServer,
    model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference},
    service::RequestContext,
};

use super::{Server, arrival::arrival};
use crate::mcp::{
    completion::{Asker, matching},
    guide::GUIDES,
    resources::{GUIDE_TEMPLATE, Kind, OPERATION_TEMPLATE},
};

/// Error text without the name, because rmcp logs errors and a caller may write anything as a name.
const UNDECLARED: &str = "there is no such argument";

impl Server {
    /// Returns at most a hundred values for an argument of a prompt or a resource template.
    pub(super) async fn completed(
        &self,
        request: &CompleteRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let principal = self.caller(context)?;
        let arrival = &arrival(context);
        let (name, typed) = (
            request.argument.name.as_str(),
            request.argument.value.as_str(),
        );
        let wrong = |what: &'static str| ErrorData::invalid_params(what, None);
        let chosen = request
            .context
            .as_ref()
            .and_then(|context| context.arguments.as_ref());
        let chosen = &chosen.cloned().unwrap_or_else(HashMap::new);
        let asker = Asker {
            dispatcher: &self.dispatcher,
            principal,
            arrival,
            chosen,
        };
        let values = match &request.r#ref {
            Reference::Prompt(reference) => {
                let library = self.library();
                let prompt = self.seen_prompt(&library, principal, &reference.name);
                let prompt =
                    prompt.map_err(|error| ErrorData::invalid_params(error.to_string(), None))?;
                let argument = prompt.argument(name).ok_or_else(|| wrong(UNDECLARED))?;
                match &argument.completes {
                    Some(domain) => self.completer.things(asker, domain, typed).await,
                    None => matching(
                        argument.values.iter().map(|value| (value.as_str(), "")),
                        typed,
                    ),
                }
            }
            Reference::Resource(reference) => match reference.uri.as_str() {
                GUIDE_TEMPLATE if name == "topic" => {
                    matching(GUIDES.iter().map(|guide| (guide.topic, guide.title)), typed)
                }
                OPERATION_TEMPLATE if name == "name" => {
                    let entries = self.dispatcher.available_entries();
                    let seen = entries.filter(|entry| self.dispatcher.can_see(principal, entry));
                    matching(seen.map(|entry| (entry.operation.name(), "")), typed)
                }
                GUIDE_TEMPLATE | OPERATION_TEMPLATE => return Err(wrong(UNDECLARED)),
                uri => {
                    let kinds = Kind::all(self.dispatcher.catalog());
                    let kind = kinds.values().find(|kind| kind.template() == uri);
                    let seen = |kind: &&Kind<'_>| self.dispatcher.is_listed(principal, kind.read);
                    let unknown = || wrong("there is no such template");
                    let kind = kind.filter(seen).ok_or_else(unknown)?;
                    if name != kind.argument {
                        return Err(wrong(UNDECLARED));
                    }
                    self.completer
                        .things(asker, kind.read.domain.name, typed)
                        .await
                }
            },
            _ => return Err(wrong("`ref` names a prompt or a template")),
        };
        Ok(CompleteResult::new(shortened(values)))
    }
}

/// Limits the values to the maximum of the protocol, and adds their total.
fn shortened(mut values: Vec<String>) -> CompletionInfo {
    let mut info = CompletionInfo::default();
    info.total = u32::try_from(values.len()).ok();
    info.has_more = Some(values.len() > CompletionInfo::MAX_VALUES);
    values.truncate(CompletionInfo::MAX_VALUES);
    info.values = values;
    info
}
