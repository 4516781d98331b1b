//! Does a write's outcome invalidate, and may it be kept?

use http::{Method, StatusCode};

use crate::error::ProxyError;

/// Does this outcome of an unsafe request invalidate what the request names?
///
/// Everything that does not prove that nothing happened does: success and redirects (RFC 9111
/// §4.4), server errors, and no answer at all. A client error other than 408 says that the request
/// was not carried out; were it to invalidate, anybody without credentials could empty the cache.
pub fn invalidates(outcome: Result<StatusCode, &ProxyError>) -> bool {
    match outcome {
        Ok(StatusCode::REQUEST_TIMEOUT) => true,
        Ok(status) => !status.is_client_error(),
        Err(ProxyError::Origin(fault)) => !fault.nothing_was_sent(),
        Err(ProxyError::Client(_)) => true,
        Err(ProxyError::Overloaded(_)) => false,
        // The origin has not seen it.
        Err(ProxyError::Unrecorded(_)) => false,
        Err(ProxyError::Ours(_)) => true,
    }
}

/// May the answer to a write of this method be kept as what a GET of its target gets?
/// `write_through`: the route of the write says so.
///
/// POST by RFC 9110 §9.3.3. PUT not, by §9.3.4: "Responses to the PUT method are not cacheable.";
/// PATCH by RFC 5789 §2. These two promise a state that "might be acted upon by other user agents in
/// parallel", so both wait for the operator's word.
pub fn may_be_kept(method: &Method, write_through: bool) -> bool {
    *method == Method::POST
        || (write_through && (*method == Method::PUT || *method == Method::PATCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ClientFault, OriginFault};
    use std::time::Duration;

    #[test]
    fn what_does_not_prove_that_nothing_happened_invalidates() {
        for (status, expected) in [
            (200, true),
            (201, true),
            (204, true),
            (303, true),
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (409, false),
            (422, false),
            (500, true),
            (502, true),
            (504, true),
        ] {
            assert_eq!(
                invalidates(Ok(StatusCode::from_u16(status).unwrap())),
                expected,
                "{status}"
            );
        }
        let faults = [
            (OriginFault::Connect("refused".into()).into(), false),
            (OriginFault::Busy(Duration::ZERO).into(), false),
            (OriginFault::Timeout(Duration::ZERO).into(), true),
            (OriginFault::Broken("reset".into()).into(), true),
            (ProxyError::Client(ClientFault::Content("gone")), true),
        ];
        for (fault, expected) in faults {
            assert_eq!(invalidates(Err(&fault)), expected, "{fault}");
        }
    }

    #[test]
    fn what_answers_a_post_may_be_kept_and_what_answers_a_put_where_the_route_says_so() {
        for (method, plain, through) in [
            ("POST", true, true),
            ("PUT", false, true),
            ("PATCH", false, true),
            ("DELETE", false, false),
            ("MERGE", false, false),
            ("post", false, false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(may_be_kept(&method, false), plain, "{method}");
            assert_eq!(may_be_kept(&method, true), through, "{method}");
        }
    }
}
