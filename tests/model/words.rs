//! Events in plain words.

use std::fmt;

use crate::world::Event;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => write!(f, "time passes"),
            Self::Intend(w) => write!(f, "write {w} begins"),
            Self::Forward(w) => write!(f, "write {w} is sent to the origin"),
            Self::Apply(w) => write!(f, "the origin carries out write {w}"),
            Self::ApplyLate(w) => write!(f, "the origin carries out write {w}, whose process died"),
            Self::Refuse(w) => write!(f, "the origin refuses write {w}"),
            Self::Conclude(w) => write!(f, "the origin's answer to write {w} arrives"),
            Self::LoseAnswer(w) => write!(f, "the origin's answer to write {w} is lost"),
            Self::Acknowledge(w) => write!(f, "write {w} is acknowledged"),
            Self::Fill(p) => write!(f, "a GET at process {p} begins a fill"),
            Self::Refresh(p) => write!(f, "process {p} begins a refresh"),
            Self::Join(p, n) => write!(f, "a GET at process {p} joins its fill {n}"),
            Self::AskForTheHead(p) => write!(f, "a strict GET at process {p} asks for the head"),
            Self::StrictServed(p) => write!(f, "the strict GET at process {p} is served"),
            Self::Found(p, n) => write!(f, "the shared store has answered fill {n} of process {p}"),
            Self::OriginReads(p, n) => write!(f, "the origin answers fill {n} of process {p}"),
            Self::Received(p, n) => write!(f, "that answer arrives: fill {n} of process {p}"),
            Self::Stored(p, n) => write!(f, "process {p} stores what fill {n} brought"),
            Self::Put(p) => write!(f, "an entry of process {p} reaches the shared store"),
            Self::Connect(p) => write!(f, "the tail of process {p} connects and looks"),
            Self::Opened(p) => write!(f, "the answer to that look reaches process {p}"),
            Self::Read(p) | Self::Poll(p) => write!(f, "process {p} reads on"),
            Self::ReadThrough(p, false) => write!(f, "process {p} reads on, and takes that in"),
            Self::ReadThrough(p, true) => {
                write!(f, "process {p} reads on, takes that in, and looks")
            }
            Self::Handle(p, false) => write!(f, "process {p} takes in what it read"),
            Self::Handle(p, true) => write!(f, "process {p} takes in what it read, and looks"),
            Self::LookedAgain(p) => write!(f, "the answer to that look reaches process {p}"),
            Self::Send(p) => write!(f, "process {p} announces and appends what is due"),
            Self::Sent(p) => write!(f, "Valkey's answer to that reaches process {p}"),
            Self::Unreachable(p) => write!(f, "process {p} cannot send what is due"),
            Self::Crash(p) => write!(f, "process {p} dies, and another takes its place"),
            Self::LoseReply(p) => write!(f, "Valkey's answer to process {p} is lost"),
            Self::LoseRequest(p) => write!(f, "what process {p} sends is lost"),
            Self::SendTwice(p) => write!(f, "process {p} sends the same again"),
            Self::Evict(fault) => write!(f, "{fault:?}"),
            Self::Save => write!(f, "the replica, or the snapshot, has what Valkey has now"),
            Self::Restart(fault) => write!(f, "Valkey starts again: {fault:?}"),
            Self::Failover(None) => write!(f, "the replica takes over"),
            Self::Failover(Some((p, tail, append))) => deposing(f, *p, *tail, *append),
            Self::DeposedGone => write!(f, "the deposed primary is gone"),
            Self::Cut(p) => write!(f, "process {p} is cut off from Valkey"),
            Self::Heal(p) => write!(f, "process {p} reaches Valkey again"),
            Self::Outage => write!(f, "Valkey is away"),
            Self::Back => write!(f, "Valkey is back"),
            Self::ClockBack => write!(f, "Valkey's clock steps back"),
            Self::Trim => write!(f, "the first entry of the stream is trimmed"),
        }
    }
}

fn deposing(f: &mut fmt::Formatter<'_>, p: u8, tail: bool, append: bool) -> fmt::Result {
    let place = match (tail, append) {
        (true, true) => "",
        (true, false) => " where it reads",
        _ => " where it appends",
    };
    write!(f, "the replica takes over, and process {p} still talks to the old primary{place}")
}
