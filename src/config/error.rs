//! All mistakes of a configuration at once: where, what was expected, and the cure.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Bytes of the configuration's text.
pub(super) type Span = Range<usize>;

/// What is wrong with a configuration, ordered by where it stands. `Display` is plain text.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    source: Source,
    mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    /// How many mistakes there are; at least one.
    pub fn count(&self) -> usize {
        self.mistakes.len()
    }

    /// What each mistake is, in a line without its place.
    pub fn titles(&self) -> impl Iterator<Item = &str> {
        self.mistakes.iter().map(|mistake| mistake.title.as_str())
    }

    /// For a person at a terminal, with or without colours.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for mistake in &self.mistakes {
            text.push_str(&mistake.report(&Level::ERROR, &self.source, &renderer));
            text.push_str("\n\n");
        }
        let number = match self.mistakes.len() {
            1 => "1 mistake".to_owned(),
            n => format!("{n} mistakes"),
        };
        text + &format!("{number} in the configuration")
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

/// Something legal that is probably not meant. `Display` is one line, for logs.
#[derive(Clone, Debug)]
pub struct Warning {
    place: String,
    message: String,
    report: String,
}

impl Warning {
    /// What it is, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// For a person at a terminal: several plain lines, with the text it is about.
    pub fn report(&self) -> &str {
        &self.report
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.message)
    }
}

/// The text a configuration was read from, with its secrets blotted out.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn line_of(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mistake {
    place: Place,
    title: String,
    /// What was expected, under the caret.
    label: String,
    /// Other places of the file that have to do with it.
    also: Vec<(Span, String)>,
    /// The cure.
    help: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Nowhere,
    File(Span),
    CommandLine { option: &'static str, value: String },
}

impl Mistake {
    /// At this place of the file.
    pub(super) fn at(span: Span, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Place::File(span), title.into(), label.into())
    }

    /// In the value of this option of the command line.
    pub(super) fn on_command_line(
        option: &'static str,
        value: &str,
        title: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        let place = Place::CommandLine { option, value: value.to_owned() };
        Self::new(place, title.into(), label.into())
    }

    /// About what does not stand anywhere.
    pub(super) fn nowhere(title: impl Into<String>) -> Self {
        Self::new(Place::Nowhere, title.into(), String::new())
    }

    fn new(place: Place, title: String, label: String) -> Self {
        Self { place, title, label, also: Vec::new(), help: None }
    }

    /// With the cure.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// With the cure, if there is one.
    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        if help.is_some() {
            self.help = help;
        }
        self
    }

    /// With another place of the file that has to do with it.
    pub(super) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }

    /// Where in the file it is, if it is there.
    pub(super) fn span(&self) -> Option<&Span> {
        match &self.place {
            Place::File(span) => Some(span),
            _ => None,
        }
    }

    /// What stands in the file first, then the command line, then what is missing altogether.
    fn order(&self) -> (u8, usize) {
        match &self.place {
            Place::File(span) => (0, span.start),
            Place::CommandLine { .. } => (1, 0),
            Place::Nowhere => (2, 0),
        }
    }

    fn report(&self, level: &Level<'_>, source: &Source, renderer: &Renderer) -> String {
        let title = level.clone().primary_title(&self.title);
        let line;
        let mut group = match &self.place {
            Place::Nowhere => Group::with_title(title),
            Place::File(span) => title.element(self.snippet(span, source)),
            Place::CommandLine { option, value } => {
                line = format!("{option} {value}");
                let span = option.len() + 1..line.len();
                title.element(
                    Snippet::source(&line)
                        .path("command line")
                        .line_numbering(false)
                        .annotation(AnnotationKind::Primary.span(span).label(&self.label)),
                )
            }
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    fn snippet<'a>(
        &'a self,
        span: &Span,
        source: &'a Source,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let primary = AnnotationKind::Primary.span(clip(span, &source.text)).label(&self.label);
        let also = self.also.iter().map(|(span, label)| {
            AnnotationKind::Context.span(clip(span, &source.text)).label(label)
        });
        Snippet::source(&source.text).path(&source.name).annotation(primary).annotations(also)
    }

    fn into_warning(self, source: &Source) -> Warning {
        let report = self.report(&Level::WARNING, source, &Renderer::plain());
        let place = match self.span() {
            Some(span) => format!("{}:{}: ", source.name, source.line_of(span.start)),
            None => String::new(),
        };
        Warning { place, message: self.title, report }
    }
}

/// The part of a span on its first line, and inside of the text: a caret, not a page of them.
fn clip(span: &Span, text: &str) -> Span {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end.max(start));
    let line = text.get(start..end).and_then(|part| part.find(['\r', '\n']));
    start..line.map_or(end, |length| start + length)
}

/// What is found while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
    secrets: Vec<Span>,
    broken: bool,
}

impl Findings {
    /// The syntax is broken, so that something may only seem to be absent.
    pub(super) fn broken(&mut self) {
        self.broken = true;
    }

    /// Notes a mistake that lies in something's absence.
    pub(super) fn absence(&mut self, mistake: Mistake) {
        if !self.broken {
            self.mistake(mistake);
        }
    }

    /// Notes a mistake.
    pub(super) fn mistake(&mut self, mistake: Mistake) {
        // Several routes may share the class in which a mistake stands.
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Has a mistake been noted at this place, or within it?
    pub(super) fn is_about(&self, place: &Span) -> bool {
        let within = |span: &Span| place.start <= span.start && span.end <= place.end;
        self.mistakes.iter().filter_map(Mistake::span).any(within)
    }

    /// Notes something dubious.
    pub(super) fn warning(&mut self, warning: Mistake) {
        self.warnings.push(warning);
    }

    /// This part of the text must not be shown.
    pub(super) fn secret(&mut self, span: Span) {
        self.secrets.push(span);
    }

    /// Drops the mistakes for which this does not hold.
    pub(super) fn keep(&mut self, holds: impl FnMut(&Mistake) -> bool) {
        self.mistakes.retain(holds);
    }

    /// The verdict: the warnings if there is no mistake.
    pub(super) fn verdict(mut self, name: &str, text: &str) -> Result<Vec<Warning>, ConfigErrors> {
        let source = Source { name: name.to_owned(), text: blot(text, &self.secrets) };
        if self.mistakes.is_empty() {
            self.warnings.sort_by_key(Mistake::order);
            return Ok(self.warnings.into_iter().map(|w| w.into_warning(&source)).collect());
        }
        self.mistakes.sort_by_key(Mistake::order);
        Err(ConfigErrors { source, mistakes: self.mistakes })
    }
}

/// The text with an asterisk for every byte of a secret, so that all places stay where they are.
fn blot(text: &str, secrets: &[Span]) -> String {
    let mut text = text.to_owned();
    for span in secrets {
        if text.get(span.clone()).is_some() {
            text.replace_range(span.clone(), &"*".repeat(span.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str, mistakes: Vec<Mistake>, secrets: &[Span]) -> String {
        let secrets = secrets.to_vec();
        let findings = Findings { mistakes, secrets, ..Findings::default() };
        findings.verdict("proxy.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_is_blotted_out_without_moving_the_caret() {
        let text = "token = \"hünter2\" x\n";
        let said =
            errors(text, vec![Mistake::at(19..20, "odd", "expected nothing")], &[9..17, 0..0]);
        assert!(
            said.contains("1 | token = \"********\" x\n  |                    ^ expected"),
            "{said}"
        );
    }

    #[test]
    fn a_span_over_many_lines_gets_one_caret_line() {
        let said = errors("a = [\n1,\n]\n", vec![Mistake::at(4..10, "odd", "here")], &[]);
        assert!(said.contains("1 | a = [\n  |     ^ here"), "{said}");
        assert!(!said.contains("1,"), "{said}");
    }

    #[test]
    fn spans_outside_of_the_text_do_not_panic() {
        for span in [0..99, 98..99, 3..3, 2..3] {
            let _ = errors("aé\n", vec![Mistake::at(span, "odd", "here")], &[1..2, 0..50]);
        }
        let _ = errors("", vec![Mistake::at(0..0, "odd", "here")], &[]);
    }
}
