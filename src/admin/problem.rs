//! What went wrong, for programs and people: RFC 9457.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error of the admin API.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    /// Answered with this status. `detail` says what is wrong and how to put it right.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), members: Map::new() }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 422: well written, but not something that can be done.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Says more, in a member of its own (RFC 9457 §3.2): `errors` of a configuration, say.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut problem = self.members;
        problem.insert("type".into(), json!("about:blank"));
        // RFC 9457 §4.2.1: with about:blank, the title is the status code's own phrase.
        problem.insert("title".into(), json!(self.status.canonical_reason().unwrap_or("Error")));
        problem.insert("status".into(), json!(self.status.as_u16()));
        problem.insert("detail".into(), json!(self.detail));
        let mut response = (self.status, Value::Object(problem).to_string() + "\n").into_response();
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2: a 401 names at least one challenge.
            let challenge = HeaderValue::from_static("Bearer realm=\"larder admin\"");
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
