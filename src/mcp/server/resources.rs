//! Resource requests of MCP: guides and operations from static data, entities by a call.

use std::borrow::Cow;

use portkey_operation::JsonMap;
use portkey_policy::PolicyTarget;
use rmcp::{
    ErrorData, RoleServer,
    model::{
        Annotations, CacheScope, ListResourceTemplatesResult, ListResourcesResult,
        PaginatedRequestParams, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
        Role,
    },
    service::RequestContext,
};

use super::{
    LIST_TTL_MS, Server, error_type, reject_cursor,
    request_info::{request_info, shows_cards},
};
use crate::{
    auth::principal::Principal,
    mcp::{
        cards::{CARD_MIME_TYPE, CARDS, Card},
        guide::GUIDES,
        reply,
        resources::{
            self, GUIDE_TEMPLATE, OPERATION_TEMPLATE, RESULT_TEMPLATE, ResourceAddress,
            ResourceKind,
        },
        results::{PartRequest, ResultError, ResultFlags},
        tool_names::{spell_in_text, spell_in_value},
    },
    observability::{
        observer::{CallObserver, RequestObserver},
        request::RequestInfo,
    },
    pipeline::{self, CallError},
};

const JSON_MIME_TYPE: &str = "application/json";
const MARKDOWN_MIME_TYPE: &str = "text/markdown";

const UNKNOWN_ADDRESS: &str = "no resource has that address";

/// Time for which a client may cache an entity: none, because anyone may change it.
const ENTITY_TTL_MS: u64 = 0;

impl Server {
    /// Lists the guides, and for clients that show cards the cards. Other resources are described by
    /// templates, because their list would be long.
    pub(super) fn listed_resources(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
        shows_cards: bool,
    ) -> Result<ListResourcesResult, ErrorData> {
        reject_cursor(request)?;
        let seen = GUIDES.iter().filter(|guide| {
            let uri = resources::guide_uri(guide.topic);
            let target = PolicyTarget::Resource(&uri);
            self.dispatcher.can_see_item(principal, &target)
        });
        let guides = seen.map(|guide| {
            Resource::new(resources::guide_uri(guide.topic), guide.topic)
                .with_title(guide.title)
                .with_description(guide.about)
                .with_mime_type(MARKDOWN_MIME_TYPE)
                .with_size(guide.text.len() as u64)
                .with_annotations(Annotations::default().with_audience(vec![Role::Assistant]))
        });
        let mut listed: Vec<Resource> = guides.collect();
        let cards = CARDS
            .iter()
            .filter(|card| shows_cards && self.offers_card(principal, card));
        listed.extend(cards.map(|card| {
            Resource::new(card.uri(), card.tool)
                .with_title(card.title)
                .with_description(card.about)
                .with_mime_type(CARD_MIME_TYPE)
                .with_size(card.html.len() as u64)
                .with_annotations(Annotations::default().with_audience(vec![Role::User]))
        }));
        Ok(ListResourcesResult::with_all_items(listed)
            .with_ttl_ms(self.cache_ttl_ms(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private))
    }

    /// Lists the templates of operations, guides, results and every kind of entity that the caller
    /// may see.
    pub(super) fn visible_templates(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        reject_cursor(request)?;
        let mut templates = vec![
            ResourceTemplate::new(GUIDE_TEMPLATE, "guide")
                .with_title("Guide")
                .with_description("What holds of many operations, by topic.")
                .with_mime_type(MARKDOWN_MIME_TYPE),
            ResourceTemplate::new(OPERATION_TEMPLATE, "operation")
                .with_title("Operation")
                .with_description(
                    "An operation's schema, effect, scopes and plan, with an example.",
                )
                .with_mime_type(JSON_MIME_TYPE),
            ResourceTemplate::new(RESULT_TEMPLATE, "result")
                .with_title("Result")
                .with_description(
                    "An answer that was too large to show, by the handle it came with.",
                )
                .with_mime_type(JSON_MIME_TYPE),
        ];
        let kinds = ResourceKind::by_domain(self.dispatcher.catalog()).into_values();
        let seen = kinds.filter(|kind| self.dispatcher.is_listed(principal, kind.read));
        templates.extend(seen.map(|kind| {
            let published = kind.read.compiled();
            ResourceTemplate::new(kind.uri_template(), kind.read.domain.name)
                .with_title(published.title())
                .with_description(published.description())
                .with_mime_type(JSON_MIME_TYPE)
        }));
        templates.retain(|template| self.is_template_visible(principal, &template.uri_template));
        Ok(ListResourceTemplatesResult::with_all_items(templates)
            .with_ttl_ms(self.cache_ttl_ms(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private))
    }

    /// Returns `true` if the policies can permit the resources of a template, by its own text.
    pub(super) fn is_template_visible(&self, principal: &Principal, template: &str) -> bool {
        let target = PolicyTarget::Resource(template);
        self.dispatcher.can_see_item(principal, &target)
    }

    /// Reads the resource of a URI.
    pub(super) async fn read_address(
        &self,
        uri: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let principal = self.caller(context)?;
        let address = ResourceAddress::parse(uri);
        let kinds = ResourceKind::by_domain(self.dispatcher.catalog());
        let entity = match &address {
            Some(ResourceAddress::Entity { domain, id }) => {
                let kind = kinds.get(domain.as_str()).copied();
                kind.filter(|kind| self.dispatcher.is_listed(principal, kind.read))
                    .map(|kind| (kind, id))
            }
            _ => None,
        };
        let observed =
            RequestObserver::begin(&self.metrics, request_info(context), "resources/read");
        if let Some(address) = &address {
            let uri = address.to_plain_uri();
            let caller = (&**principal, &request_info(context));
            let target = PolicyTarget::Resource(&uri);
            let no_args = JsonMap::new();
            let permitted = self.authorize_item(caller, target, &no_args, entity.is_some());
            if let Err(denied) = permitted.await {
                return observed.finish(Err(denied), error_type);
            }
        }
        if let Some((kind, id)) = entity {
            // The call has an observer of its own.
            observed.discard();
            return self.read_entity(uri, kind, id, context).await;
        }
        let outcome = match address {
            Some(ResourceAddress::Result(handle)) => {
                self.read_stored_result(principal, &request_info(context), uri, &handle)
                    .await
            }
            Some(ResourceAddress::Card(tool)) => {
                let card = Card::of_tool(&tool)
                    .filter(|card| shows_cards(context) && self.offers_card(principal, card));
                card.map(|card| self.read_card(principal, uri, card))
                    .ok_or_else(|| not_found_error(UNKNOWN_ADDRESS))
            }
            address => self.read_builtin_text(principal, uri, address),
        };
        observed.finish(outcome, error_type)
    }

    /// Reads a stored result from its beginning, within the size limit, with the arguments to
    /// continue.
    async fn read_stored_result(
        &self,
        principal: &Principal,
        request_info: &RequestInfo,
        uri: &str,
        handle: &str,
    ) -> Result<ReadResourceResult, ErrorData> {
        let part = self
            .results
            .read(principal, handle, &PartRequest::default())
            .await;
        let part = part.map_err(|error| match error {
            ResultError::Unavailable(_) => ErrorData::internal_error(error.to_string(), None),
            _ => not_found_error(error.to_string()),
        })?;
        let mut contents =
            ResourceContents::text(part.value.to_string(), uri).with_mime_type(JSON_MIME_TYPE);
        if part.is_untrusted {
            // Another session may have made the call.
            self.dispatcher.taint().mark(principal, request_info).await;
            contents = contents.with_meta(reply::untrusted_meta());
        }
        Ok(ReadResourceResult::new(vec![contents])
            .with_ttl_ms(ENTITY_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    /// Reads a card.
    fn read_card(&self, principal: &Principal, uri: &str, card: &Card) -> ReadResourceResult {
        let contents = ResourceContents::text(card.html, uri)
            .with_mime_type(CARD_MIME_TYPE)
            .with_meta(Card::content_meta());
        ReadResourceResult::new(vec![contents])
            .with_ttl_ms(self.cache_ttl_ms(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private)
    }

    /// Reads a guide or an operation.
    fn read_builtin_text(
        &self,
        principal: &Principal,
        uri: &str,
        address: Option<ResourceAddress>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let unknown_address = || not_found_error(UNKNOWN_ADDRESS);
        let (text, kind) = match address {
            Some(ResourceAddress::Guide(topic)) => {
                let guide = GUIDES
                    .iter()
                    .find(|guide| guide.topic == topic)
                    .ok_or_else(unknown_address)?;
                let text = spell_in_text(self.tool_names(), guide.text);
                (text.into_owned(), MARKDOWN_MIME_TYPE)
            }
            Some(ResourceAddress::Operation(name)) => {
                let found = self.dispatcher.catalog().find(&name);
                let entry = found.map_err(|error| not_found_error(error.to_string()))?;
                if !self.dispatcher.is_listed(principal, entry) {
                    return Err(unknown_address());
                }
                let mut described = resources::describe_operation(entry);
                spell_in_value(self.tool_names(), &mut described);
                (described.to_string(), JSON_MIME_TYPE)
            }
            _ => return Err(unknown_address()),
        };
        let contents = ResourceContents::text(text, uri).with_mime_type(kind);
        Ok(ReadResourceResult::new(vec![contents])
            .with_ttl_ms(self.cache_ttl_ms(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private))
    }

    /// Reads an entity by a call through the pipeline. The size limit of results applies.
    async fn read_entity(
        &self,
        uri: &str,
        kind: ResourceKind<'_>,
        id: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let _under_way = self.in_flight_calls.token();
        let principal = self.caller(context)?;
        let mut observed =
            CallObserver::begin_read(&self.metrics, request_info(context), principal);
        let span = observed.span();
        let outcome = {
            let (request_info, record) = observed.request_and_record();
            let name = kind.read.operation.name();
            let args = kind.read_arguments(id);
            let call = pipeline::ToolCall {
                principal,
                request_info,
                name,
                args,
                approval_response: None,
            };
            tokio::select! {
                outcome = span.instrument(self.dispatcher.call(call, record)) => outcome,
                () = context.ct.cancelled() => {
                    return Err(ErrorData::internal_error("the read was cancelled", None));
                }
            }
        };
        let (call_outcome, untrusted) = {
            let record = observed.record();
            (record.outcome.clone(), record.untrusted)
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                observed.finish(call_outcome);
                return Err(read_error(&error, self.max_error_bytes()));
            }
        };
        let reveals = !kind.read.operation.one_time_secrets().is_empty();
        let may_keep = self
            .dispatcher
            .can_store_result(principal, Some(kind.read.operation));
        let origin = ResultFlags {
            is_untrusted: untrusted,
            returns_secret: reveals,
        };
        let shown = self
            .results
            .render_if(principal, answer, origin, may_keep)
            .await;
        let mut contents = ResourceContents::text(shown.text, uri).with_mime_type(JSON_MIME_TYPE);
        if untrusted {
            contents = contents.with_meta(reply::untrusted_meta());
        }
        let mut result = ReadResourceResult::new(vec![contents])
            .with_ttl_ms(ENTITY_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        result.meta = untrusted.then(reply::untrusted_meta);
        observed.finish(call_outcome);
        Ok(result)
    }
}

/// Builds the error of a failed read.
///
/// 403 counts as not found, because Portkey answers 403 for many entities that no longer exist.
fn read_error(error: &CallError, max: usize) -> ErrorData {
    let words = reply::truncate(reply::error_message(error), max);
    match error {
        CallError::Upstream(_, refusal) if matches!(refusal.status.as_u16(), 400 | 403 | 404) => {
            not_found_error(words)
        }
        CallError::InvalidArguments(_) => ErrorData::invalid_params(words, None),
        CallError::ApprovalRequired(_) => {
            let words = format!("{words}; a resource cannot ask, so call the tool instead");
            ErrorData::invalid_request(words, None)
        }
        CallError::AccessDenied(_)
        | CallError::UnprovenKey(_)
        | CallError::PolicyDenied(_)
        | CallError::ApprovalDenied(_) => ErrorData::invalid_request(words, None),
        _ => ErrorData::internal_error(words, None),
    }
}

/// Builds the error for an unknown resource: -32002 up to 2025-11-25, which rmcp turns into -32602
/// for later revisions.
///
/// Omits the URI, because rmcp logs such errors and a caller may write anything into a URI.
fn not_found_error(words: impl Into<Cow<'static, str>>) -> ErrorData {
    ErrorData::resource_not_found(words, None)
}
