//! From numbers to text: what a room hands over when it is asked, and how that becomes an
//! OpenMetrics page. Nobody but this file knows which library writes it.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// A room that has numbers of its own to show. Asked at every scrape: answers from counters that
/// it keeps anyway, without waiting for anything.
pub trait Scrape {
    /// The numbers now.
    fn scrape(&self) -> Vec<Sample>;
}

impl<F: Fn() -> Vec<Sample>> Scrape for F {
    fn scrape(&self) -> Vec<Sample> {
        self()
    }
}

/// A metric as the table in `metrics.rs` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As it is exposed; counters end in `_total`, the unit comes before that.
    pub name: &'static str,
    /// What may happen to its value.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

impl Metric {
    /// A sample of this metric; `values` stand in the order of `labels`.
    pub fn sample(&self, values: &[&str], value: impl Into<Value>) -> Sample {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let labels = self.labels.iter().zip(values);
        Sample {
            name: self.name,
            help: self.help,
            kind: self.kind,
            labels: labels.map(|(&name, &value)| (name, value.to_owned().into())).collect(),
            value: value.into(),
        }
    }
}

/// What may happen to a metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// One number (or one histogram) with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// As it is exposed.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What may happen to the value.
    pub kind: Kind,
    /// Names and values.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The number.
    pub value: Value,
}

/// The number in a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of things.
    Count(u64),
    /// Of seconds, a ratio, and whatever else is not whole.
    Number(f64),
    /// Counts by size.
    Buckets {
        /// Sum of all that was observed.
        sum: f64,
        /// Upper bound of each bucket, the last infinite, and what fell into it alone.
        buckets: Vec<(f64, u64)>,
    },
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// The samples as an OpenMetrics page. A metric's samples need not stand together: they are shown
/// together, in the place of the first.
pub(super) fn page(samples: Vec<Sample>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(samples)));
    let mut out = String::with_capacity(16 * 1024);
    // Writing into a string does not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Page(Vec<Sample>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (at, first) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|earlier| earlier.name == first.name) {
                continue;
            }
            let (name, kind) = match first.kind {
                // The library writes the suffix itself.
                Kind::Counter => {
                    (first.name.strip_suffix("_total").unwrap_or(first.name), MetricType::Counter)
                }
                Kind::Gauge => (first.name, MetricType::Gauge),
                Kind::Histogram => (first.name, MetricType::Histogram),
            };
            let mut family = encoder.encode_descriptor(name, first.help, None, kind)?;
            for sample in self.0[at..].iter().filter(|s| s.name == first.name) {
                if sample.labels.is_empty() {
                    write_value(&mut family, first.kind, &sample.value)?;
                } else {
                    let mut one = family.encode_family(&sample.labels)?;
                    write_value(&mut one, first.kind, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(n)) => encoder.encode_counter::<NoLabelSet, _, u64>(n, None),
        (Kind::Counter, Value::Number(x)) => encoder.encode_counter::<NoLabelSet, _, f64>(x, None),
        (Kind::Gauge, Value::Count(n)) => encoder.encode_gauge(n),
        (Kind::Gauge, Value::Number(x)) => encoder.encode_gauge(x),
        (Kind::Histogram, Value::Buckets { sum, buckets }) => {
            let count = buckets.iter().map(|(_, n)| n).sum();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
        // A number where a histogram was promised, or the reverse: a mistake of ours that must
        // not cost the whole page.
        (Kind::Histogram, _) | (_, Value::Buckets { .. }) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: Metric =
        Metric { name: "a_total", kind: Kind::Counter, labels: &["x"], help: "An a." };

    #[test]
    fn scattered_samples_of_a_metric_become_one_family() {
        let other = Metric { name: "b", kind: Kind::Gauge, labels: &[], help: "A b." };
        let page =
            page(vec![METRIC.sample(&["1"], 1), other.sample(&[], 0.5), METRIC.sample(&["2"], 2)]);
        assert_eq!(
            page,
            "# HELP a An a.\n# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\n\
             # HELP b A b.\n# TYPE b gauge\nb 0.5\n# EOF\n"
        );
    }

    #[test]
    fn label_values_are_escaped() {
        let page = page(vec![METRIC.sample(&["a\"b\\c\nd"], 1)]);
        assert!(page.contains(r#"a_total{x="a\"b\\c\nd"} 1"#), "{page}");
    }

    #[test]
    fn histograms_are_written_cumulatively() {
        let metric = Metric { name: "h_seconds", kind: Kind::Histogram, labels: &[], help: "H." };
        let buckets = vec![(0.1, 2), (f64::INFINITY, 3)];
        let page = page(vec![metric.sample(&[], Value::Buckets { sum: 9.5, buckets })]);
        for line in [
            "h_seconds_sum 9.5",
            "h_seconds_count 5",
            "h_seconds_bucket{le=\"0.1\"} 2",
            "h_seconds_bucket{le=\"+Inf\"} 5",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_shape_costs_only_itself() {
        let histogram = Metric { name: "h", kind: Kind::Histogram, labels: &[], help: "H." };
        let page = page(vec![histogram.sample(&[], 1), METRIC.sample(&["1"], 1)]);
        assert!(page.contains("a_total{x=\"1\"} 1"), "{page}");
    }
}
