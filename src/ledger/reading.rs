//! How far one process has read the stream, and what that lets it say.
//!
//! | event | changes | what follows |
//! |---|---|---|
//! | connected | it is behind: nobody knows by how much | look |
//! | a page, and more after it | read up to its end; behind | read on |
//! | a page with all there was | read up to its end | look, if behind or if it is time; then heard, if not behind |
//! | a look finds the same life | checked up to what is read; behind no longer, if that was all | |
//! | a look finds another life | at its beginning; behind | read on |
//!
//! Whoever was behind looks once more when it has read all: what was trimmed in front of it
//! meanwhile shows only there.

use super::Position;

/// Of one process, over all its connections.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Life of the stream that is being read; empty before the first.
    life: Box<str>,
    /// The last entry read in this life, as Valkey wrote it.
    last: Box<str>,
    read: Position,
    /// `read` when it was last looked: what was trimmed beyond that may have gone unread.
    checked: Position,
    /// There was more to read than one answer holds, or nobody knows.
    behind: bool,
    /// The last page held all there was.
    at_end: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            life: "".into(),
            last: START.into(),
            read: Position::ZERO,
            checked: Position::ZERO,
            behind: true,
            at_end: false,
        }
    }
}

/// Before the first entry.
const START: &str = "0-0";

impl Reading {
    /// Life of the stream that is being read; empty before the first.
    pub fn life(&self) -> &str {
        &self.life
    }

    /// ID to read on from.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// What the ledger is to be told as read when the stream was looked at, before
    /// [`Self::looked`].
    pub const fn checked(&self) -> Position {
        self.checked
    }

    /// A new connection: look first.
    pub const fn connected(&mut self) {
        (self.behind, self.at_end) = (true, false);
    }

    /// An answer was read up to `last`, if there was anything in it; `all`: there was no more.
    pub fn page(&mut self, last: Option<(&str, Position)>, all: bool) {
        if let Some((id, position)) = last {
            (self.last, self.read) = (id.into(), position);
        }
        self.at_end = all;
        self.behind |= !all;
    }

    /// Look before saying anything? `due`: it is time to in any case.
    pub const fn must_look(&self, due: bool) -> bool {
        due || (self.at_end && self.behind)
    }

    /// The stream was looked at, and is in this life. True if that is another one than before: it
    /// is then read from its beginning.
    pub fn looked(&mut self, life: &str) -> bool {
        let other = *self.life != *life;
        if other {
            (self.life, self.last, self.read) = (life.into(), START.into(), Position::ZERO);
        }
        self.behind = other || (self.behind && !self.at_end);
        self.checked = self.read;
        other
    }

    /// Everything that was there when the last page was asked for is known: the lease is renewed as
    /// of then.
    pub const fn is_caught_up(&self) -> bool {
        self.at_end && !self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Position {
        Position::of_entry(n, 0)
    }

    /// Connected to this life, and at its end.
    fn caught_up() -> Reading {
        let mut reading = Reading::default();
        reading.connected();
        assert!(reading.looked("a"));
        reading.page(Some(("1-0", at(1))), true);
        assert!(reading.must_look(false) && !reading.is_caught_up(), "what was trimmed meanwhile?");
        assert!(!reading.looked("a"));
        reading
    }

    #[test]
    fn whoever_has_read_and_looked_has_heard() {
        let mut reading = caught_up();
        assert!(reading.is_caught_up() && !reading.must_look(false) && reading.must_look(true));
        reading.page(None, true);
        assert!(reading.is_caught_up());
        assert_eq!((reading.last(), reading.checked()), ("1-0", at(1)));
    }

    #[test]
    fn more_than_a_page_is_looked_after_once_it_is_read() {
        let mut reading = caught_up();
        reading.page(Some(("2-0", at(2))), false);
        assert!(!reading.must_look(false) && !reading.is_caught_up());
        assert!(!reading.looked("a"), "it was time to");
        reading.page(Some(("3-0", at(3))), true);
        assert!(reading.must_look(false) && !reading.is_caught_up());
        assert_eq!(reading.checked(), at(2));
        reading.looked("a");
        assert!(reading.is_caught_up());
    }

    #[test]
    fn another_life_is_read_from_its_beginning() {
        let mut reading = caught_up();
        reading.page(None, true);
        assert!(reading.looked("b"));
        assert_eq!((reading.life(), reading.last(), reading.checked()), ("b", "0-0", at(0)));
        assert!(!reading.is_caught_up());
    }

    #[test]
    fn a_new_connection_knows_nothing_until_it_has_looked_and_read() {
        let mut reading = caught_up();
        reading.connected();
        assert!(!reading.is_caught_up() && !reading.looked("a") && !reading.is_caught_up());
        reading.page(None, true);
        assert!(!reading.is_caught_up());
        reading.looked("a");
        assert!(reading.is_caught_up());
    }
}
