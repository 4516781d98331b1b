//! A server that does what the first segment of a path says, in letters with numbers:
//!
//! | letter | what |
//! |---|---|
//! | `b1000` | a content of so many bytes (default 0) |
//! | `d5` | answered after so many milliseconds |
//! | `a60` | `Cache-Control: max-age=60`; without it `no-store` |
//! | `w30` | … and `stale-while-revalidate=30` |
//!
//! `/b1000-d5-a60/anything`. Whatever comes before that segment (`/pass`, `/r17`) is for the routes
//! of the proxies in front, and ignored here.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// What a path asks for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Bytes of content.
    pub bytes: u64,
    /// Milliseconds to wait.
    pub delay: u64,
    /// Seconds of freshness; none: not to be stored.
    pub age: Option<u64>,
    /// Seconds it may be served stale while it is refreshed.
    pub stale: Option<u64>,
}

impl Wish {
    /// From a path; the default if no segment of it can be read.
    pub fn of(path: &str) -> Self {
        path.split('/').find_map(Self::of_segment).unwrap_or_default()
    }

    fn of_segment(segment: &str) -> Option<Self> {
        let mut wish = Self::default();
        for word in segment.strip_prefix('b').map(|_| segment)?.split('-') {
            let (letter, number) = word.split_at_checked(1)?;
            let number = number.parse().ok()?;
            match letter {
                "b" => wish.bytes = number,
                "d" => wish.delay = number,
                "a" => wish.age = Some(number),
                "w" => wish.stale = Some(number),
                _ => return None,
            }
        }
        Some(wish)
    }

    fn cache_control(self) -> HeaderValue {
        let text = match (self.age, self.stale) {
            (None, _) => "no-store".to_owned(),
            (Some(3600), None) => return HeaderValue::from_static("max-age=3600"),
            (Some(age), None) => format!("max-age={age}"),
            (Some(age), Some(stale)) => format!("max-age={age}, stale-while-revalidate={stale}"),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"))
    }
}

/// The tag that every representation carries: they never change.
pub const TAG: &str = "\"bench-1\"";

/// The answer, without its delay.
pub fn answer<B>(request: &Request<B>, wish: Wish) -> Response<Content> {
    let mut response = Response::new(Content::default());
    let unsafe_method = !matches!(*request.method(), Method::GET | Method::HEAD);
    let fields = response.headers_mut();
    if !unsafe_method {
        fields.insert(ETAG, HeaderValue::from_static(TAG));
        fields.insert(CACHE_CONTROL, wish.cache_control());
        if request.headers().get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == TAG.as_bytes())
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(wish.bytes));
    *response.body_mut() = Content { left: wish.bytes };
    response
}

/// So many bytes, all the same, from one buffer that is never copied here.
#[derive(Default)]
pub struct Content {
    left: u64,
}

static BUFFER: [u8; 1 << 20] = [b'x'; 1 << 20];

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.left.min(BUFFER.len() as u64);
        self.left -= piece;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BUFFER[..piece as usize])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_wants() {
        let wish = Wish { bytes: 1000, delay: 5, age: Some(60), stale: Some(30) };
        assert_eq!(Wish::of("/b1000-d5-a60-w30/k1"), wish);
        assert_eq!(Wish::of("/pass/b10/k1"), Wish { bytes: 10, ..Wish::default() });
        assert_eq!(Wish::of("/elsewhere"), Wish::default());
    }
}
