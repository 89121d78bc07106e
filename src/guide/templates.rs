//! Pages from templates. Needs the feature `templates`.
//!
//! [`Templates`] has the templates of a program, in the language of Jinja. [`Response::render`] sends a page.
//!
//! ```
//! use peregrine::templates::{Templates, context};
//! use peregrine::testing::get;
//!
//! # fn main() -> Result<(), peregrine::templates::TemplateError> {
//! let mut templates = Templates::new(); // or `Templates::from_dir("templates")`
//! templates.add("base.html", "<!doctype html><title>Notes</title>{% block main %}{% endblock %}")?;
//! templates.add(
//!     "notes.html",
//!     "{% extends 'base.html' %}{% block main %}{% for note in notes %}<li>{{ note }}{% endfor %}{% endblock %}",
//! )?;
//! let app = peregrine::from_fn(move |_, res| {
//!     res.render(&templates, "notes.html", context! { notes => ["milk", "<b>"] })
//! });
//! assert_eq!(
//!     get(&app, "/").text(),
//!     "<!doctype html><title>Notes</title><li>milk<li>&lt;b&gt;",
//! );
//! # Ok(())
//! # }
//! ```
//!
//! `context!` takes numbers, texts, lists and maps. A value of a type with `serde::Serialize` goes into it by
//! [`Serde`]: `context! { notes => Serde(&notes) }`. The whole context can be such a type, too.
//!
//! Values are escaped by the name of the template: as HTML in `.html`, `.htm` and `.xml`, as JSON in `.json`, also with `.j2` behind it,
//! such as `page.html.j2`. **In templates of other names, such as `page.j2`, nothing is escaped.** `{{ value | safe }}` is not escaped
//! either: only for HTML that the program has made. A value inside of a script or of an attribute without quotes needs more than this escaping: use
//! `{{ value | tojson }}` in a script, and quotes around attributes.
//!
//! # Errors
//!
//! | error | in a debug build | in a release build |
//! |---|---|---|
//! | no such template, a malformed one, a missing value | 500, with a page that has the line, the source and the values | 500, and [`Handler::handle_error`] gets the [`TemplateError`] |
//! | templates that include each other without end | the same | the same |
//!
//! # Limits
//!
//! Templates are a part of the program: their loops are not limited, but the values in them should be. Templates that include each
//! other are limited in their depth. Do not render a template that a client has sent.
//!
//! A debug build reads changed files of [`Templates::from_dir`] again, without a restart.
//!
//! # Templates that are compiled
//!
//! [`Response::html`] takes any text, so a crate whose templates are part of the program needs nothing of this library and not the
//! feature `templates`. With `askama`:
//!
//! ```ignore
//! #[derive(askama::Template)]
//! #[template(path = "notes.html")]
//! struct Page<'a> { notes: &'a [Note] }
//!
//! fn list(_: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
//!     Ok(res.html(Page { notes: &notes() }.render()?))
//! }
//! ```
//!
//! [`Serde`]: crate::templates::Serde
//! [`Templates`]: crate::templates::Templates
//! [`Templates::from_dir`]: crate::templates::Templates::from_dir
//! [`TemplateError`]: crate::templates::TemplateError
//! [`Response::html`]: crate::Response::html
//! [`Response::render`]: crate::Response::render
//! [`Handler::handle_error`]: crate::Handler::handle_error
