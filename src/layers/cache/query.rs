//! QUERY (RFC 10008): its content is part of its key, so it is taken in before anything is looked
//! up.
//!
//! | content | then |
//! |---|---|
//! | announced as more than the route takes into a key | sent on, unread |
//! | turns out to be more, or more than there is room for | sent on: what was read, and the rest as it arrives |
//! | breaks off, or stops arriving | 400 or 408 |
//! | is here | looked up, filled, refreshed and collapsed like a GET, under its own key |
//!
//! Who sends it is held to the pauses that any request's content may have; the origin is not
//! troubled before the content is here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::asked::Asked;
use super::footing::Footing;
use super::{Means, Origin, failed, lookup, pass, settle};
use crate::body::{Body, BodyError};
use crate::config::Route;
use crate::config::matcher::Match;
use crate::error::{ClientFault, ProxyError};
use crate::idle::{STALLED, Stalled};
use crate::layers::collapse::content::Room;
use crate::plan::PassReason;

/// Answers a QUERY.
pub async fn answer<S: Origin>(
    means: Arc<Means>,
    inner: S,
    Match { route, captures }: Match,
    request: Request<Body>,
) -> Result<Response<Body>, ProxyError> {
    let footing = Footing::of(&means, &route, request.headers());
    let (parts, body) = request.into_parts();
    // Held until the answer is here: so much of the content is kept for it.
    let mut room = Room::within(Arc::clone(&means.fill_budget));
    let content = match take_in(body, route.max_query_content, &mut room).await? {
        Taken::Whole(content) => content,
        Taken::TooMuch(body) => {
            let request = Request::from_parts(parts, body);
            return Ok(send_on(means, inner, route, request, PassReason::QueryTooLarge).await);
        }
    };
    let floor = match footing {
        Some(footing) => footing.found(&means).await,
        None => None,
    };
    // What the ledger says is asked for now: the content may have taken its time.
    let tags = means.stamp(&route);
    let version = |namespace: &str| means.ledger.version(namespace);
    let asked = Asked::new(route, captures, parts, tags, version).with_content(content);
    let asked = asked.above(floor);
    means.note_place_of(&asked.uri);
    let looked = lookup::peek(&means, &asked, None, means.now());
    settle(&means, &inner, Arc::new(asked), looked).await
}

async fn send_on<S: Origin>(
    means: Arc<Means>,
    inner: S,
    route: Arc<Route>,
    request: Request<Body>,
    reason: PassReason,
) -> Response<Body> {
    let known = Arc::clone(&route);
    pass::send_on(means, inner, route, request, reason)
        .await
        .unwrap_or_else(|error| failed(known, reason.forwarded(), &error))
}

/// What taking in a request's content came to.
#[derive(Debug)]
enum Taken {
    /// All of it.
    Whole(Bytes),
    /// Too much to be held: nothing of it is lost.
    TooMuch(Body),
}

/// Reads content of up to `limit` bytes, as far as there is room. Trailers are left out, as they are of any request.
async fn take_in(mut body: Body, limit: u64, room: &mut Room) -> Result<Taken, ProxyError> {
    if body.size_hint().lower() > limit {
        return Ok(Taken::TooMuch(body));
    }
    let mut pieces = VecDeque::new();
    let mut length: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|error| fault(&error))?.into_data() else { continue };
        length = length.saturating_add(piece.len() as u64);
        if length > limit || !room.grow(piece.len() as u64) {
            pieces.push_back(piece);
            return Ok(Taken::TooMuch(Body::streaming(Resumed { pieces, rest: body })));
        }
        keep(&mut pieces, &piece);
    }
    Ok(Taken::Whole(joined(pieces)))
}

/// Keeps a copy: as it came it is a window on the buffer that the connection was read into. Small
/// pieces share one: a client that sends a byte at a time pays for a byte.
fn keep(pieces: &mut VecDeque<Bytes>, piece: &Bytes) {
    let copy = match pieces.pop_back() {
        Some(last) if last.len() < 4096 => match last.try_into_mut() {
            Ok(mut last) => {
                last.extend_from_slice(piece);
                last
            }
            Err(last) => [&*last, &**piece].concat().as_slice().into(),
        },
        other => {
            pieces.extend(other);
            BytesMut::from(&**piece)
        }
    };
    pieces.push_back(copy.freeze());
}

fn joined(mut pieces: VecDeque<Bytes>) -> Bytes {
    if pieces.len() < 2 {
        return pieces.pop_front().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

/// In the words that `rescue` turns into 408 or 400.
fn fault(error: &BodyError) -> ClientFault {
    let stalled = error.downcast_ref::<Stalled>().is_some();
    ClientFault::Content(if stalled { STALLED } else { "it broke off" })
}

/// Content of which some was read already: that first, then the rest.
#[derive(Debug)]
struct Resumed {
    pieces: VecDeque<Bytes>,
    rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.pieces.iter().map(Bytes::len).sum::<usize>() as u64;
        let mut hint = self.rest.size_hint();
        // The upper bound first: it may never be below the lower one.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(hint.lower().saturating_add(read));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::collapse::content::FillBudget;

    /// Content in these pieces, of a length that nobody announced.
    struct Pieces(VecDeque<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn pieces(lengths: &[usize]) -> (Body, Vec<u8>) {
        let mut next = 0_u8;
        let mut all = Vec::new();
        let mut list = VecDeque::new();
        for length in lengths {
            let piece: Vec<u8> = (0..*length)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect();
            all.extend_from_slice(&piece);
            list.push_back(Bytes::from(piece));
        }
        (Body::streaming(Pieces(list)), all)
    }

    fn room(bytes: u64) -> Room {
        Room::within(Arc::new(FillBudget::new(bytes)))
    }

    #[tokio::test]
    async fn all_together_hold_no_more_than_there_is_room_for() {
        let budget = Arc::new(FillBudget::new(15));
        let (mut first, mut second) =
            (Room::within(Arc::clone(&budget)), Room::within(Arc::clone(&budget)));
        let taken = take_in(pieces(&[5, 5]).0, 100, &mut first).await.unwrap();
        assert!(matches!(taken, Taken::Whole(_)));
        let (body, expected) = pieces(&[5, 5]);
        let Taken::TooMuch(body) = take_in(body, 100, &mut second).await.unwrap() else {
            panic!("there was room for five more")
        };
        assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
        drop((first, second));
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn what_fits_is_whole_and_what_does_not_is_complete_all_the_same() {
        for (lengths, limit, fits) in [
            (&[][..], 10, true),
            (&[10], 10, true),
            (&[11], 10, false),
            (&[1, 2, 3, 4], 10, true),
            (&[1, 2, 3, 4, 1], 10, false),
            (&[5000, 5000, 1, 1, 3], 10_005, true),
            (&[5000, 5000, 1, 1, 4, 70_000], 10_005, false),
        ] {
            let (body, expected) = pieces(lengths);
            let got = match take_in(body, limit, &mut room(1 << 20)).await.unwrap() {
                Taken::Whole(content) => {
                    assert!(fits, "{lengths:?}");
                    content
                }
                Taken::TooMuch(body) => {
                    assert!(!fits, "{lengths:?}");
                    body.collect().await.unwrap().to_bytes()
                }
            };
            assert_eq!(got, expected, "{lengths:?}");
        }
    }

    #[tokio::test]
    async fn what_is_announced_as_too_much_is_not_read() {
        let body = Body::full(vec![7; 11]);
        let taken = take_in(body, 10, &mut room(100)).await.unwrap();
        let Taken::TooMuch(body) = taken else { panic!("it fits not") };
        assert!(body.is_whole());
    }

    #[tokio::test]
    async fn a_resumed_body_keeps_the_length_that_was_announced() {
        let mut resumed = Resumed {
            pieces: [Bytes::from_static(b"ab"), Bytes::from_static(b"c")].into(),
            rest: Body::full("de"),
        };
        for left in [5, 3, 2] {
            assert_eq!(resumed.size_hint().exact(), Some(left));
            assert!(resumed.frame().await.unwrap().is_ok());
        }
        assert!(resumed.is_end_stream());
    }
}
