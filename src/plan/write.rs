//! Does a write's outcome invalidate?

use http::StatusCode;

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
        Err(ProxyError::Ours(_)) => true,
    }
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
}
