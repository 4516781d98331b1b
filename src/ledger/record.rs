//! What stands in the ledger, and how it looks in the stream.
//!
//! ```text
//! XADD larder:{l}:ledger *  n tag:product:7  n path:/products  w 9f3a…  c write
//! XADD larder:{l}:ledger *  n tag:product:7  m soft  w 9f3a…  c purge
//! XADD larder:{l}:ledger *  k fence  e <run_id>:<replication id>  w 9f3a…  c fence
//!
//!   n   a name, see `name.rs`; once per name
//!   m   hard (taken if absent, or if it is neither) or soft
//!   s   with soft: milliseconds within which entries turn stale, each at its own moment; absent:
//!       at once
//!   k   what it is: absent for an invalidation, fence for a fence
//!   e   the epoch that a fence opens
//!   w   instance that wrote it; absent when a backend did
//!   t   number by which that instance knows it again; only where it waits for it
//!   c   why; absent when a backend did
//! ```
//!
//! All a backend needs is `XADD larder:{l}:ledger * n tag:product:7`. Unknown fields are ignored.
//! Of several names those that can be read count; a record of which nothing can be read is
//! malformed, and is counted and skipped. A kind from a newer version is taken for a hard
//! invalidation of its names: one miss too many at worst.

use std::fmt;

use super::name::Name;
use super::{Position, Ticket};

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// What it says.
    pub kind: Kind,
    /// Instance that wrote it; empty for a backend.
    pub writer: Box<str>,
    /// By which the writer knows it again.
    pub ticket: Option<Ticket>,
    /// Why it was written.
    pub cause: Cause,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// These names are invalid from here on.
    Invalidation {
        /// What is meant.
        names: Vec<Name>,
        /// Gone, or stale.
        mode: Mode,
    },
    /// Nothing from before can be vouched for.
    Fence {
        /// The epoch it opens.
        epoch: Box<str>,
    },
}

/// How an invalidation is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Gone.
    Hard,
    /// Stale from now on.
    Soft,
    /// Stale within this many milliseconds, each entry at a moment of its own.
    Spread(u32),
}

/// Why something was invalidated. The texts are also metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An unsafe request passed through.
    Write,
    /// Somebody asked for it.
    Purge,
    /// A backend appended it, or something newer than this version did.
    Event,
    /// An announced write whose process never said how it ended.
    Abandoned,
    /// The second invalidation after a write, for origins with lagging replicas.
    Settle,
    /// The store began a new epoch.
    Fence,
}

/// Nothing in a record could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name in it can be read")]
pub struct Malformed;

impl Record {
    /// Reads the fields of a stream entry. Returns it with the number of names in it that could
    /// not be read.
    pub fn read<'a>(
        position: Position,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(Self, usize), Malformed> {
        let (mut names, mut mode, mut unreadable) = (Vec::new(), Mode::Hard, 0);
        let (mut fence, mut epoch, mut writer, mut cause) = (false, "", "", Cause::Event);
        let (mut ticket, mut spread) = (None, None);
        for (field, value) in fields {
            let text = str::from_utf8(value).ok();
            match (field, text) {
                (b"n", _) => match text.and_then(|t| t.parse().ok()) {
                    Some(name) => names.push(name),
                    None => unreadable += 1,
                },
                (b"m", Some("soft")) => mode = Mode::Soft,
                (b"m", _) => mode = Mode::Hard,
                (b"s", Some(text)) => spread = text.parse().ok(),
                (b"k", Some("fence")) => fence = true,
                (b"e", Some(text)) => epoch = text,
                (b"w", Some(text)) => writer = text,
                (b"t", Some(text)) => ticket = text.parse().ok().map(Ticket),
                (b"c", Some(text)) => cause = Cause::from_text(text),
                _ => {}
            }
        }
        if let (Mode::Soft, Some(millis)) = (mode, spread) {
            mode = Mode::Spread(millis);
        }
        let (kind, cause) = match fence {
            true => (Kind::Fence { epoch: epoch.into() }, Cause::Fence),
            false if names.is_empty() => return Err(Malformed),
            false => (Kind::Invalidation { names, mode }, cause),
        };
        Ok((Self { position, kind, writer: writer.into(), ticket, cause }, unreadable))
    }

    /// What stands for a malformed record: it was passed, and that is all.
    pub fn skipped(position: Position) -> Self {
        let kind = Kind::Invalidation { names: Vec::new(), mode: Mode::Hard };
        Self { position, kind, writer: "".into(), ticket: None, cause: Cause::Event }
    }

    /// Does it say nothing?
    pub fn is_skipped(&self) -> bool {
        matches!(&self.kind, Kind::Invalidation { names, .. } if names.is_empty())
    }
}

/// The fields of an invalidation, as they go into the stream: name, value, name, value, …
pub fn fields(
    names: &[Name],
    mode: Mode,
    writer: &str,
    ticket: Option<Ticket>,
    cause: Cause,
) -> Vec<String> {
    let names = names.iter().map(|n| ("n", n.to_string()));
    let spread = match mode {
        Mode::Spread(millis) => Some(("s", millis.to_string())),
        Mode::Hard | Mode::Soft => None,
    };
    let mode = (mode != Mode::Hard).then(|| ("m", mode.as_str().to_owned()));
    let rest = [("w", writer), ("c", cause.as_str())];
    let rest = rest.map(|(field, value)| (field, value.to_owned()));
    let ticket = ticket.map(|t| ("t", t.0.to_string()));
    let all = names.chain(mode).chain(spread).chain(rest).chain(ticket);
    all.flat_map(|(field, value)| [field.to_owned(), value]).collect()
}

impl Mode {
    /// As in the stream.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft | Self::Spread(_) => "soft",
        }
    }
}

impl Cause {
    /// All of them, in the order of [`Cause::index`].
    pub const ALL: [Self; 6] =
        [Self::Write, Self::Purge, Self::Event, Self::Abandoned, Self::Settle, Self::Fence];

    /// As in the stream and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Purge => "purge",
            Self::Event => "event",
            Self::Abandoned => "abandoned",
            Self::Settle => "settle",
            Self::Fence => "fence",
        }
    }

    /// Its place in [`Cause::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    fn from_text(text: &str) -> Self {
        Self::ALL.into_iter().find(|c| c.as_str() == text).unwrap_or(Self::Event)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<(Record, usize), Malformed> {
        let fields = fields.iter().map(|(f, v)| (f.as_bytes(), v.as_bytes()));
        Record::read(Position::of_entry(1, 2), fields)
    }

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn a_backend_needs_one_field() {
        let (record, unreadable) = read(&[("n", "tag:product:7")]).unwrap();
        let kind = Kind::Invalidation { names: names(&["tag:product:7"]), mode: Mode::Hard };
        assert_eq!((record.kind, unreadable), (kind, 0));
        assert_eq!((&*record.writer, record.cause), ("", Cause::Event));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let names = names(&["tag:a", "namespace:b/c", "all"]);
        for mode in [Mode::Hard, Mode::Soft, Mode::Spread(0), Mode::Spread(u32::MAX)] {
            for cause in Cause::ALL {
                assert_eq!(Cause::ALL[cause.index()], cause);
                let flat = fields(&names, mode, "me", Some(Ticket(7)), cause);
                let pairs: Vec<_> =
                    flat.chunks(2).map(|p| (p[0].as_bytes(), p[1].as_bytes())).collect();
                let (record, _) = Record::read(Position::ZERO, pairs).unwrap();
                assert_eq!(record.kind, Kind::Invalidation { names: names.clone(), mode });
                assert_eq!((&*record.writer, record.ticket), ("me", Some(Ticket(7))));
                assert_eq!(record.cause, cause);
            }
        }
    }

    #[test]
    fn the_names_that_can_be_read_count() {
        let (record, unreadable) =
            read(&[("n", "colour:red"), ("n", "tag:a"), ("m", "firm"), ("x", "y")]).unwrap();
        let kind = Kind::Invalidation { names: names(&["tag:a"]), mode: Mode::Hard };
        assert_eq!((record.kind, unreadable), (kind, 1));
    }

    #[test]
    fn nothing_readable_is_malformed() {
        for fields in [&[][..], &[("n", "")], &[("n", "tag:")], &[("name", "tag:a")]] {
            assert_eq!(read(fields), Err(Malformed), "{fields:?}");
        }
        let binary = [(&b"n"[..], &b"tag:\xff"[..])];
        assert_eq!(Record::read(Position::ZERO, binary), Err(Malformed));
    }

    #[test]
    fn only_what_is_soft_is_spread_and_only_by_a_number() {
        for (fields, expected) in [
            (&[("m", "soft"), ("s", "30000")][..], Mode::Spread(30_000)),
            (&[("s", "30000"), ("m", "soft")], Mode::Spread(30_000)),
            (&[("m", "soft"), ("s", "30s")], Mode::Soft),
            (&[("m", "soft"), ("s", "4294967296")], Mode::Soft),
            (&[("m", "hard"), ("s", "30000")], Mode::Hard),
            (&[("s", "30000")], Mode::Hard),
        ] {
            let fields = [&[("n", "tag:a")], fields].concat();
            let Kind::Invalidation { mode, .. } = read(&fields).unwrap().0.kind else {
                panic!("{fields:?}")
            };
            assert_eq!(mode, expected, "{fields:?}");
        }
    }

    #[test]
    fn a_fence_needs_no_epoch() {
        let (record, _) = read(&[("k", "fence")]).unwrap();
        assert_eq!(record.kind, Kind::Fence { epoch: "".into() });
    }
}
