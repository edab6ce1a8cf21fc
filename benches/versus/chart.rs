//! The ratios as a picture: a bar for each load and peer, in SVG that is readable on light and on dark ground.

use std::fmt::Write;

use crate::results::LoadResult;

const WIDTH: f64 = 960.0;
const LABELS_WIDTH: f64 = 380.0;
const BAR_HEIGHT: f64 = 12.0;
const GAP: f64 = 10.0;
const HEAD: f64 = 64.0;
/// A ratio is shown on a logarithmic scale from 1/32 to 32.
const OCTAVES: f64 = 5.0;
const COLORS: [&str; 4] = ["#3b82f6", "#f59e0b", "#10b981", "#a855f7"];

/// Bars to the right are better for us than the peer, to the left worse, whatever the figure: a latency is turned
/// around.
pub(crate) fn svg(results: &[LoadResult]) -> String {
    let Some(first) = results.first() else { return String::new() };
    let names: Vec<&str> = first.peers.iter().skip(1).map(|peer| peer.name.as_str()).collect();
    let row_height = BAR_HEIGHT * names.len().max(1) as f64 + GAP;
    let height = HEAD + row_height * results.len() as f64 + GAP;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<style>text{{fill:#1f2328}}line{{stroke:#8b949e}}@media (prefers-color-scheme:dark)\
         {{text{{fill:#e6edf3}}}}</style>\n"
    );
    legend(&names, height, &mut out);
    for (row, result) in results.iter().enumerate() {
        let top = HEAD + row_height * row as f64;
        let figure = result.columns().first().copied();
        let label = format!("{}: {}", result.load.name, figure.map_or("", |figure| figure.name));
        text(LABELS_WIDTH - 8.0, top + row_height / 2.0, "end", &label, &mut out);
        for peer in 1..result.peers.len() {
            let ratio = figure.and_then(|figure| {
                let ratio = result.ratio(peer, figure)?.median;
                Some(if figure.is_more_better { ratio } else { 1.0 / ratio })
            });
            bar(top + BAR_HEIGHT * (peer - 1) as f64, peer - 1, ratio, &mut out);
        }
    }
    out + "</svg>\n"
}

fn legend(names: &[&str], height: f64, out: &mut String) {
    text(LABELS_WIDTH - 8.0, 20.0, "end", "times as good as", out);
    for (index, name) in names.iter().enumerate() {
        let x = LABELS_WIDTH + 160.0 * index as f64;
        add(out, format_args!("<rect x=\"{x}\" y=\"9\" width=\"12\" height=\"12\" fill=\"{}\"/>\n", color(index)));
        text(x + 18.0, 20.0, "start", name, out);
    }
    for octave in -4i32..=4 {
        let at = 2f64.powi(octave);
        let x = place(at);
        let width = if octave == 0 { 1.5 } else { 0.3 };
        let top = HEAD - 8.0;
        add(
            out,
            format_args!("<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{height}\" stroke-width=\"{width}\"/>\n"),
        );
        let label = if octave < 0 { format!("1/{}", 2i32.pow(octave.unsigned_abs())) } else { format!("{at}") };
        text(x, HEAD - 14.0, "middle", &label, out);
    }
}

fn bar(top: f64, index: usize, ratio: Option<f64>, out: &mut String) {
    let Some(ratio) = ratio.filter(|ratio| ratio.is_finite() && *ratio > 0.0) else { return };
    let (middle, end) = (place(1.0), place(ratio));
    let (left, width) = (middle.min(end), (end - middle).abs().max(0.5));
    let height = BAR_HEIGHT - 2.0;
    add(
        out,
        format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{}\"/>\n",
            color(index)
        ),
    );
    let label = if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") };
    let (x, anchor) = if end < middle { (left - 4.0, "end") } else { (left + width + 4.0, "start") };
    text(x, top + height - 1.0, anchor, &label, out);
}

fn place(ratio: f64) -> f64 {
    let half = (WIDTH - LABELS_WIDTH - 40.0) / 2.0;
    LABELS_WIDTH + half + half * (ratio.log2() / OCTAVES).clamp(-1.0, 1.0)
}

fn color(index: usize) -> &'static str {
    COLORS[index % COLORS.len()]
}

fn text(x: f64, y: f64, anchor: &str, text: &str, out: &mut String) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    add(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"));
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every write");
}
