//! The fast path, as its two ends see it: the server reads the head of a request and asks whether
//! it can be answered at once; who answers writes the response as it goes to the socket.
//!
//! Only what needs no waiting and no request of its own is answered so: in practice, fresh entries
//! in memory. Everything else takes the way through the layers, which gives the same answers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Response;

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

/// Answers at once what can be answered at once. One per connection: what is remembered of one
/// request may serve the next.
pub trait FastPath: Clone + Send + Unpin + 'static {
    /// Writes the beginning of the response into `out`, which is empty, and returns the rest of it,
    /// both as they go to the socket. `None`: the request has to take the long way, and `out` is
    /// worth nothing.
    fn answer(&mut self, head: &Head<'_>, out: &mut Vec<u8>) -> Option<Bytes>;

    /// The same for a protocol that writes its heads in another way; `head` says what it would say in
    /// HTTP/1.1.
    fn respond(&mut self, head: &Head<'_>) -> Option<Response<Bytes>>;
}

/// Every request takes the long way.
impl FastPath for () {
    fn answer(&mut self, _: &Head<'_>, _: &mut Vec<u8>) -> Option<Bytes> {
        None
    }

    fn respond(&mut self, _: &Head<'_>) -> Option<Response<Bytes>> {
        None
    }
}
