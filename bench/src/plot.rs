//! The plot: a few charts side by side in one SVG, readable on a light and on a dark page.
//!
//! Interface: [`Chart`] collects columns; [`draw`] returns the SVG.
//! Invariant: sizes are on a logarithmic axis, nanoseconds on a linear one that begins at 0, so that a cost
//! that stays the same is a level line.

use std::fmt::Write as _;

use crate::table::time;

/// A chart: one line a contender.
pub struct Chart {
    pub title: &'static str,
    pub sizes: Vec<usize>,
    /// Nanoseconds, by contender and size; `None` where a contender has failed.
    pub lines: Vec<Vec<Option<f64>>>,
    names: &'static [&'static str],
}

impl Chart {
    pub fn new(title: &'static str, names: &'static [&'static str]) -> Chart {
        Chart {
            title,
            sizes: Vec::new(),
            lines: vec![Vec::new(); names.len()],
            names,
        }
    }

    /// What was measured at `size`, by contender.
    pub fn column(&mut self, size: usize, nanoseconds: &[Option<f64>]) {
        self.sizes.push(size);
        for (line, ns) in self.lines.iter_mut().zip(nanoseconds) {
            line.push(*ns);
        }
    }
}

/// Mid-tones, which stand out from white and from black, and differ in lightness too.
const COLORS: [&str; 4] = ["#d9480f", "#4c8dd6", "#2f9e44", "#9c6ade"];

/// Of one chart with its margins, and of what is within the axes; in pixels.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;
/// For the names of the contenders, below all.
const LEGEND: f64 = 30.0;

/// Two charts in a row.
pub fn draw(charts: &[Chart]) -> String {
    let rows = charts.len().div_ceil(2) as f64;
    let (width, height) = (2.0 * WIDTH, rows * HEIGHT + LEGEND);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>\n\
         text {{ fill: #222 }} .grid {{ stroke: #ccc }} polyline {{ fill: none; stroke-width: 2 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .grid {{ stroke: #444 }} }}\n\
         </style>\n"
    );
    for (nth, chart) in charts.iter().enumerate() {
        let (x, y) = ((nth % 2) as f64 * WIDTH, (nth / 2) as f64 * HEIGHT);
        svg += &format!(
            "<g transform=\"translate({x} {y})\">\n{}</g>\n",
            panel(chart)
        );
    }
    let names = charts.first().map_or(&[][..], |chart| chart.names);
    for (nth, (name, color)) in names.iter().zip(COLORS).enumerate() {
        let (x, y) = (LEFT + nth as f64 * 130.0, height - 10.0);
        svg += &text(x + 14.0, y, "start", name);
        let y = y - 10.0;
        svg +=
            &format!("<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\n");
    }
    svg + "</svg>\n"
}

fn panel(chart: &Chart) -> String {
    let points = chart.lines.iter().flatten();
    let highest = points.flatten().copied().fold(1.0, f64::max);
    let step = step(highest);
    let steps = (highest / step).ceil();
    let (first, last) = (
        chart.sizes[0] as f64,
        chart.sizes[chart.sizes.len() - 1] as f64,
    );
    let decades = (last / first).log10().max(1.0);
    let x = |size: usize| LEFT + (size as f64 / first).log10() / decades * (WIDTH - LEFT - RIGHT);
    let y = |ns: f64| HEIGHT - BOTTOM - ns / (step * steps) * (HEIGHT - TOP - BOTTOM);

    let mut svg = text(LEFT, TOP - 14.0, "start", chart.title);
    for nth in 0..=steps as usize {
        let ns = nth as f64 * step;
        let (right, y) = (WIDTH - RIGHT, y(ns));
        let line = format!("x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"");
        svg += &format!("<line class=\"grid\" {line}/>\n");
        svg += &text(LEFT - 6.0, y + 4.0, "end", &time(ns));
    }
    for &size in &chart.sizes {
        svg += &text(x(size), HEIGHT - BOTTOM + 18.0, "middle", &short(size));
    }
    for (line, color) in chart.lines.iter().zip(COLORS) {
        let mut points = String::new();
        let there = chart.sizes.iter().zip(line);
        for (&size, ns) in there.filter_map(|(size, ns)| Some((size, (*ns)?))) {
            write!(points, "{:.1},{:.1} ", x(size), y(ns)).expect("a string takes everything");
        }
        svg += &format!(
            "<polyline stroke=\"{color}\" points=\"{}\"/>\n",
            points.trim_end()
        );
    }
    svg
}

/// A round number of which four or so reach the highest.
fn step(highest: f64) -> f64 {
    let power = 10f64.powf((highest / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|step| step * 5.0 >= highest)
        .unwrap_or(power * 10.0)
}

fn short(size: usize) -> String {
    match size {
        1_000_000.. => format!("{} M", size / 1_000_000),
        1000.. => format!("{} k", size / 1000),
        _ => size.to_string(),
    }
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}
