//! The fast path, as its two ends see it: the server reads the head of a request and asks whether
//! it can be answered past the layers.
//!
//! | asked | answered |
//! |---|---|
//! | [`FastPath::answer`], of a head in HTTP/1.1 | at once, as it goes to the socket |
//! | [`FastPath::ahead`], of what was not answered | later, by `answer`, with what was found meanwhile |
//! | [`FastPath::respond`], of any other head | at once, as a response |
//! | [`FastPath::look`], of what was not answered | later, as a response |
//!
//! In practice these are fresh entries, in memory or in the store that processes share. Everything
//! else takes the way through the layers, which gives the same answers.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, Response, Uri};

/// A field line: its name as it was sent, in any case, and its value without surrounding blanks.
pub type Field<'a> = httparse::Header<'a>;

/// The head of a GET request without content, as in HTTP/1.1, syntactically valid, that asks neither
/// for another protocol nor for the end of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The request target as it was sent, in whatever form.
    pub target: &'a str,
    /// The field lines in their order.
    pub fields: &'a [Field<'a>],
    /// Who asks.
    pub client: SocketAddr,
    /// Where its connection was accepted.
    pub local: SocketAddr,
}

impl<'a> Head<'a> {
    /// The field lines as in HTTP/1.1 (RFC 9113 §8.3.1: ":authority" is what Host is there). `None`
    /// if somebody else has to put them together: cookies may come in pieces (§8.2.3).
    pub fn fields(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Vec<Field<'a>>> {
        let mut fields = Vec::with_capacity(headers.len() + 1);
        if let Some(authority) = uri.authority() {
            fields.push(Field { name: "host", value: authority.as_str().as_bytes() });
        }
        let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        fields.extend(lines.map(|(name, value)| Field { name, value }));
        let mut cookies = headers.get_all(COOKIE).iter();
        let whole = cookies.next().is_none() || cookies.next().is_none();
        whole.then_some(fields)
    }
}

/// What was found where one has to wait, for who looked to understand. As an extension of a request
/// it spares the layers to look again.
#[derive(Clone, Debug)]
pub struct Found(pub Arc<dyn Any + Send + Sync>);

/// A look for what is not here.
pub type Ahead = Pin<Box<dyn Future<Output = Found> + Send>>;

/// A look for an answer. `Err`: the request has to take the long way.
pub type Looking = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Parts>> + Send>>;

/// Answers past the layers what can be answered so. One per connection: what is remembered of one
/// request may serve the next.
pub trait FastPath: Clone + Send + Unpin + 'static {
    /// Writes the beginning of the response into `out`, which is empty, and returns the rest of it,
    /// both as they go to the socket. `None`: the request has to take the long way, and `out` is
    /// worth nothing. `found` is what was found for this very request.
    fn answer(
        &mut self,
        head: &Head<'_>,
        found: Option<&Found>,
        out: &mut Vec<u8>,
    ) -> Option<Bytes>;

    /// Looks where one has to wait for what was not answered with what is `found` so far, which is
    /// given back if there is no use in looking.
    fn ahead(&mut self, head: &Head<'_>, found: Option<Found>) -> Result<Ahead, Option<Found>>;

    /// The same as `answer` for a protocol that writes its heads in another way; `head` says what it
    /// would say in HTTP/1.1.
    fn respond(&mut self, head: &Head<'_>) -> Option<Response<Bytes>>;

    /// The same as `ahead` for such a protocol, and a GET without content. Who is at the two ends of its
    /// connection is in its extensions. Takes it if there is a use in looking.
    fn look(&mut self, request: &mut Option<Parts>) -> Option<Looking>;
}

/// Every request takes the long way.
impl FastPath for () {
    fn answer(&mut self, _: &Head<'_>, _: Option<&Found>, _: &mut Vec<u8>) -> Option<Bytes> {
        None
    }

    fn ahead(&mut self, _: &Head<'_>, found: Option<Found>) -> Result<Ahead, Option<Found>> {
        Err(found)
    }

    fn respond(&mut self, _: &Head<'_>) -> Option<Response<Bytes>> {
        None
    }

    fn look(&mut self, _: &mut Option<Parts>) -> Option<Looking> {
        None
    }
}
