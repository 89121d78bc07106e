//! Conversions from and to the types of the `http` crate.

use super::request::Request;
use super::response::{Done, Response};
use peregrine_protocol::payload::Payload;

impl Request<'_> {
    /// A copy as an [`http::Request`], with the decoded body. Needs the feature `http`.
    ///
    /// # Errors
    ///
    /// `http::Uri` refuses some targets that RFC 9110 or browsers allow, such as one with `|` in its query.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     let Ok(req) = req.to_http() else { return res.status(400).body("") };
    ///     let response = http::Response::builder()
    ///         .status(http::StatusCode::CREATED)
    ///         .header("x-length", req.body().len())
    ///         .body(req.uri().path().to_owned());
    ///     res.send_http(response.expect("valid parts"))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    /// # assert!(client.received().starts_with(b"HTTP/1.1 201 Created\r\n"));
    /// # assert!(client.received().ends_with(b"x-length: 2\r\nContent-Length: 2\r\n\r\n/a"));
    /// ```
    pub fn to_http(&self) -> Result<http::Request<Vec<u8>>, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method())
            .uri(self.target())
            .version(self.version().into());
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        request.body(self.body().to_vec())
    }
}

impl Response<'_> {
    /// Sends an [`http::Response`]. Its version and its extensions are ignored. Needs the feature `http`.
    pub fn send_http(self, response: http::Response<impl Into<Payload>>) -> Done {
        let (parts, body) = response.into_parts();
        let mut response = self.status(parts.status.as_u16());
        for (name, value) in &parts.headers {
            response = response.header(name.as_str(), value);
        }
        response.send(body)
    }
}
