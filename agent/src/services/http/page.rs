//! The dashboard: pages, scripts and styles, embedded in the binary. Every path has one segment, so that relative links work behind
//! a proxy that serves the agent below a path.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::AppState;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// What all pages have around their content.
const SHELL: &str = include_str!("page/shell.html");

/// A page: its path, its title, its script without the extension, and its content.
const PAGES: [(&str, &str, &str, &str); 7] = [
    ("/", "Overview", "overview", include_str!("page/overview.html")),
    ("/relays", "Relays", "relays", include_str!("page/relays.html")),
    ("/relay", "Relay", "relay", include_str!("page/relay.html")),
    ("/events", "Events", "events", include_str!("page/events.html")),
    ("/author", "Author", "author", include_str!("page/author.html")),
    ("/jobs", "Jobs", "jobs", include_str!("page/jobs.html")),
    ("/health", "Health", "health", include_str!("page/health.html")),
];

/// A file: its path, its type and its content. uPlot is by Leon Sorokin, under the MIT licence beside it.
const FILES: [(&str, &str, &str); 14] = [
    ("/base.js", SCRIPT, include_str!("page/base.js")),
    ("/plot.js", SCRIPT, include_str!("page/plot.js")),
    ("/map.js", SCRIPT, include_str!("page/map.js")),
    ("/overview.js", SCRIPT, include_str!("page/overview.js")),
    ("/relays.js", SCRIPT, include_str!("page/relays.js")),
    ("/relay.js", SCRIPT, include_str!("page/relay.js")),
    ("/events.js", SCRIPT, include_str!("page/events.js")),
    ("/author.js", SCRIPT, include_str!("page/author.js")),
    ("/jobs.js", SCRIPT, include_str!("page/jobs.js")),
    ("/health.js", SCRIPT, include_str!("page/health.js")),
    ("/page.css", STYLE, include_str!("page/page.css")),
    ("/uplot.js", SCRIPT, include_str!("page/vendor/uplot.js")),
    ("/uplot.css", STYLE, include_str!("page/vendor/uplot.css")),
    ("/land.svg", "image/svg+xml", include_str!("page/land.svg")),
];

pub(super) fn routes() -> Router<AppState> {
    let pages = PAGES.map(|(path, title, script, main)| {
        let text = SHELL.replace("{{title}}", title).replace("{{script}}", script).replace("{{main}}", main);
        (path, HTML, Bytes::from(text))
    });
    let files = FILES.map(|(path, kind, text)| (path, kind, Bytes::from_static(text.as_bytes())));
    pages.into_iter().chain(files).fold(Router::new(), |router, (path, kind, text)| {
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        router.route(path, get(async move || (headers, text).into_response()))
    })
}
