//! What a request may still be served when the ledger cannot vouch for anything: what the origin
//! said after a moment that lies no earlier than the request itself.
//!
//! | standing | asked of the origin | worth |
//! |---|---|---|
//! | invalidated | whenever | invalidated |
//! | any other | before the floor | suspect, for the floor's reason |
//! | any other | at the floor or after it | what it was |

use super::{Doubt, Standing};
use crate::semantics::time::Timestamp;

/// A moment after a request came, which it shares with others; and why it needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// What the origin was asked before this is not for the request.
    pub at: Timestamp,
    /// Why.
    pub doubt: Doubt,
}

impl Floor {
    /// May an answer of the origin's serve that was asked for at `asked`?
    pub fn admits(self, asked: Timestamp) -> bool {
        asked >= self.at
    }

    /// What an entry is worth above this floor for which the origin was asked at `asked`.
    pub fn lower(self, standing: Standing, asked: Timestamp) -> Standing {
        match standing {
            Standing::Invalidated => Standing::Invalidated,
            _ if !self.admits(asked) => Standing::Suspect(self.doubt),
            standing => standing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_after_the_floor_stays_what_it_is() {
        let at = Timestamp::from_millis(100);
        let floor = Floor { at, doubt: Doubt::Unconfirmed };
        let suspect = Standing::Suspect(Doubt::Unconfirmed);
        let fenced = Standing::Suspect(Doubt::Fenced);
        for (standing, before, after) in [
            (Standing::Good, suspect, Standing::Good),
            (Standing::Softened, suspect, Standing::Softened),
            (fenced, suspect, fenced),
            (Standing::Invalidated, Standing::Invalidated, Standing::Invalidated),
        ] {
            assert_eq!(floor.lower(standing, Timestamp::from_millis(99)), before);
            assert_eq!(floor.lower(standing, at), after);
        }
    }
}
