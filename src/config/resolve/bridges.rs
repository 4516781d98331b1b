//! Bridges: what they cannot do without, and which holes can be filled.

use std::sync::Arc;

use super::super::error::{Findings, Mistake, Span};
use super::super::event::{Bridge, Channel, EventRule};
use super::super::suggest::did_you_mean;
use super::super::table::Table;
use super::super::valkey::{Valkey, ValkeyUrl};

/// The bridges in the order of the file.
pub(super) fn resolve(tables: &[Table], store: &Table, out: &mut Findings) -> Vec<Arc<Bridge>> {
    tables.iter().filter_map(|table| bridge(table, store, out)).map(Arc::new).collect()
}

/// `None` if it has no channel, about which a mistake was then reported.
fn bridge(table: &Table, store: &Table, out: &mut Findings) -> Option<Bridge> {
    check_absences(table, store, out);
    let names: Vec<(EventRule, Span)> = table.get_or_default("names");
    let on_gap: Vec<(EventRule, Span)> = table.get_or_default("on_gap");
    if let (true, Some(span)) = (on_gap.is_empty(), table.span("channel"))
        && table.given("on_gap").is_none()
    {
        let title = "what is sent while nobody listens is lost";
        let label = "write `on_gap` below it; [] if that may be";
        out.warning(Mistake::at(span, title, label));
    }
    for (rule, span) in &on_gap {
        if let Some(part) = rule.template.parts.iter().find(|part| part.text().is_none()) {
            let title = format!("{part} stands for nothing here: there is no message");
            let mistake = Mistake::at(span.clone(), title, "expected a name without holes");
            out.mistake(mistake.help("name all that the lost messages may have been about"));
        }
    }
    let channel: Channel = table.get("channel")?;
    for (rule, span) in &names {
        check_holes(rule, span, &channel, table, out);
    }
    Some(Bridge {
        channel,
        names: names.into_iter().map(|(rule, _)| rule).collect(),
        soft: table.get::<&'static str>("mode") == Some("soft"),
        on_gap: on_gap.into_iter().map(|(rule, _)| rule).collect(),
        valkey: table.get::<ValkeyUrl>("url").map(Valkey::from),
    })
}

fn check_absences(table: &Table, store: &Table, out: &mut Findings) {
    let at = || table.at.clone().unwrap_or_default();
    if table.given("channel").is_none() {
        let mistake = Mistake::at(at(), "a bridge without a channel", "expected `channel` below");
        out.absence(mistake.help("write channel = \"products.*\""));
    }
    match table.given("names") {
        None => {
            let mistake = Mistake::at(at(), "a bridge without names", "expected `names` below");
            out.absence(mistake.help("write names = [\"tag:product:{$.id}\"]"));
        }
        Some(entry)
            if table.get::<Vec<(EventRule, Span)>>("names").is_some_and(|n| n.is_empty()) =>
        {
            // Names that cannot be read were reported, and leave an empty list behind.
            let said = out.is_about(&entry.span);
            if !said {
                let title = "this bridge invalidates nothing";
                out.mistake(Mistake::at(entry.span.clone(), title, "expected at least one name"));
            }
        }
        Some(_) => {}
    }
    if table.given("url").is_none() && store.given("valkey").is_none() {
        let span = table.span("channel").unwrap_or_else(at);
        let title = "there is no Valkey to listen to";
        let mistake = Mistake::at(span, title, "expected `url` below it");
        out.absence(mistake.help("without `url` the channel is that of `valkey` in [store]"));
    }
}

/// Every hole must be one that a message on this channel can fill.
fn check_holes(
    rule: &EventRule,
    span: &Span,
    channel: &Channel,
    table: &Table,
    out: &mut Findings,
) {
    let stars = channel.stars();
    for name in rule.template.captures() {
        let number = name.parse::<usize>().ok();
        let known = matches!(name, "channel" | "message")
            || number.is_some_and(|n| (1..=stars).contains(&n));
        if known {
            continue;
        }
        let mut label = "expected {channel}, {message}".to_owned();
        (1..=stars.min(3)).for_each(|n| label.push_str(&format!(", {{{n}}}")));
        label.push_str(" or {$.path}");
        let title = match number {
            Some(_) => format!("{{{name}}} stands for no * of the channel"),
            None => format!("nothing fills {{{name}}}"),
        };
        let mut mistake = Mistake::at(span.clone(), title, label);
        if let (Some(channel), Some(_)) = (table.span("channel"), number) {
            mistake = mistake.also(channel, "this channel");
        }
        let meant = did_you_mean(name, ["channel", "message"].into_iter());
        let member = format!("write {{$.{name}}} for a member of a message that is JSON");
        let help = if number.is_some() { None } else { Some(meant.unwrap_or(member)) };
        out.mistake(mistake.maybe_help(help));
    }
}
