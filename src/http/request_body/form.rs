//! Forms with files as the body of a request.

use super::{BodyPlan, BodySink, Flow, Incoming};
use crate::forms::multipart::MultipartLimits;
use crate::forms::upload::{Form, Upload, UploadError};
use crate::http::handler_error::HandlerResult;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use std::path::PathBuf;

impl BodyPlan {
    /// Receives a form with files (`multipart/form-data`), and then calls `respond` on the worker. Needs the feature
    /// `multipart`.
    ///
    /// Fields are kept in memory. Files are written to `folder`, which must exist, by the rules of [`Upload`], and are
    /// removed with the [`Form`] unless they are [kept](crate::multipart::FormFile::keep). `limits` replaces
    /// [`Limits::stream_bytes`](crate::Limits::stream_bytes) too: a longer body gets 413 from the library. `respond` gets an error if
    /// the form is refused by another limit, is malformed, or cannot be stored; `?` makes the response to it. It is
    /// not called if the body never becomes complete. A request without a body, also one with `Content-Length: 0`, has no plan: the
    /// handler of the route responds to it. Let that refuse, with 415 or 422.
    ///
    /// Writing blocks the worker while the system takes the bytes. To go on with a database, call
    /// [`PerThread::respond`](crate::router::PerThread::respond) or [`Response::offload`] in `respond`.
    ///
    /// ```
    /// use peregrine::error::Status;
    /// use peregrine::multipart::{MultipartLimits, UploadError};
    /// use peregrine::router::Route;
    /// use peregrine::{BodyPlan, Done, Router};
    ///
    /// let limits = MultipartLimits::default().file_bytes(8 << 20);
    /// let photos = Route::post("/photos", |_, _| Err::<Done, _>(Status(415))) // there is no body
    ///     .body_plan(move |req| {
    ///         BodyPlan::form(req, limits, std::env::temp_dir(), |form, _, res| {
    ///             let form = form?;
    ///             Ok::<_, UploadError>(res.text(format!("{} files", form.files().len())))
    ///         })
    ///     });
    /// let app = Router::new().route(photos);
    /// # let mut client = peregrine::testing::Client::new(&app);
    /// # let form = "--x\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nAda\r\n--x--";
    /// # let mut post = |content_type| {
    /// #     let response = client.post("/photos").header("Content-Type", content_type).body(form).send();
    /// #     (response.status(), response.text().to_owned())
    /// # };
    /// # assert_eq!(post("multipart/form-data; boundary=x"), (200, "1 files".to_owned()));
    /// # assert_eq!(post("text/plain").0, 415);
    /// ```
    pub fn form<F, R>(
        req: &Request<'_>,
        limits: MultipartLimits,
        folder: impl Into<PathBuf>,
        respond: F,
    ) -> BodyPlan
    where
        F: FnOnce(Result<Form, UploadError>, &Request<'_>, Response<'_>) -> R + Send + 'static,
        R: HandlerResult,
    {
        let content_type = req.content_type().unwrap_or_default();
        match Upload::new(content_type, limits, folder) {
            Ok(upload) => {
                let form = ReceivedForm {
                    upload,
                    failed: None,
                    respond,
                };
                BodyPlan::stream_up_to(form, limits.total_bytes)
            }
            Err(error) => BodyPlan::respond(|req, res| respond(Err(error), req, res)),
        }
    }
}

struct ReceivedForm<F> {
    upload: Upload,
    failed: Option<UploadError>,
    respond: F,
}

impl<F, R> BodySink for ReceivedForm<F>
where
    F: FnOnce(Result<Form, UploadError>, &Request<'_>, Response<'_>) -> R + Send + 'static,
    R: HandlerResult,
{
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.failed = self.upload.write(piece).err();
        match self.failed {
            None => Flow::Continue,
            Some(_) => Flow::Respond,
        }
    }

    fn finish(self: Box<Self>, req: &Request<'_>, mut res: Response<'_>) -> Done {
        let ReceivedForm {
            upload,
            failed,
            respond,
        } = *self;
        let form = failed.map_or_else(|| upload.finish(), Err);
        let result = respond(form, req, res.reborrow());
        result.settle(req, res)
    }
}
