//! Why a request got no answer, as a status and a sentence in JSON: `{"error": "…"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::clean::clean;
use crate::store::StoreError;

/// An answer that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    words: String,
}

impl Refusal {
    /// With a sentence, which is cleaned.
    pub(super) fn new(status: StatusCode, words: &str) -> Self {
        Self {
            status,
            words: clean(words).into_owned(),
        }
    }

    /// For a request that makes no sense.
    pub(super) fn bad(words: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    /// For an answer that cannot be had at this moment.
    pub(super) fn unavailable(words: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    /// For what failed here, with all that is known of why.
    pub(super) fn failed(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let words: Vec<String> = causes.map(ToString::to_string).collect();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, &words.join(": "))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.words }))).into_response()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(words) => Self::bad(&words),
            other => Self::failed(&other),
        }
    }
}
