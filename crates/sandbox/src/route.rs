//! Routes: which method and path leads to which action, read off the domains' declarations.

use std::collections::HashMap;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{
    call::Call,
    crud::{self, Outcome},
    resource::{Resource, Verb},
    store::Store,
};

/// A room of the API: resources with the ordinary actions, and routes for what else it does.
pub(crate) struct Domain {
    /// The versions it answers under.
    pub(crate) versions: &'static [Version],
    /// Its resources.
    pub(crate) resources: &'static [&'static Resource],
    /// Its further routes.
    pub(crate) routes: &'static [Route],
}

/// A version prefix of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `/v1`, where nearly everything is.
    V1,
    /// `/v2`, which mirrors some of it.
    V2,
    /// `/v0.1`, where the registry of MCP servers is.
    Registry,
    /// No version: what anyone may read, without a key.
    Public,
    /// No version either: Enkrypt AI's API, which is not Portkey's.
    Enkrypt,
}

impl Version {
    /// A path without its version, with the `/` before the rest.
    pub(crate) fn strip(path: &str) -> &str {
        let rest = Self::split(path).map_or(path, |(_, rest)| rest);
        path.get(path.len() - rest.len() - 1..).unwrap_or(path)
    }

    /// The version of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        Self::split(path).map(|(version, _)| version)
    }

    /// The version a path begins with, and the rest of the path.
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

/// One route beyond the ordinary ones.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    act: Act,
    body: BodyRule,
}

impl Route {
    /// Its body may be a list, which the call then holds as `list`.
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

/// The bodies that a route accepts.
#[derive(Clone, Copy)]
pub(crate) struct BodyRule {
    /// True if the body may be a list.
    pub(crate) takes_list: bool,
    /// True if a request without a body is refused.
    pub(crate) required: bool,
}

impl BodyRule {
    /// No list, and a body is optional.
    const OPTIONAL: Self = Self {
        takes_list: false,
        required: false,
    };
    /// No list, and there must be a body.
    const REQUIRED: Self = Self {
        takes_list: false,
        required: true,
    };
}

/// What a route does.
pub(crate) type Act = fn(&mut Store, &Call) -> Outcome;

/// A route that reads.
pub(crate) const fn get(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::GET,
        path,
        act,
        body: BodyRule::OPTIONAL,
    }
}

/// A route that starts something.
pub(crate) const fn post(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::POST,
        path,
        act,
        body: BodyRule::OPTIONAL,
    }
}

/// A route that changes, and refuses a request without a body.
pub(crate) const fn put(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::PUT,
        path,
        act,
        body: BodyRule::REQUIRED,
    }
}

/// A route that changes what is given, deep inside.
pub(crate) const fn patch(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::PATCH,
        path,
        act,
        body: BodyRule::REQUIRED,
    }
}

/// A route that removes.
pub(crate) const fn delete(path: &'static str, act: Act) -> Route {
    Route {
        method: Method::DELETE,
        path,
        act,
        body: BodyRule::OPTIONAL,
    }
}

/// What a call comes to do.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// An ordinary action on a resource.
    Ordinary(Verb, &'static Resource),
    /// A route's own, and the bodies that it accepts.
    Special(Act, BodyRule),
}

impl Action {
    /// The bodies that the action accepts.
    pub(crate) fn body(self) -> BodyRule {
        match self {
            Self::Ordinary(Verb::Update, _) => BodyRule::REQUIRED,
            Self::Ordinary(..) => BodyRule::OPTIONAL,
            Self::Special(_, rule) => rule,
        }
    }

    /// Carries it out.
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

/// All routes, by method and number of segments.
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
    /// The routes of these domains.
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

    /// Whether a call can be answered without a key.
    pub(crate) fn is_public(&self, method: &Method, path: &str) -> bool {
        Version::of(path) == Some(Version::Public) && self.find(method, path).is_some()
    }

    fn add(&mut self, method: Method, pattern: Pattern) {
        let patterns = self.0.entry((method, pattern.segments.len())).or_default();
        patterns.push(pattern);
        // Of two patterns that fit, the one with the earlier words is meant.
        patterns.sort_by_cached_key(|pattern| {
            let segments = pattern.segments.iter();
            segments
                .map(|segment| matches!(segment, Segment::Placeholder))
                .collect::<Vec<_>>()
        });
    }

    /// The action for a call, and what stands in its path's placeholders.
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
    /// What stands in the placeholders if the words of a path fit.
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
