//! The front door, forwarding and the origin client, seen from outside: raw bytes in on one side,
//! raw bytes recorded on the other.
//!
//! | file | asks |
//! |---|---|
//! | `refusals` | is the ambiguous and malformed kept from the origin? |
//! | `messages` | what of a request and a response arrives, and how? |
//! | `http1_0` | the same with HTTP/1.0 on either side |
//! | `http2` | the same by HTTP/2 |
//! | `identity` | what does the key see, and what does the cache have to know? |
//! | `interim` | who is told of 1xx responses, and where do they stand? |
//! | `streaming` | content, trailers, 100-continue, cut-off transfers |
//! | `patience` | who is cut for being slow, and who is not? |
//! | `upgrades` | who may open a tunnel? |
//! | `faults` | what if the origin is down, hangs, or is not HTTP? |
//! | `pool` | connections to the origin: reused, capped, several servers |
//! | `drains` | shutting down |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod forward {
    mod drains;
    mod faults;
    mod http1_0;
    mod http2;
    mod identity;
    mod interim;
    mod messages;
    mod patience;
    mod pool;
    mod refusals;
    mod streaming;
    mod support;
    mod upgrades;
}
