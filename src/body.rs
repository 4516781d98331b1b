//! The one body type of the stack.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// Any error that ends a body early; the peer sees an aborted transfer, never a short whole.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The content of a request or a response on its way through the stack.
#[derive(Debug, Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    /// All of it at once, as served from memory.
    Full(Bytes),
    /// From the wire, unread.
    Incoming(Incoming),
    /// Anything else that streams.
    Streaming(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(b) => write!(f, "Full({} bytes)", b.len()),
            Self::Incoming(_) => f.write_str("Incoming"),
            Self::Streaming(_) => f.write_str("Streaming"),
        }
    }
}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// Content that is all here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
    }

    /// True if all of it is in memory: handing it over waits for nobody.
    pub const fn is_whole(&self) -> bool {
        matches!(self.0, Inner::Empty | Inner::Full(_))
    }

    /// All of it, if it is in memory.
    pub fn whole(&self) -> Option<Bytes> {
        match &self.0 {
            Inner::Empty => Some(Bytes::new()),
            Inner::Full(bytes) => Some(bytes.clone()),
            Inner::Incoming(_) | Inner::Streaming(_) => None,
        }
    }

    /// Content that arrives in pieces.
    pub fn streaming(
        body: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Self {
        Self(Inner::Streaming(Box::pin(body)))
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Self(Inner::Incoming(incoming))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
            Inner::Streaming(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(incoming) => incoming.is_end_stream(),
            Inner::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(incoming) => incoming.size_hint(),
            Inner::Streaming(body) => body.size_hint(),
        }
    }
}
