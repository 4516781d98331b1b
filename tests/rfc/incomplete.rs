//! RFC 9111 §3.3, §3.4: incomplete responses, and parts.

use larder::plan::request::admit;
use larder::plan::response::{Answer, Asked, settle};
use larder::plan::{Admission, NotShared};

use super::*;

const PART: Lines<'_> = &[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/9")];

#[test]
fn a_part_never_becomes_the_answer_to_a_request_for_the_whole() {
    // §3.3: "MUST NOT use an incomplete response to answer requests unless the response has been
    // made complete": a 206 is no whole, whatever else it says.
    for request in [NONE, &[("range", "bytes=0-1")]] {
        assert_eq!(stored(request, 206, PART), "partial-content");
        let unknown = [("cache-control", "max-age=60"), ("content-range", "items 0-1/9")];
        assert_eq!(stored(request, 206, &unknown), "partial-content");
        assert_eq!(stored(request, 206, &[("cache-control", "max-age=60")]), "partial-content");
    }
    let keys = "soft_ttl = \"5m\"\nfreshness = \"route\"";
    assert_eq!(in_a_word(settled(&route(keys), NONE, 206, PART)), "partial-content");
}

#[test]
fn what_may_be_cut_without_notice_is_not_stored() {
    // §3.3 lets an incomplete response be stored "provided that the stored response is recorded as
    // being incomplete": where the end is only known from the connection's, that cannot be told.
    let route = rfc();
    let (request, response) = (HeaderMap::new(), headers(&[("cache-control", "max-age=60")]));
    let asked = Asked {
        route: &route,
        digest: Digest([7; 16]),
        method: &Method::GET,
        headers: &request,
        sent: NOW,
        validating: None,
    };
    let answer = Answer {
        status: StatusCode::OK,
        headers: &response,
        length: None,
        close_delimited: true,
        received: NOW,
    };
    assert_eq!(settle(&asked, &answer), Outcome::PassOn(NotShared::CloseDelimited));
    let framed = Answer { close_delimited: false, ..answer };
    assert!(matches!(settle(&asked, &framed), Outcome::Store(_)));
}

#[test]
fn a_range_in_a_unit_that_is_not_ours_is_left_to_the_origin() {
    // RFC 9110 §14.2: a proxy "MAY discard a Range header field that contains a range unit it does
    // not understand"; it is passed on here, and its answer is not kept.
    let request = headers(&[("range", "items=0-1")]);
    let admission = admit(&rfc(), &Method::GET, &request, false);
    assert!(matches!(admission, Admission::Pass(_)), "{admission:?}");
}
