//! Values that layers hand to handlers.

use super::Request;
use std::any::Any;
use std::sync::Arc;

/// The last one was added last.
pub(crate) type Values = Vec<Arc<dyn Any + Send + Sync>>;

impl<'a> Request<'a> {
    /// Calls `f` with the request and this value, which [`Request::value`] finds by its type. So a layer hands to handlers what
    /// it has found out, such as the user. The value goes with the request to the thread pool, and into
    /// [`Request::to_owned_request`]. A value of the same type that was added before is hidden.
    ///
    /// ```
    /// use peregrine::{Router, layers};
    /// use std::sync::Arc;
    ///
    /// struct User {
    ///     name: String,
    /// }
    ///
    /// let app = Router::new()
    ///     .get("/me", |req, res| match req.value::<User>() {
    ///         Some(user) => res.text(&user.name),
    ///         None => res.status(401).text("log in first"),
    ///     })
    ///     .layer(layers::from_fn(|req, res, next| {
    ///         let Some(name) = req.cookie("user") else {
    ///             return next.run(req, res);
    ///         };
    ///         let user = Arc::new(User { name: name.into() });
    ///         req.with_value(user, |req| next.run(req, res))
    ///     }));
    /// # let mut client = peregrine::testing::Client::new(&app);
    /// # assert_eq!(client.get("/me").send().status(), 401);
    /// # assert_eq!(client.get("/me").header("Cookie", "user=ada").send().text(), "ada");
    /// ```
    ///
    /// A request with a value is not for a [`ResponseCache`](crate::response_cache::ResponseCache), because the response may
    /// depend on it. A request without values pays nothing.
    #[doc(alias("extensions", "locals", "context"))]
    pub fn with_value<T, R>(&self, value: Arc<T>, f: impl FnOnce(&Request<'_>) -> R) -> R
    where
        T: Any + Send + Sync,
    {
        let mut values = self.values.cloned().unwrap_or_default();
        values.push(value);
        f(&Request {
            values: Some(&values),
            ..*self
        })
    }

    /// The value of this type that was added last by [`Request::with_value`].
    pub fn value<T: Any>(&self) -> Option<&'a T> {
        let mut values = self.values?.iter().rev();
        values.find_map(|value| (**value).downcast_ref())
    }

    /// Whether a layer has added a value.
    #[inline]
    pub(crate) fn has_values(&self) -> bool {
        self.values.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers;
    use crate::response_cache::{CacheConfig, ResponseCache};
    use crate::router::{Route, Router, offload};
    use crate::testing::{Client, get};
    use crate::{BodyPlan, Done, Response};

    #[derive(Debug, PartialEq)]
    struct Name(String);

    fn tell(req: &Request<'_>, res: Response<'_>) -> Done {
        let name = req.value::<Name>().map_or("none", |name| &name.0);
        res.text(format!("{name} {:?}", req.value::<u32>()))
    }

    fn named(name: &'static str) -> impl layers::Layer {
        layers::from_fn(move |req, res, next| {
            let name = Arc::new(Name(name.into()));
            req.with_value(name, |req| next.run(req, res))
        })
    }

    #[test]
    fn a_value_reaches_handlers_wherever_they_run() {
        let inner = Router::new()
            .get("/", tell)
            .get("/pool", offload(tell))
            .post("/body", tell)
            .route(
                Route::post("/plan", |_, res| res.text("not called"))
                    .body_plan(|_| BodyPlan::respond(tell)),
            )
            .mount("/mounted", crate::from_fn(tell));
        let number = layers::from_fn(|req, res, next| {
            req.with_value(Arc::new(7_u32), |req| next.run(req, res))
        });
        let app = Router::new()
            .nest("/in", inner.layer(number))
            .get("/out", tell)
            .layer(named("ada"));
        for path in ["/in", "/in/pool", "/in/mounted/x"] {
            assert_eq!(get(&app, path).text(), "ada Some(7)", "{path}");
        }
        let mut client = Client::new(&app);
        for path in ["/in/body", "/in/plan"] {
            let response = client.post(path).body("x").send();
            assert_eq!(response.text(), "ada Some(7)", "{path}");
        }
        assert_eq!(get(&app, "/out").text(), "ada None");
        assert_eq!(get(&Router::new().get("/", tell), "/").text(), "none None");
    }

    #[test]
    fn the_last_value_of_a_type_counts() {
        let app = Router::new()
            .route(Route::get("/", tell).layer(named("inner")))
            .layer(named("outer"));
        assert_eq!(get(&app, "/").text(), "inner None");
    }

    #[test]
    fn a_response_that_may_depend_on_a_value_is_not_kept() {
        let cache = ResponseCache::new(CacheConfig::default());
        let app = |name| {
            let cached = cache.wrap_fn(tell);
            Router::new().get("/", cached).layer(named(name))
        };
        assert_eq!(get(&app("ada"), "/").text(), "ada None");
        assert_eq!(get(&app("bo"), "/").header("age"), None);
        assert_eq!(cache.stats().entries, 0);
    }
}
