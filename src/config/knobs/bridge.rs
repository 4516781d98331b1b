//! The knobs of a bridge from pub/sub.

use super::Preset::{Is, Required, Unset};
use super::{Kind, Knob};

pub(super) static BRIDGE_KNOBS: &[Knob] = &[
    Knob {
        key: "channel",
        kind: Kind::Channel,
        preset: Required("\"products.*\""),
        says: "The channel that is listened to, or a pattern of channels as PSUBSCRIBE takes it \
               when it has *, ? or [.",
        turn: "Name what your backends publish their changes on.",
    },
    Knob {
        key: "names",
        kind: Kind::List(&Kind::EventRule),
        preset: Required("[\"tag:product:{$.id}\", \"namespace:search\"]"),
        says: "What a message invalidates, with holes: {$.path} is a place in a message that is \
               JSON, {message} all of it, {channel} where it came from, {1} what the first * \
               stands for.",
        turn: "List every tag, namespace or path that shows what the message is about.",
    },
    Knob {
        key: "mode",
        kind: Kind::Words(&["hard", "soft"]),
        preset: Is("\"hard\""),
        says: "Whether what a message names is gone (\"hard\") or stale, served once more while \
               it is refreshed (\"soft\").",
        turn: "Take soft where a moment of the old does no harm and the origin is slow.",
    },
    Knob {
        key: "on_gap",
        kind: Kind::List(&Kind::EventRule),
        preset: Unset("[\"namespace:catalog\"]"),
        says: "What is invalidated whenever this process begins to listen, at its start and after \
               each interruption: pub/sub forgets what is sent while nobody listens.",
        turn: "Name all that the messages may be about; [] if a lost message may stay unnoticed \
               until entries expire.",
    },
    Knob {
        key: "url",
        kind: Kind::ValkeyUrl,
        preset: Unset("\"valkey://127.0.0.1:6380\""),
        says: "URL of the Valkey or Redis that has the channel; absent: store.valkey.",
        turn: "Give it if messages are published elsewhere than where entries are kept.",
    },
];
