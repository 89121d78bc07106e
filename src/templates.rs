//! Pages from templates, in the language of Jinja (`minijinja`).

use crate::http::handler_error::HandlerError;
use crate::http::response::error::ResponseError;
use crate::http::response::{Done, Response};
pub use minijinja::context;
/// A value of a type with `serde::Serialize`, as a value in [`context!`].
///
/// ```
/// use peregrine::templates::{Serde, Templates, context};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Note {
///     title: &'static str,
/// }
///
/// # fn main() -> Result<(), peregrine::templates::TemplateError> {
/// let mut templates = Templates::new();
/// templates.add("notes.html", "{% for note in notes %}<li>{{ note.title }}{% endfor %}")?;
/// let notes = [Note { title: "milk" }, Note { title: "tea" }];
/// let page = templates.render("notes.html", context! { notes => Serde(&notes) })?;
/// assert_eq!(page, "<li>milk<li>tea");
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use minijinja::value::Serde;
use minijinja::{Environment, Error, HtmlEscape, UndefinedBehavior, Value, path_loader};
use serde::Serialize;
use std::io;
use std::path::Path;

/// Templates of a program, by name. Needs the feature `templates`.
///
/// Values are escaped by the name of the template: as HTML for `.html`, `.htm` and `.xml`, as JSON for `.json`. With another name,
/// such as `page.j2`, nothing is escaped. A variable that does not exist is an error where it is printed, and false in a condition.
///
/// ```
/// use peregrine::templates::{Templates, context};
///
/// # fn main() -> Result<(), peregrine::templates::TemplateError> {
/// let mut templates = Templates::new();
/// templates.add("page.html", "<h1>{{ title }}</h1>")?;
/// let app = peregrine::from_fn(move |req, res| {
///     let title = req.query("title").unwrap_or("Home".into());
///     res.render(&templates, "page.html", context! { title })
/// });
/// let response = peregrine::testing::get(&app, "/?title=a%3Cb");
/// assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
/// assert_eq!(response.text(), "<h1>a&lt;b</h1>");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

impl Default for Templates {
    fn default() -> Templates {
        Templates::new()
    }
}

impl Templates {
    /// No templates.
    pub fn new() -> Templates {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_debug(cfg!(debug_assertions));
        environment.set_auto_reload(cfg!(debug_assertions));
        Templates { environment }
    }

    /// The files of a folder and of those in it, by their paths: `page.html`, `mail/welcome.txt`. No name leads out
    /// of the folder.
    ///
    /// A file is read when it is first used, on the thread of the handler. A debug build reads it again after a
    /// change; a release build reads it once.
    ///
    /// # Errors
    ///
    /// `dir` is not a folder that can be read.
    pub fn from_dir(dir: impl AsRef<Path>) -> io::Result<Templates> {
        std::fs::read_dir(dir.as_ref())?;
        let mut templates = Templates::new();
        templates.environment.set_loader(path_loader(dir));
        Ok(templates)
    }

    /// Adds a template, for instance one that [`include_str!`] has compiled into the program. It replaces one of
    /// this name.
    ///
    /// # Errors
    ///
    /// The source is not a template.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        source: impl Into<String>,
    ) -> Result<(), TemplateError> {
        let added = self
            .environment
            .add_template_owned(name.into(), source.into());
        added.map_err(TemplateError)
    }

    /// The environment of `minijinja`, to add filters, functions and values that all templates have.
    pub fn environment(&mut self) -> &mut Environment<'static> {
        &mut self.environment
    }

    /// The text of a template with these values.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: there is no such template, or it is malformed, or a value is missing.
    pub fn render(&self, name: &str, context: impl Serialize) -> Result<String, TemplateError> {
        let template = self.environment.get_template(name);
        let values = Value::from(Serde(context));
        template
            .and_then(|template| template.render(values))
            .map_err(TemplateError)
    }
}

/// Why a template cannot be rendered. Its `Display` has the name and the line.
#[derive(Debug)]
pub struct TemplateError(Error);

impl TemplateError {
    /// The template with the fault, if it is known.
    pub fn template(&self) -> Option<&str> {
        self.0.name()
    }

    /// The line of the fault, from 1, if it is known.
    pub fn line(&self) -> Option<usize> {
        self.0.line()
    }
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// 500, and its text does not reach the client.
impl HandlerError for TemplateError {}

impl std::error::Error for TemplateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Response<'_> {
    /// Sends a page from a template, as `text/html; charset=utf-8` unless `Content-Type` was set. Needs the
    /// feature `templates`. `context` has the values: `context! { title, items }` or any `Serialize`. A value of your types
    /// in `context!` needs [`Serde`]: `context! { title, notes => Serde(&notes) }`.
    ///
    /// # Errors
    ///
    /// If the page cannot be rendered, the client gets 500 because of a
    /// [`ResponseError::Write`](crate::error::ResponseError::Write) with the [`TemplateError`]. In a debug build
    /// the client gets a page with the error, the source and the values instead. [`Templates::render`] returns the
    /// error.
    pub fn render(self, templates: &Templates, name: &str, context: impl Serialize) -> Done {
        match templates.render(name, context) {
            Ok(page) => self.html(page),
            Err(error) if cfg!(debug_assertions) => self.debug_page(&error.0),
            Err(error) => self
                .failing(ResponseError::Write(io::Error::other(error)))
                .body(""),
        }
    }

    fn debug_page(self, error: &Error) -> Done {
        let text = format!("{error}\n{}", error.display_debug_info());
        let page = format!(
            "<!doctype html><meta charset=utf-8><title>Template error</title><h1>Template error</h1>\
             <pre>{}</pre><p>Release builds do not show this page.",
            HtmlEscape(&text)
        );
        self.status(500)
            .header("Cache-Control", "no-store")
            .html(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    fn templates() -> Templates {
        let mut templates = Templates::new();
        for (name, source) in [
            (
                "base.html",
                "<title>{% block title %}{% endblock %}</title>",
            ),
            (
                "page.html",
                "{% extends 'base.html' %}{% block title %}{{ t }}{% endblock %}",
            ),
            ("note.txt", "{{ t }}"),
            ("data.json", "{{ t }}"),
            ("if.html", "{% if missing %}a{% else %}b{% endif %}"),
            ("bad.html", "fine\n{{ missing }}"),
            ("deep.html", "{% include 'deep.html' %}"),
        ] {
            templates.add(name, source).expect("a template");
        }
        templates
    }

    #[test]
    fn values_are_escaped_by_the_name() {
        let templates = templates();
        for (name, expected) in [
            ("page.html", "<title>&lt;&amp;&quot;&#x27;</title>"),
            ("note.txt", "<&\"'"),
            ("data.json", "\"<&\\\"'\""),
            ("if.html", "b"),
        ] {
            let text = templates.render(name, context! { t => "<&\"'" });
            assert_eq!(text.expect("rendered"), expected, "{name}");
        }
    }

    #[test]
    fn faults_have_a_name_and_a_line() {
        let mut templates = templates();
        let error = templates
            .render("bad.html", ())
            .expect_err("a value is missing");
        assert_eq!(
            (error.template(), error.line()),
            (Some("bad.html"), Some(2))
        );
        let error = templates
            .add("x.html", "a\nb\n{% if %}")
            .expect_err("malformed");
        assert_eq!((error.template(), error.line()), (Some("x.html"), Some(3)));
        assert!(templates.render("gone.html", ()).is_err());
        assert!(
            templates.render("deep.html", ()).is_err(),
            "includes are limited"
        );

        let app = crate::from_fn(move |_, res| res.render(&templates, "bad.html", ()));
        let response = get(&app, "/");
        assert_eq!(response.status(), 500);
        if cfg!(debug_assertions) {
            assert!(
                response.text().contains("bad.html:2"),
                "{}",
                response.text()
            );
        }
    }

    #[test]
    fn the_files_of_a_folder() {
        let dir = std::env::temp_dir().join(format!("peregrine-templates-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("in")).expect("a folder");
        std::fs::write(dir.join("in/a.html"), "{{ n }}").expect("a file");
        let templates = Templates::from_dir(&dir).expect("a folder");
        assert_eq!(
            templates
                .render("in/a.html", context! { n => 1 })
                .expect("rendered"),
            "1"
        );
        for name in [
            "../Cargo.toml",
            "in/../../x",
            "/etc/passwd",
            "in\\a.html",
            "in",
        ] {
            assert!(templates.render(name, ()).is_err(), "{name}");
        }
        std::fs::remove_dir_all(&dir).expect("it is there");
        assert!(Templates::from_dir(&dir).is_err());
    }
}
