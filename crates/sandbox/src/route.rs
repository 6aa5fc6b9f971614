//! Maps methods and paths to actions, as the domains declare them.

use std::collections::HashMap;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{
    call::ApiCall,
    crud::{self, ApiResult},
    resource::{CrudAction, Resource},
    store::Store,
};

/// A domain of the API: resources with standard actions, and further routes.
pub(crate) struct Domain {
    /// API versions that include the domain.
    pub(crate) versions: &'static [ApiVersion],
    /// Resources with standard actions.
    pub(crate) resources: &'static [&'static Resource],
    /// Further routes.
    pub(crate) routes: &'static [Route],
}

/// A version prefix of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiVersion {
    /// `/v1`, which has nearly all routes.
    V1,
    /// `/v2`, which mirrors some of them.
    V2,
    /// `/v0.1`, which has the registry of MCP servers.
    Registry,
    /// No version prefix: public data that requires no key.
    Public,
    /// No version prefix: Enkrypt AI's API, which is separate from Portkey's.
    Enkrypt,
}

impl ApiVersion {
    /// Returns a path without its version prefix, beginning with `/`.
    pub(crate) fn strip_version(path: &str) -> &str {
        let rest = Self::split_path(path).map_or(path, |(_, rest)| rest);
        path.get(path.len() - rest.len() - 1..).unwrap_or(path)
    }

    /// Returns the version of a path.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        Self::split_path(path).map(|(version, _)| version)
    }

    /// Splits a path into its version and the rest.
    fn split_path(path: &str) -> Option<(Self, &str)> {
        if path.starts_with("/mcp-gateway/") || path.starts_with("/mcp-registry/") {
            return Some((Self::Enkrypt, path.strip_prefix('/')?));
        }
        const PREFIXES: [(&str, ApiVersion); 4] = [
            ("/v1/", ApiVersion::V1),
            ("/v2/", ApiVersion::V2),
            ("/v0.1/", ApiVersion::Registry),
            ("/", ApiVersion::Public),
        ];
        PREFIXES
            .iter()
            .find_map(|(prefix, version)| Some((*version, path.strip_prefix(prefix)?)))
    }
}

/// A route other than the standard ones.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    handler: RouteHandler,
    body: BodyRule,
}

impl Route {
    /// Allows a list as the body, which the call then holds in `list`.
    pub(crate) const fn with_list_body(mut self) -> Self {
        self.body.allows_list = true;
        self
    }

    /// Accepts a request without a body although the method usually requires one.
    pub(crate) const fn with_optional_body(mut self) -> Self {
        self.body.required = false;
        self
    }
}

/// Bodies that a route accepts.
#[derive(Clone, Copy)]
pub(crate) struct BodyRule {
    /// True if the body may be a list.
    pub(crate) allows_list: bool,
    /// True if a request without a body is rejected.
    pub(crate) required: bool,
}

impl BodyRule {
    /// An optional body that is not a list.
    const OPTIONAL: Self = Self {
        allows_list: false,
        required: false,
    };
    /// A required body that is not a list.
    const REQUIRED: Self = Self {
        allows_list: false,
        required: true,
    };
}

/// Function that handles a route.
pub(crate) type RouteHandler = fn(&mut Store, &ApiCall) -> ApiResult;

/// Declares a `GET` route.
pub(crate) const fn get(path: &'static str, act: RouteHandler) -> Route {
    Route {
        method: Method::GET,
        path,
        handler: act,
        body: BodyRule::OPTIONAL,
    }
}

/// Declares a `POST` route.
pub(crate) const fn post(path: &'static str, act: RouteHandler) -> Route {
    Route {
        method: Method::POST,
        path,
        handler: act,
        body: BodyRule::OPTIONAL,
    }
}

/// Declares a `PUT` route, which rejects requests without a body.
pub(crate) const fn put(path: &'static str, act: RouteHandler) -> Route {
    Route {
        method: Method::PUT,
        path,
        handler: act,
        body: BodyRule::REQUIRED,
    }
}

/// Declares a `PATCH` route, which merges nested changes and rejects requests without a body.
pub(crate) const fn patch(path: &'static str, act: RouteHandler) -> Route {
    Route {
        method: Method::PATCH,
        path,
        handler: act,
        body: BodyRule::REQUIRED,
    }
}

/// Declares a `DELETE` route.
pub(crate) const fn delete(path: &'static str, act: RouteHandler) -> Route {
    Route {
        method: Method::DELETE,
        path,
        handler: act,
        body: BodyRule::OPTIONAL,
    }
}

/// Action of a call.
#[derive(Clone, Copy)]
pub(crate) enum RouteAction {
    /// A standard action on a resource.
    Crud(CrudAction, &'static Resource),
    /// The function of a route, and the bodies that the route accepts.
    Custom(RouteHandler, BodyRule),
}

impl RouteAction {
    /// Returns the bodies that the action accepts.
    pub(crate) fn body_rule(self) -> BodyRule {
        match self {
            Self::Crud(CrudAction::Update, _) => BodyRule::REQUIRED,
            Self::Crud(..) => BodyRule::OPTIONAL,
            Self::Custom(_, rule) => rule,
        }
    }

    /// Runs the action.
    pub(crate) fn run(self, store: &mut Store, call: &ApiCall) -> ApiResult {
        match self {
            Self::Crud(CrudAction::List, resource) => crud::list(resource, store, call),
            Self::Crud(CrudAction::Create, resource) => crud::create(resource, store, call),
            Self::Crud(CrudAction::Get, resource) => crud::get(resource, store, call),
            Self::Crud(CrudAction::Update, resource) => crud::update(resource, store, call),
            Self::Crud(CrudAction::Delete, resource) => crud::delete(resource, store, call),
            Self::Custom(act, _) => act(store, call),
        }
    }
}

/// All routes, by method and number of path segments.
pub(crate) struct Routes(HashMap<(Method, usize), Vec<RoutePattern>>);

struct RoutePattern {
    versions: &'static [ApiVersion],
    segments: Vec<PathSegment>,
    action: RouteAction,
}

enum PathSegment {
    Literal(&'static str),
    Placeholder,
}

impl Routes {
    /// Collects the routes of these domains.
    pub(crate) fn new(domains: &[&'static Domain]) -> Self {
        let mut routes = Self(HashMap::new());
        for domain in domains {
            for resource in domain.resources {
                for &verb in resource.actions {
                    let (method, item): (_, &[_]) = match verb {
                        CrudAction::List => (Method::GET, &[]),
                        CrudAction::Create => (Method::POST, &[]),
                        CrudAction::Get => (Method::GET, &[PathSegment::Placeholder]),
                        CrudAction::Update => (Method::PUT, &[PathSegment::Placeholder]),
                        CrudAction::Delete => (Method::DELETE, &[PathSegment::Placeholder]),
                    };
                    let mut segments = parse_pattern(resource.path);
                    segments.extend(item.iter().map(|_| PathSegment::Placeholder));
                    let action = RouteAction::Crud(verb, resource);
                    routes.add(
                        method,
                        RoutePattern {
                            versions: domain.versions,
                            segments,
                            action,
                        },
                    );
                }
            }
            for route in domain.routes {
                let (segments, action) = (
                    parse_pattern(route.path),
                    RouteAction::Custom(route.handler, route.body),
                );
                let pattern = RoutePattern {
                    versions: domain.versions,
                    segments,
                    action,
                };
                routes.add(route.method.clone(), pattern);
            }
        }
        routes
    }

    /// Returns true if a call requires no key.
    pub(crate) fn is_public(&self, method: &Method, path: &str) -> bool {
        ApiVersion::from_path(path) == Some(ApiVersion::Public) && self.find(method, path).is_some()
    }

    fn add(&mut self, method: Method, pattern: RoutePattern) {
        let patterns = self.0.entry((method, pattern.segments.len())).or_default();
        patterns.push(pattern);
        // Of several matching patterns, the one with the earliest literal segments wins.
        patterns.sort_by_cached_key(|pattern| {
            let segments = pattern.segments.iter();
            segments
                .map(|segment| matches!(segment, PathSegment::Placeholder))
                .collect::<Vec<_>>()
        });
    }

    /// Returns the action of a call and the values of the path's placeholders.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<(RouteAction, Vec<String>)> {
        let (version, path) = ApiVersion::split_path(path)?;
        let words: Vec<&str> = path.split('/').collect();
        let patterns = self.0.get(&(method.clone(), words.len()))?;
        let mut patterns = patterns
            .iter()
            .filter(|pattern| pattern.versions.contains(&version));
        patterns.find_map(|pattern| Some((pattern.action, pattern.match_segments(&words)?)))
    }
}

impl RoutePattern {
    /// Returns the values of the placeholders if the segments match.
    fn match_segments(&self, words: &[&str]) -> Option<Vec<String>> {
        let mut values = Vec::new();
        for (segment, &word) in self.segments.iter().zip(words) {
            match segment {
                PathSegment::Literal(expected) if *expected == word => {}
                PathSegment::Placeholder if !word.is_empty() => {
                    values.push(percent_decode_str(word).decode_utf8().ok()?.into_owned());
                }
                _ => return None,
            }
        }
        Some(values)
    }
}

fn parse_pattern(path: &'static str) -> Vec<PathSegment> {
    let words = path.trim_start_matches('/').split('/');
    words
        .map(|word| match word.starts_with('{') {
            true => PathSegment::Placeholder,
            false => PathSegment::Literal(word),
        })
        .collect()
}
