//! The routes of one pattern, by their methods.

use super::Scope;
use super::pattern::Pattern;
use super::route::Route;
use crate::http::request::Request;
use peregrine_protocol::http::Method;
use std::collections::BTreeSet;

/// The routes of patterns that differ in the names of their parameters only.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Those with guards first.
    pub(super) endpoints: Vec<Endpoint>,
    /// The last segment is `{*name}`.
    pub(super) is_tail: bool,
    /// A router is nested here, which responds to requests that have no route.
    pub(super) scope: Option<Scope>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) route: Route,
    pub(super) kind: MethodKind,
    /// The same if the route has nothing but its handler, and no route of its leaf has a guard; else
    /// [`MethodKind::Any`].
    quick: MethodKind,
    pub(super) pattern: Pattern,
}

/// The method of a route or of a request, for a comparison without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodKind {
    /// All methods, of a route.
    Any,
    Get,
    Head,
    Post,
    /// One that is compared by its text.
    Other,
}

impl MethodKind {
    /// That of a method, whose class is known.
    #[inline]
    fn of<'m>(class: Method, method: impl FnOnce() -> &'m [u8]) -> MethodKind {
        match class {
            Method::Get => MethodKind::Get,
            Method::Head => MethodKind::Head,
            Method::Other if method() == b"POST" => MethodKind::Post,
            _ => MethodKind::Other,
        }
    }

    /// Most requests are for GET, and need no more than this comparison.
    #[inline]
    pub(super) fn of_request(req: &Request<'_>) -> MethodKind {
        match req.method_class() {
            Method::Get => MethodKind::Get,
            _ => MethodKind::of_other(req),
        }
    }

    #[cold]
    #[inline(never)]
    fn of_other(req: &Request<'_>) -> MethodKind {
        MethodKind::of(req.method_class(), || req.method_bytes())
    }
}

impl Leaf {
    /// Adds an endpoint at this place, and decides which of all are found by [`Leaf::quick`].
    pub(super) fn insert(&mut self, at: usize, endpoint: Endpoint) {
        self.endpoints.insert(at, endpoint);
        let has_guards = self.endpoints.iter().any(|e| e.route.guard.is_some());
        for endpoint in &mut self.endpoints {
            endpoint.quick = match endpoint.kind {
                MethodKind::Other => MethodKind::Any,
                kind if !has_guards && endpoint.route.is_plain() => kind,
                _ => MethodKind::Any,
            };
        }
    }

    /// The endpoint for a request whose method is of this kind, if all that it needs is a call of its handler.
    #[inline]
    pub(super) fn quick(&self, kind: MethodKind) -> Option<&Endpoint> {
        let (first, others) = self.endpoints.split_first()?;
        match first.quick == kind {
            true => Some(first),
            false => others.iter().find(|endpoint| endpoint.quick == kind),
        }
    }

    /// The endpoint for a request, whose method is of this kind.
    #[inline(always)]
    pub(super) fn endpoint(&self, kind: MethodKind, req: &Request<'_>) -> Option<&Endpoint> {
        let own = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.kind == kind && endpoint.is_of(req) && endpoint.takes(req));
        own.or_else(|| self.general(kind, req))
    }

    /// The endpoint for HEAD that is one for GET, or that for all methods.
    #[cold]
    #[inline(never)]
    fn general(&self, kind: MethodKind, req: &Request<'_>) -> Option<&Endpoint> {
        let of = |kind: MethodKind| {
            let mut endpoints = self.endpoints.iter();
            endpoints.find(|endpoint| endpoint.kind == kind && endpoint.takes(req))
        };
        let for_head = match kind {
            MethodKind::Head => of(MethodKind::Get),
            _ => None,
        };
        for_head.or_else(|| of(MethodKind::Any))
    }

    /// The methods of the endpoints. None if a guard has excluded all of them.
    pub(super) fn methods(&self, req: &Request<'_>) -> BTreeSet<&str> {
        let taken = self.endpoints.iter().filter(|endpoint| endpoint.takes(req));
        let mut methods: BTreeSet<_> = taken.filter_map(|e| e.route.method.as_deref()).collect();
        if methods.contains("GET") {
            methods.insert("HEAD");
        }
        if !methods.is_empty() {
            methods.insert("OPTIONS");
        }
        methods
    }
}

impl Endpoint {
    pub(super) fn new(route: Route, pattern: Pattern) -> Endpoint {
        let method = route.method.as_deref();
        let of = |method| MethodKind::of(Method::of(method), || method);
        let kind = method.map_or(MethodKind::Any, |method| of(method.as_bytes()));
        Endpoint {
            route,
            kind,
            quick: MethodKind::Any,
            pattern,
        }
    }

    #[inline]
    fn takes(&self, req: &Request<'_>) -> bool {
        self.route.guard.as_ref().is_none_or(|guard| guard(req))
    }

    /// Whether it is for the method of a request, which is of its kind.
    #[inline]
    fn is_of(&self, req: &Request<'_>) -> bool {
        self.kind != MethodKind::Other || self.route.method.as_deref() == Some(req.method())
    }
}
