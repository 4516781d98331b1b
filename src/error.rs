//! What can go wrong on a request's way, named by whose fault it is. `layers::rescue` is the one
//! place that turns these into responses.

use std::time::Duration;

/// A request that could not be answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The client sent something we refuse to forward. Answered with the status inside.
    #[error("client: {0}")]
    Client(#[from] ClientFault),
    /// The origin did not answer, or not in HTTP. Answered 502 or 504.
    #[error("origin: {0}")]
    Origin(#[from] OriginFault),
    /// More work than this process is allowed to take on. Answered 503 with `Retry-After`.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// A write on a route with `on_store_down = "refuse"`, and Valkey does not take its record. The
    /// origin has not seen it. Answered 503 with `Retry-After`.
    #[error("a write could not be recorded: {0}")]
    Unrecorded(&'static str),
    /// A bug of ours. Answered 500.
    #[error("internal: {0}")]
    Ours(&'static str),
}

/// What is wrong with a client's request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// Malformed or ambiguous (RFC 9112 §11.2 and its relatives): 400.
    #[error("{0}")]
    Malformed(&'static str),
    /// A method that a gateway does not carry (CONNECT, TRACE): 405.
    #[error("the method {0} is not allowed here")]
    Method(String),
    /// More or larger fields than we take: 431.
    #[error("{0}")]
    FieldsTooLarge(&'static str),
    /// A longer request target than we take: 414.
    #[error("the request target is too long")]
    TargetTooLong,
    /// The request's content stopped arriving or broke off: 400 or 408.
    #[error("the request's content did not arrive: {0}")]
    Content(&'static str),
    /// It came through this proxy already (RFC 9110 §7.6.3): 508.
    #[error("the request has passed this proxy before")]
    Loop,
    /// `only-if-cached` and nothing usable is stored (RFC 9111 §5.2.1.7): 504.
    #[error("nothing stored satisfies only-if-cached")]
    OnlyIfCached,
}

/// What the origin did wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OriginFault {
    /// No connection could be opened: nothing was sent, so nothing was applied. 502.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No connection became free in time: nothing was sent. 503.
    #[error("no connection became free within {0:?}")]
    Busy(Duration),
    /// No response head in time; whether the request was applied is unknown. 504.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke before the response head was complete; outcome unknown. 502.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// It answered somebody else with this error, which is not for everybody: the same status,
    /// without its words.
    #[error("it answered {0}")]
    Answered(u16),
    /// The response is not HTTP we can forward. 502.
    #[error("the response is malformed: {0}")]
    Malformed(&'static str),
}

impl OriginFault {
    /// True if the request certainly never reached the origin.
    pub const fn nothing_was_sent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Busy(_))
    }
}
