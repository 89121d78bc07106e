//! Finds the route of a request, and calls its handler.

use super::endpoint::{Endpoint, MethodKind};
use super::tree::Params;
use super::{Router, Slash};
use crate::http::handler::Handler;
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::request::route::RouteMatch;
use crate::http::request_body::BodyPlan;
use crate::http::request_body::around::Around;
use crate::http::response::{Done, ErrorContext, Response};
use crate::layers::Layers;
use crate::shared::panic_guard::{catch, quietly};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the routers of the host of a request have for it.
enum Found<'r> {
    Route(&'r Endpoint),
    /// No route; but one of them responds.
    Without,
    Elsewhere,
}

/// No route responds.
struct Without<'r> {
    /// The methods that have routes.
    allowed: BTreeSet<&'r str>,
    /// The handler of the nearest router that has one.
    not_found: Option<&'r Arc<dyn Handler>>,
    /// The layers of the nearest nested router.
    layers: Option<&'r Layers>,
}

impl Without<'_> {
    /// Whether this is more than the 404 of a router that knows nothing of the path.
    fn has_response(&self) -> bool {
        !self.allowed.is_empty() || self.not_found.is_some()
    }
}

impl Endpoint {
    #[inline]
    pub(super) fn matched(&self, params: &Params, req: &Request<'_>) -> RouteMatch {
        RouteMatch {
            pattern: self.pattern.known,
            params: params.route.params,
            skipped: match self.route.is_mount {
                false => req.skipped(),
                true => req.skipped() + self.skipped(params, req),
            },
        }
    }

    /// Bytes of the path that a mounted handler does not see.
    #[cold]
    fn skipped(&self, params: &Params, req: &Request<'_>) -> usize {
        match params.count {
            // The slash before the tail belongs to the rest.
            _ if self.pattern.pieces.last() == Some(&super::Piece::Tail) => {
                usize::from(params.route.params[params.count - 1].start) - 1 - req.path_start()
            }
            _ => req.path().len() - 1,
        }
    }

    #[inline(always)]
    fn call(
        &self,
        is_offloaded: bool,
        route: &RouteMatch,
        req: &Request<'_>,
        res: Response<'_>,
    ) -> Done {
        let is_offloaded = self.route.is_offloaded || is_offloaded;
        let respond = |req: &Request<'_>, res: Response<'_>| self.respond(is_offloaded, req, res);
        self.seen(route, req, |req| self.route.layers.run(req, res, respond))
    }

    #[inline]
    fn respond(&self, is_offloaded: bool, req: &Request<'_>, res: Response<'_>) -> Done {
        if !is_offloaded {
            return (*self.route.handler).handle_request(req, res);
        }
        let handler = self.route.handler.clone();
        res.offload(req, move |req, res| handler.handle_request(req, res))
    }

    /// Calls `f` with the request as the handler sees it.
    #[inline]
    fn seen<R>(
        &self,
        route: &RouteMatch,
        req: &Request<'_>,
        f: impl FnOnce(&Request<'_>) -> R,
    ) -> R {
        match self.route.is_mount {
            false => f(&req.with_route(route)),
            true => req.behind(route, f),
        }
    }

    /// Responds to an error of the library as the handler does, which may have layers of its own.
    fn respond_to_error(
        &self,
        route: &RouteMatch,
        error: &ErrorContext<'_>,
        req: &Request<'_>,
        res: Response<'_>,
    ) -> Done {
        let res = self.route.layers.error_fields(Some(req), res);
        self.seen(route, req, |req| {
            let error = ErrorContext::new(error.status(), error.text(), Some(*req));
            (*self.route.handler).error_response(&error, res)
        })
    }

    fn plan(&self, route: RouteMatch, req: &Request<'_>) -> BodyPlan {
        let own = |req: &Request<'_>| match &self.route.plan {
            Some(plan) => plan(req),
            None => match self.route.body_limit {
                Some(most) => BodyPlan::BufferUpTo(most),
                None => (*self.route.handler).body_plan(req),
            },
        };
        let planned = self.seen(&route, req, |req| self.route.layers.plan(req, own));
        planned.within(|| route)
    }
}

impl Around for RouteMatch {
    fn respond(
        self,
        req: &Request<'_>,
        mut res: Response<'_>,
        inner: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
    ) -> Done {
        res.set_route(self.pattern);
        req.behind(&self, |req| inner(req, res.reborrow()))
    }
}

impl Router {
    /// The route of a request whose path is `path`, and its parameters in `params`.
    #[inline(never)]
    pub(super) fn find(
        &self,
        path: &[u8],
        req: &Request<'_>,
        params: &mut Params,
    ) -> Option<&Endpoint> {
        if !self.hosts.is_empty() {
            match self.find_by_host(path, req, params) {
                Found::Route(endpoint) => return Some(endpoint),
                Found::Without => return None,
                Found::Elsewhere => {}
            }
        }
        let leaf = self.tree.direct(path, params);
        self.find_from(leaf, path, req, params)
    }

    /// The same, without the routers of hosts, where `leaf` is what [`Tree::direct`](super::tree::Tree::direct) has found.
    fn find_from(
        &self,
        leaf: Option<u32>,
        path: &[u8],
        req: &Request<'_>,
        params: &mut Params,
    ) -> Option<&Endpoint> {
        let kind = MethodKind::of_request(req);
        let found = leaf.and_then(|leaf| self.leaves[leaf as usize].endpoint(kind, req));
        found.or_else(|| self.find_further(path, leaf, kind, req, params))
    }

    /// As [`Router::find`], where the first leaf is not the one. `tried`: this leaf has no route for the request.
    #[cold]
    #[inline(never)]
    fn find_further(
        &self,
        path: &[u8],
        tried: Option<u32>,
        kind: MethodKind,
        req: &Request<'_>,
        params: &mut Params,
    ) -> Option<&Endpoint> {
        let mut found = None;
        let visit = &mut |leaf: u32, _: &Params| {
            if tried != Some(leaf) {
                found = self.leaves[leaf as usize].endpoint(kind, req);
            }
            found.is_some()
        };
        self.tree.search(path, params, visit);
        found
    }

    #[inline]
    fn run(
        &self,
        endpoint: &Endpoint,
        route: &RouteMatch,
        req: &Request<'_>,
        mut res: Response<'_>,
    ) -> Done {
        res.set_route(route.pattern);
        endpoint.call(self.is_offloaded, route, req, res)
    }

    /// Why no route responds.
    #[cold]
    #[inline(never)]
    fn find_none(&self, path: &[u8], req: &Request<'_>) -> Without<'_> {
        let mut inner = self.of_host(req);
        let inner = inner
            .find_map(|router| Some(router.find_none(path, req)).filter(Without::has_response));
        inner.unwrap_or_else(|| self.find_none_here(path, req))
    }

    fn find_none_here(&self, path: &[u8], req: &Request<'_>) -> Without<'_> {
        let (mut allowed, mut not_found, mut layers) = (BTreeSet::new(), None, None);
        let mut is_known = false;
        let visit = &mut |leaf: u32, _: &Params| {
            let leaf = &self.leaves[leaf as usize];
            if let Some(scope) = &leaf.scope {
                layers = layers.or(Some(&scope.layers));
                not_found = not_found.or(scope.not_found.as_ref());
            }
            let methods = leaf.methods(req);
            // A tail matches nearly everything, so it does not make a path known.
            is_known |= !leaf.is_tail && !methods.is_empty();
            allowed.extend(methods);
            false
        };
        self.tree.search(path, &mut Params::new(0), visit);
        if !is_known {
            allowed.clear();
        }
        Without {
            allowed,
            not_found: not_found.or(self.not_found.as_ref()),
            layers: layers.filter(|layers| !layers.is_empty()),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_by_host(&self, path: &[u8], req: &Request<'_>, params: &mut Params) -> Found<'_> {
        for router in self.of_host(req) {
            if let Some(endpoint) = router.find(path, req, params) {
                return Found::Route(endpoint);
            }
            if router.find_none(path, req).has_response() {
                return Found::Without;
            }
        }
        Found::Elsewhere
    }

    /// The routers of the host of a request, the most specific one first.
    fn of_host<'r>(&'r self, req: &Request<'_>) -> impl Iterator<Item = &'r Router> {
        // Without the port, which follows the last colon. An IPv6 address has colons in brackets.
        let name = req.host().map(|host| match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        });
        let hosts = self.hosts.iter();
        hosts.filter_map(move |(own, router)| is_host(own, name?).then_some(router))
    }

    /// Finds the route of the path with one slash more or less at its end. Also tells whether it has one more.
    #[cold]
    fn find_other(&self, req: &Request<'_>) -> Option<(&Endpoint, RouteMatch, bool)> {
        let path = req.path();
        if self.slash == Slash::Exact || path.len() < 2 {
            return None;
        }
        let other = match path.strip_suffix('/') {
            Some(shorter) => Cow::Borrowed(shorter),
            None => Cow::Owned(format!("{path}/")),
        };
        let mut params = Params::new(req.path_start());
        let endpoint = self.find(other.as_bytes(), req, &mut params)?;
        let route = endpoint.matched(&params, req);
        Some((endpoint, route, other.len() > path.len()))
    }

    /// The route that responds, also if its path has a slash more or less at its end. Without one, the layers around the
    /// response.
    pub(super) fn find_matched(
        &self,
        req: &Request<'_>,
    ) -> Result<(&Endpoint, RouteMatch), Option<&Layers>> {
        let mut params = Params::new(req.path_start());
        if let Some(endpoint) = self.find(req.path_bytes(), req, &mut params) {
            return Ok((endpoint, endpoint.matched(&params, req)));
        }
        let found = self.find_none(req.path_bytes(), req);
        if self.slash == Slash::Same && found.allowed.is_empty() {
            if let Some((endpoint, route, _)) = self.find_other(req) {
                return Ok((endpoint, route));
            }
        }
        Err(found.layers)
    }

    #[cold]
    #[inline(never)]
    fn respond_without(&self, found: &Without<'_>, req: &Request<'_>, res: Response<'_>) -> Done {
        let other = match found.allowed.is_empty() {
            true => self.find_other(req),
            false => None,
        };
        if let (Some((endpoint, route, _)), Slash::Same) = (&other, self.slash) {
            return self.run(endpoint, route, req, res);
        }
        let respond = |req: &Request<'_>, res: Response<'_>| match (other, found.not_found) {
            _ if !found.allowed.is_empty() => not_allowed(&found.allowed, req, res),
            (Some((.., is_longer)), _) => redirect(req, is_longer, res),
            (None, Some(handler)) => (**handler).handle_request(req, res),
            (None, None) => Problem::new(404).respond_to(req, res),
        };
        match found.layers {
            Some(layers) => layers.run(req, res, respond),
            None => respond(req, res),
        }
    }

    /// Most routes have nothing but a handler, and most paths lead to theirs without a way back: this is all that such a
    /// request needs, so that nothing else costs registers here.
    #[inline(always)]
    fn dispatch(&self, req: &Request<'_>, mut res: Response<'_>) -> Done {
        let mut params = Params::new(req.path_start());
        if !self.is_simple {
            return self.dispatch_any(params, req, res);
        }
        let leaf = self.tree.direct(req.path_bytes(), &mut params);
        let kind = MethodKind::of_request(req);
        let quick = leaf.and_then(|leaf| self.leaves[leaf as usize].quick(kind));
        let Some(endpoint) = quick else {
            return self.dispatch_from(leaf, params, req, res);
        };
        params.route.pattern = endpoint.pattern.known;
        let skipped = req.skipped();
        if skipped > 0 {
            params.route.skipped = skipped;
        }
        res.set_route(params.route.pattern);
        (*endpoint.route.handler).handle_request(&req.with_route(&params.route), res)
    }

    /// By the way that all requests can take.
    #[inline(never)]
    fn dispatch_any(&self, mut params: Params, req: &Request<'_>, res: Response<'_>) -> Done {
        self.layers.run(req, res, |req, res| {
            let endpoint = self.find(req.path_bytes(), req, &mut params);
            self.run_found(endpoint, &params, req, res)
        })
    }

    #[inline(never)]
    fn dispatch_from(
        &self,
        leaf: Option<u32>,
        mut params: Params,
        req: &Request<'_>,
        res: Response<'_>,
    ) -> Done {
        let endpoint = self.find_from(leaf, req.path_bytes(), req, &mut params);
        self.run_found(endpoint, &params, req, res)
    }

    #[inline]
    fn run_found(
        &self,
        endpoint: Option<&Endpoint>,
        params: &Params,
        req: &Request<'_>,
        res: Response<'_>,
    ) -> Done {
        match endpoint {
            Some(endpoint) => self.run(endpoint, &endpoint.matched(params, req), req, res),
            None => self.respond_without(&self.find_none(req.path_bytes(), req), req, res),
        }
    }

    /// Calls a hook of each handler of this router and of its hosts. A panic is resumed when all are called.
    #[inline(never)]
    fn call_hooks(&self, hook: fn(&dyn Handler)) {
        let mut first = None;
        self.each_handler(&mut |handler| match (catch(|| hook(handler)), &first) {
            (Ok(()), _) => {}
            (Err(panic), None) => first = Some(panic),
            // One is reported.
            (Err(panic), Some(_)) => quietly("a further hook", || panic.resume()),
        });
        if let Some(panic) = first {
            panic.resume();
        }
    }

    fn each_handler(&self, call: &mut dyn FnMut(&dyn Handler)) {
        self.handlers.iter().for_each(|handler| call(&**handler));
        for (_, router) in &self.hosts {
            router.each_handler(call);
        }
    }

    /// A request without a route gets its response before its body is read.
    fn plan(&self, req: &Request<'_>) -> BodyPlan {
        match self.find_matched(req) {
            Ok((endpoint, route)) => endpoint.plan(route, req),
            Err(Some(layers)) => layers.plan(req, |_| BodyPlan::Unread),
            Err(None) => BodyPlan::Unread,
        }
    }
}

impl Handler for Router {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.dispatch(req, res)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.layers.plan(req, |req| self.plan(req))
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        let req = error.request();
        let res = self.layers.error_fields(req, res);
        let Some(req) = req else {
            return error.respond(res);
        };
        match self.find_matched(req) {
            Ok((endpoint, route)) => endpoint.respond_to_error(&route, error, req, res),
            Err(Some(layers)) => error.respond(layers.error_fields(Some(req), res)),
            Err(None) => error.respond(res),
        }
    }

    #[inline]
    fn before_wait(&self) {
        if self.is_hooked {
            self.call_hooks(Handler::before_wait);
        }
    }

    #[inline]
    fn after_wait(&self) {
        if self.is_hooked {
            self.call_hooks(Handler::after_wait);
        }
    }
}

/// OPTIONS asks for the methods (RFC 9110 section 9.3.7), and every other method is refused (section 15.5.6).
#[cold]
fn not_allowed(methods: &BTreeSet<&str>, req: &Request<'_>, res: Response<'_>) -> Done {
    let methods: Vec<_> = methods.iter().copied().collect();
    let res = res.header("Allow", methods.join(", "));
    match req.method() {
        "OPTIONS" => res.status(204).body(""),
        _ => Problem::new(405).respond_to(req, res),
    }
}

/// Redirects to the path with one slash more or less at its end.
#[cold]
pub(super) fn redirect(req: &Request<'_>, adds: bool, res: Response<'_>) -> Done {
    let path = req.whole_path();
    // For browsers the location would be another host.
    if let Some(b'/' | b'\\') = path.as_bytes().get(1) {
        return Problem::new(404).respond_to(req, res);
    }
    let (path, slash) = match adds {
        true => (&*path, "/"),
        false => (path.strip_suffix('/').unwrap_or(&path), ""),
    };
    let query = req.query_string().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    res.redirect(308, format!("{path}{slash}{query}"))
}

fn is_host(own: &str, host: &str) -> bool {
    match own.strip_prefix('*') {
        // `.example` of `*.example`.
        Some(suffix) => host
            .len()
            .checked_sub(suffix.len())
            .and_then(|at| host.get(at..).filter(|_| at > 0))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
        None => own.eq_ignore_ascii_case(host),
    }
}
