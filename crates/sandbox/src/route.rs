//! Maps methods and paths to actions, as the domains declare them.

use std::collections::HashMap;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{
    call::Call,
    crud::{self, Outcome},
    resource::{Resource, Verb},
    store::Store,
};

/// A domain of the API: resources with standard actions, and further routes.
pub(crate) struct Domain {
    /// API versions that include the domain.
    pub(crate) versions: &'static [Version],
    /// Resources with standard actions.
    pub(crate) resources: &'static [&'static Resource],
    /// Further routes.
    pub(crate) routes: &'static [Route],
}

/// A version prefix of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
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

impl Version {
    /// Returns a path without its version prefix, beginning with `/`.
    pub(crate) fn strip(path: &str) -> &str {
        let rest = Self::split(path).map_or(path, |(_, rest)| rest);
        path.get(path.len() - rest.len() - 1..).unwrap_or(path)
    }

    /// Returns the version of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        Self::split(path).map(|(version, _)| version)
    }

    /// Splits a path into its version and the rest.
    fn split(path: &str) -> Option<(Self, &str)> {
        if path.starts_with("/mcp-gateway/") || path.starts_with("/mcp-registry/") {
            return Some((Self::Enkrypt, path.strip_prefix('/')?));
        }
        const PREFIXES: [(&str, Version); 4] = [
            ("/v1/", Version::V1),
            ("/v2/", Version::V2),
            ("/v0.1/", Version::Registry),
            ("/", Version::Public),
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
    act: Act,
    body: BodyRule,
}

impl Route {
    /// Allows a list as the body, which the call then holds in `list`.
    pub(crate) const fn takes_list(mut self) -> Self {
        self.body.takes_list = true;
        self
    }

    /// Accepts a request without a body although the method usually requires one.
    pub(crate) const fn without_body(mut self) -> Self {
        self.body.required = false;
        self
    }
}

/// Bodies that a route accepts.
#[derive(Clone, Copy)]
pub(crate) struct BodyRule {
    /// True if the body may be a list.
    pub(crate) takes_list: bool,
    /// True if a request without a body is rejected.
    pub(crate) required: bool,
}

impl BodyRule {
    /// An optional body that is not a list.
    const OPTIONAL: Self = Self {
        takes_list: false,
        required: false,
    };
    /// A required body that is not a list.
    const REQUIRED: Self = Self {
        takes_list: false,
        required: true,
    };
}

/// Function that handles a route.
pub(crate) type Act = fn(&mut Store, &Call) -> Outcome;

/// Declares a `GET` route.
pub(crate) const fn get(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::GET,
        path,
        act,
        body: BodyRule::OPTIONAL,
    }
}

/// Declares a `POST` route.
pub(crate) const fn post(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::POST,
        path,
        act,
        body: BodyRule::OPTIONAL,
    }
}

/// Declares a `PUT` route, which rejects requests without a body.
pub(crate) const fn put(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::PUT,
        path,
        act,
        body: BodyRule::REQUIRED,
    }
}

/// Declares a `PATCH` route, which merges nested changes and rejects requests without a body.
pub(crate) const fn patch(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::PATCH,
        path,
        act,
        body: BodyRule::REQUIRED,
    }
}

/// Declares a `DELETE` route.
pub(crate) const fn delete(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::DELETE,
        path,
        act,
        body: BodyRule::OPTIONAL,
    }
}

/// Action of a call.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// A standard action on a resource.
    Ordinary(Verb, &'static Resource),
    /// The function of a route, and the bodies that the route accepts.
    Special(Act, BodyRule),
}

impl Action {
    /// Returns the bodies that the action accepts.
    pub(crate) fn body(self) -> BodyRule {
        match self {
            Self::Ordinary(Verb::Update, _) => BodyRule::REQUIRED,
            Self::Ordinary(..) => BodyRule::OPTIONAL,
            Self::Special(_, rule) => rule,
        }
    }

    /// Runs the action.
    pub(crate) fn run(self, store: &mut Store, call: &Call) -> Outcome {
        match self {
            Self::Ordinary(Verb::List, resource) => crud::list(resource, store, call),
            Self::Ordinary(Verb::Create, resource) => crud::create(resource, store, call),
            Self::Ordinary(Verb::Get, resource) => crud::get(resource, store, call),
            Self::Ordinary(Verb::Update, resource) => crud::update(resource, store, call),
            Self::Ordinary(Verb::Delete, resource) => crud::delete(resource, store, call),
            Self::Special(act, _) => act(store, call),
        }
    }
}

/// All routes, by method and number of path segments.
pub(crate) struct Routes(HashMap<(Method, usize), Vec<Pattern>>);

struct Pattern {
    versions: &'static [Version],
    segments: Vec<Segment>,
    action: Action,
}

enum Segment {
    Word(&'static str),
    Placeholder,
}

impl Routes {
    /// Collects the routes of these domains.
    pub(crate) fn new(domains: &[&'static Domain]) -> Self {
        let mut routes = Self(HashMap::new());
        for domain in domains {
            for resource in domain.resources {
                for &verb in resource.verbs {
                    let (method, item): (_, &[_]) = match verb {
                        Verb::List => (Method::GET, &[]),
                        Verb::Create => (Method::POST, &[]),
                        Verb::Get => (Method::GET, &[Segment::Placeholder]),
                        Verb::Update => (Method::PUT, &[Segment::Placeholder]),
                        Verb::Delete => (Method::DELETE, &[Segment::Placeholder]),
                    };
                    let mut segments = parse(resource.path);
                    segments.extend(item.iter().map(|_| Segment::Placeholder));
                    let action = Action::Ordinary(verb, resource);
                    routes.add(
                        method,
                        Pattern {
                            versions: domain.versions,
                            segments,
                            action,
                        },
                    );
                }
            }
            for route in domain.routes {
                let (segments, action) =
                    (parse(route.path), Action::Special(route.act, route.body));
                let pattern = Pattern {
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
        Version::of(path) == Some(Version::Public) && self.find(method, path).is_some()
    }

    fn add(&mut self, method: Method, pattern: Pattern) {
        let patterns = self.0.entry((method, pattern.segments.len())).or_default();
        patterns.push(pattern);
        // Of several matching patterns, the one with the earliest literal segments wins.
        patterns.sort_by_cached_key(|pattern| {
            let segments = pattern.segments.iter();
            segments
                .map(|segment| matches!(segment, Segment::Placeholder))
                .collect::<Vec<_>>()
        });
    }

    /// Returns the action of a call and the values of the path's placeholders.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<(Action, Vec<String>)> {
        let (version, path) = Version::split(path)?;
        let words: Vec<&str> = path.split('/').collect();
        let patterns = self.0.get(&(method.clone(), words.len()))?;
        let mut patterns = patterns
            .iter()
            .filter(|pattern| pattern.versions.contains(&version));
        patterns.find_map(|pattern| Some((pattern.action, pattern.fit(&words)?)))
    }
}

impl Pattern {
    /// Returns the values of the placeholders if the segments match.
    fn fit(&self, words: &[&str]) -> Option<Vec<String>> {
        let mut values = Vec::new();
        for (segment, &word) in self.segments.iter().zip(words) {
            match segment {
                Segment::Word(expected) if *expected == word => {}
                Segment::Placeholder if !word.is_empty() => {
                    values.push(percent_decode_str(word).decode_utf8().ok()?.into_owned());
                }
                _ => return None,
            }
        }
        Some(values)
    }
}

fn parse(path: &'static str) -> Vec<Segment> {
    let words = path.trim_start_matches('/').split('/');
    words
        .map(|word| match word.starts_with('{') {
            true => Segment::Placeholder,
            false => Segment::Word(word),
        })
        .collect()
}
