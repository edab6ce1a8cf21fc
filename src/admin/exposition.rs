//! The text that Prometheus reads: families of samples in the text format 0.0.4 or in OpenMetrics 1.0.0.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> and <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt::{Display, Write};

/// What every name begins with.
const PREFIX: &str = "emptyserver";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// Its samples are called `…_total`.
    Counter,
    Histogram,
}

/// Pairs of a label's name and its value.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text under construction.
pub(super) struct Exposition {
    out: String,
    format: Format,
    /// The family whose samples follow.
    name: &'static str,
    kind: Kind,
}

impl Format {
    /// The one that the `Accept` header asks for.
    pub(super) fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Exposition {
    pub(super) fn new(format: Format) -> Exposition {
        Exposition { out: String::with_capacity(64 << 10), format, name: "", kind: Kind::Gauge }
    }

    /// Begins a family. `name` has neither the prefix nor `_total`.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &str) {
        (self.name, self.kind) = (name, kind);
        // The older format knows the family of a counter by the name of its samples.
        let suffix = if kind == Kind::Counter && self.format == Format::Text { "_total" } else { "" };
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        self.text(format_args!("# HELP {PREFIX}_{name}{suffix} {help}\n# TYPE {PREFIX}_{name}{suffix} {word}\n"));
    }

    /// One more sample of a gauge or a counter.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.line(suffix, labels, None, value);
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, kind: Kind, name: &'static str, help: &str, value: impl Display) {
        self.family(kind, name, help);
        self.sample(&[], value);
    }

    /// One more series of a histogram. `buckets` count values of up to 1, 2, 4, … steps of size `step`, and in the last
    /// place all larger ones; `sum` is in steps too.
    pub(super) fn series(&mut self, labels: Labels<'_>, buckets: &[u64], sum: u64, step: f64) {
        let (rest, bounded) = buckets.split_last().expect("a histogram has buckets");
        let mut count = 0;
        for (power, bucket) in bounded.iter().enumerate() {
            count += bucket;
            let bound = (1_u64 << power) as f64 * step;
            self.line("_bucket", labels, Some(&float(bound)), count);
        }
        count += rest;
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, float(sum as f64 * step));
        self.line("_count", labels, None, count);
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        let name = self.name;
        self.text(format_args!("{PREFIX}_{name}{suffix}"));
        let bound = bound.map(|bound| ("le", bound));
        for (index, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
            self.text(format_args!("{}{name}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(value)));
        }
        let close = if labels.is_empty() && bound.is_none() { "" } else { "}" };
        self.text(format_args!("{close} {value}\n"));
    }

    fn text(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string takes all text");
    }
}

/// OpenMetrics wants bounds as floats (`1.0`); the shortest text that is the same number.
fn float(value: f64) -> String {
    format!("{value:?}")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.single(Kind::Gauge, "ready", "Whether it is.", 1);
        out.family(Kind::Counter, "replies", "Replies.");
        out.sample(&[("code", "a\"b\\c\nd"), ("x", "y")], 3);
        out.family(Kind::Histogram, "wait_seconds", "Waits.");
        out.series(&[("command", "get")], &[1, 0, 2, 4], 9, 1e-6);
        out.finish()
    }

    const HISTOGRAM: &str = "\
# HELP emptyserver_wait_seconds Waits.
# TYPE emptyserver_wait_seconds histogram
emptyserver_wait_seconds_bucket{command=\"get\",le=\"1e-6\"} 1
emptyserver_wait_seconds_bucket{command=\"get\",le=\"2e-6\"} 1
emptyserver_wait_seconds_bucket{command=\"get\",le=\"4e-6\"} 3
emptyserver_wait_seconds_bucket{command=\"get\",le=\"+Inf\"} 7
emptyserver_wait_seconds_sum{command=\"get\"} 9e-6
emptyserver_wait_seconds_count{command=\"get\"} 7
";

    #[test]
    fn the_text_format_names_a_counter_as_its_samples() {
        let text = written(Format::Text);
        assert!(text.starts_with(
            "# HELP emptyserver_ready Whether it is.\n# TYPE emptyserver_ready gauge\nemptyserver_ready 1\n"
        ));
        assert!(text.contains(
            "# TYPE emptyserver_replies_total counter\nemptyserver_replies_total{code=\"a\\\"b\\\\c\\nd\",x=\"y\"} 3\n"
        ));
        assert!(text.ends_with(HISTOGRAM), "{text}");
    }

    #[test]
    fn open_metrics_names_the_family_without_total_and_says_where_it_ends() {
        let text = written(Format::OpenMetrics);
        assert!(text.contains("# TYPE emptyserver_replies counter\nemptyserver_replies_total{"));
        assert!(text.ends_with(&format!("{HISTOGRAM}# EOF\n")));
    }

    #[test]
    fn the_format_is_what_the_reader_accepts() {
        assert_eq!(Format::accepted(""), Format::Text);
        assert_eq!(Format::accepted("text/plain"), Format::Text);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
    }
}
