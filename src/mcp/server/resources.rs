//! Resource requests of MCP: guides and operations from static data, entities by a call.

use std::borrow::Cow;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        Annotations, CacheScope, ListResourceTemplatesResult, ListResourcesResult,
        PaginatedRequestParams, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
        Role,
    },
    service::RequestContext,
};

use super::{LIST_TTL_MS, Server, arrival::arrival, kind, only_page};
use crate::{
    auth::principal::Principal,
    mcp::{
        guide::GUIDES,
        reply,
        resources::{self, Address, GUIDE_TEMPLATE, Kind, OPERATION_TEMPLATE, RESULT_TEMPLATE},
        results::{Origin, Request, ResultError},
    },
    observability::{
        observer::{CallObserver, RequestObserver},
        request::RequestInfo,
    },
    pipeline::{self, CallError},
};

const JSON: &str = "application/json";
const MARKDOWN: &str = "text/markdown";

/// Time for which a client may cache an entity: none, because anyone may change it.
const THING_TTL_MS: u64 = 0;

impl Server {
    /// Lists the guides. Other resources are described by templates, because their list would be
    /// long.
    pub(super) fn resources(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListResourcesResult, ErrorData> {
        only_page(request)?;
        let guides = GUIDES.iter().map(|guide| {
            Resource::new(resources::guide_uri(guide.topic), guide.topic)
                .with_title(guide.title)
                .with_description(guide.about)
                .with_mime_type(MARKDOWN)
                .with_size(guide.text.len() as u64)
                .with_annotations(Annotations::default().with_audience(vec![Role::Assistant]))
        });
        Ok(ListResourcesResult::with_all_items(guides.collect())
            .with_ttl_ms(self.ttl(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private))
    }

    /// Lists the templates of operations, guides, results and every kind of entity that the caller
    /// may see.
    pub(super) fn templates(
        &self,
        principal: &Principal,
        request: Option<PaginatedRequestParams>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        only_page(request)?;
        let mut templates = vec![
            ResourceTemplate::new(GUIDE_TEMPLATE, "guide")
                .with_title("Guide")
                .with_description("What holds of many operations, by topic.")
                .with_mime_type(MARKDOWN),
            ResourceTemplate::new(OPERATION_TEMPLATE, "operation")
                .with_title("Operation")
                .with_description(
                    "An operation's schema, effect, scopes and plan, with an example.",
                )
                .with_mime_type(JSON),
            ResourceTemplate::new(RESULT_TEMPLATE, "result")
                .with_title("Result")
                .with_description(
                    "An answer that was too large to show, by the handle it came with.",
                )
                .with_mime_type(JSON),
        ];
        let kinds = Kind::all(self.dispatcher.catalog()).into_values();
        let seen = kinds.filter(|kind| self.dispatcher.is_listed(principal, kind.read));
        templates.extend(seen.map(|kind| {
            let published = kind.read.compiled();
            ResourceTemplate::new(kind.template(), kind.read.domain.name)
                .with_title(published.title())
                .with_description(published.description())
                .with_mime_type(JSON)
        }));
        Ok(ListResourceTemplatesResult::with_all_items(templates)
            .with_ttl_ms(self.ttl(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private))
    }

    /// Reads the resource of a URI.
    pub(super) async fn read(
        &self,
        uri: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let principal = self.caller(context)?;
        let address = Address::parse(uri);
        if let Some(Address::Thing { domain, id }) = &address
            && let Some(kind) = Kind::all(self.dispatcher.catalog()).get(domain.as_str())
            && self.dispatcher.is_listed(principal, kind.read)
        {
            return self.thing(uri, *kind, id, context).await;
        }
        let observed = RequestObserver::begin(&self.metrics, arrival(context), "resources/read");
        let outcome = match address {
            Some(Address::Result(handle)) => {
                self.kept(principal, &arrival(context), uri, &handle).await
            }
            address => self.text(principal, uri, address),
        };
        observed.finish(outcome, kind)
    }

    /// Reads a stored result from its beginning, within the size limit, with the arguments to
    /// continue.
    async fn kept(
        &self,
        principal: &Principal,
        arrival: &RequestInfo,
        uri: &str,
        handle: &str,
    ) -> Result<ReadResourceResult, ErrorData> {
        let part = self
            .results
            .read(principal, handle, &Request::default())
            .await;
        let part = part.map_err(|error| match error {
            ResultError::Away(_) => ErrorData::internal_error(error.to_string(), None),
            _ => not_found(error.to_string()),
        })?;
        let mut contents = ResourceContents::text(part.value.to_string(), uri).with_mime_type(JSON);
        if part.untrusted {
            // Another session may have made the call.
            self.dispatcher.taint().mark(principal, arrival).await;
            contents = contents.with_meta(reply::untrusted());
        }
        Ok(ReadResourceResult::new(vec![contents])
            .with_ttl_ms(THING_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    /// Reads a guide or an operation.
    fn text(
        &self,
        principal: &Principal,
        uri: &str,
        address: Option<Address>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let nowhere = || not_found("no resource has that address");
        let (text, kind) = match address {
            Some(Address::Guide(topic)) => {
                let guide = GUIDES
                    .iter()
                    .find(|guide| guide.topic == topic)
                    .ok_or_else(nowhere)?;
                (guide.text.to_owned(), MARKDOWN)
            }
            Some(Address::Operation(name)) => {
                let found = self.dispatcher.catalog().find(&name);
                let entry = found.map_err(|error| not_found(error.to_string()))?;
                if !self.dispatcher.is_listed(principal, entry) {
                    return Err(nowhere());
                }
                (resources::operation(entry).to_string(), JSON)
            }
            _ => return Err(nowhere()),
        };
        let contents = ResourceContents::text(text, uri).with_mime_type(kind);
        Ok(ReadResourceResult::new(vec![contents])
            .with_ttl_ms(self.ttl(principal, LIST_TTL_MS))
            .with_cache_scope(CacheScope::Private))
    }

    /// Reads an entity by a call through the pipeline. The size limit of results applies.
    async fn thing(
        &self,
        uri: &str,
        kind: Kind<'_>,
        id: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let _under_way = self.calls.token();
        let principal = self.caller(context)?;
        let mut observed = CallObserver::begin_read(&self.metrics, arrival(context), principal);
        let span = observed.span();
        let outcome = {
            let (arrival, record) = observed.request_and_record();
            let (name, args) = (kind.read.operation.name(), kind.arguments(id));
            let call = pipeline::ToolCall {
                principal,
                arrival,
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
        observed.record_result(&outcome, CallError::outcome);
        let answer = outcome.map_err(|error| refused(&error, self.max_error_bytes()))?;
        let untrusted = observed.is_untrusted();
        let reveals = !kind.read.operation.one_time_secrets().is_empty();
        let may_keep = self
            .dispatcher
            .can_store_result(principal, Some(kind.read.operation));
        let origin = Origin { untrusted, reveals };
        let shown = self
            .results
            .bound_if(principal, answer, origin, may_keep)
            .await;
        let mut contents = ResourceContents::text(shown.text, uri).with_mime_type(JSON);
        if untrusted {
            contents = contents.with_meta(reply::untrusted());
        }
        let mut result = ReadResourceResult::new(vec![contents])
            .with_ttl_ms(THING_TTL_MS)
            .with_cache_scope(CacheScope::Private);
        result.meta = untrusted.then(reply::untrusted);
        Ok(result)
    }
}

/// Builds the error of a failed read.
///
/// 403 counts as not found, because Portkey answers 403 for many entities that no longer exist.
fn refused(error: &CallError, max: usize) -> ErrorData {
    let words = reply::bounded(reply::words(error), max);
    match error {
        CallError::Upstream(_, refusal) if matches!(refusal.status.as_u16(), 400 | 403 | 404) => {
            not_found(words)
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
fn not_found(words: impl Into<Cow<'static, str>>) -> ErrorData {
    ErrorData::resource_not_found(words, None)
}
