//! The files of the page, which are part of the program: `output/page`, as they are.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! files {
    ($($name:literal: $content_type:expr,)*) => {
        [$(($name, $content_type, include_bytes!(concat!("../../page/", $name)).as_slice()),)*]
    };
}

/// The path below `/page/`, the content type and the bytes.
const FILES: [(&str, &str, &[u8]); 19] = files! {
    "index.html": HTML,
    "style.css": STYLE,
    "icon.svg": PICTURE,
    "main.js": SCRIPT,
    "state.js": SCRIPT,
    "api.js": SCRIPT,
    "format.js": SCRIPT,
    "dom.js": SCRIPT,
    "colors.js": SCRIPT,
    "layout.js": SCRIPT,
    "flame.js": SCRIPT,
    "heat.js": SCRIPT,
    "timeline.js": SCRIPT,
    "top.js": SCRIPT,
    "ledger.js": SCRIPT,
    "controls.js": SCRIPT,
    "vendor/uPlot.esm.js": SCRIPT,
    "vendor/uPlot.min.css": STYLE,
    "vendor/uPlot.LICENSE": TEXT,
};

/// `/`
pub(super) async fn index() -> Result<Response, Refusal> {
    answer("index.html")
}

/// `/page/…`
pub(super) async fn file(Path(path): Path<String>) -> Result<Response, Refusal> {
    answer(&path)
}

fn answer(path: &str) -> Result<Response, Refusal> {
    let file = FILES.into_iter().find(|(name, ..)| *name == path);
    let (_, content_type, bytes) =
        file.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such file"))?;
    Ok(([(header::CONTENT_TYPE, content_type)], bytes).into_response())
}
